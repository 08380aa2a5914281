// Sub-blocks of a training in bf16 against the same in fp32 through plain operators, and the passes
// between their products against libtorch's.
#include "model/fused_blocks.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <string>
#include <vector>

#include "io/error.h"
#include "model/block/counts.h"
#include "model/math/block_kernels.h"
#include "model/math/losses.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

double RelativeError(const Tensor& found, const Tensor& expected) {
  return ((found - expected).norm() / expected.norm()).item<double>();
}

Bf16Bits* Bits(const Tensor& x) {
  return reinterpret_cast<Bf16Bits*>(x.data_ptr<at::BFloat16>());
}

// A block with a sliding window, one whose queries share a key, and forms that are not fused.
ModelConfig FusableConfig() {
  ModelConfig config = TinyConfig();
  config.max_positions = 256;
  config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 48}},
                   {{SubBlockForm::kFull, 1}, {SubBlockForm::kLinear, 0}},
                   {{SubBlockForm::kLinear, 0}, {SubBlockForm::kFull, 24}},
                   {{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 16}},
                   {{SubBlockForm::kFull, 4}, {SubBlockForm::kNone, 0}}};
  config.blocks[4].attention.window = 70;
  return config;
}

// Values that bf16 holds, so that rounding the matrices loses nothing.
ModelWeights RoundedModel(const ModelConfig& config) {
  ModelWeights model = RandomModel(config, 7);
  for (const auto& [name, slot] : Slots(model))
    slot->copy_((*slot * (slot->dim() > 1 ? 4.0 : 1.0)).to(at::kBFloat16));
  return model;
}

struct Trained {
  Tensor state;
  std::vector<Tensor> gradients;  // by the input, then by the weights
};

Trained Train(const ModelWeights& weights, bool fused, const std::string& frozen = "") {
  const at::AutoGradMode with_gradients(true);
  ModelWeights leaves = Clone(weights);
  for (const auto& [name, slot] : Slots(leaves))
    slot->requires_grad_(frozen.empty() || name.find(frozen) == std::string::npos);
  const Transformer model(leaves);
  const RoundedBlocks rounded = fused ? Rounded(model) : RoundedBlocks();
  if (fused) PUZZLE_CHECK(rounded != nullptr, "the usual form");
  const Tensor x = RandomTensor({2, 150, 32}, 3).requires_grad_(true);
  const Tensor y = FusedBlocks(model, rounded, x, 0, model.config().n_layers());
  (y * RandomTensor({2, 150, 32}, 4)).sum().backward();
  Trained result{y.detach(), {x.grad()}};
  for (const auto& [name, slot] : Slots(leaves)) result.gradients.push_back(slot->grad());
  return result;
}

TEST(FusedTest, AgreesWithFp32UpToRounding) {
  const ModelWeights model = RoundedModel(FusableConfig());
  const Trained plain = Train(model, false), fused = Train(model, true);
  EXPECT_LT(RelativeError(fused.state, plain.state), 5e-3);
  EXPECT_FALSE(fused.state.equal(plain.state));
  ASSERT_EQ(fused.gradients.size(), plain.gradients.size());
  for (size_t i = 0; i < plain.gradients.size(); ++i) {
    ASSERT_EQ(fused.gradients[i].defined(), plain.gradients[i].defined()) << i;
    if (!plain.gradients[i].defined()) continue;  // the embedding, the head
    EXPECT_EQ(fused.gradients[i].scalar_type(), at::kFloat);
    EXPECT_LT(RelativeError(fused.gradients[i], plain.gradients[i]), 2e-2) << i;
  }
}

// What the heap of this thread holds.
double HeapBytes() {
  const struct mallinfo2 heap = mallinfo2();
  return static_cast<double>(heap.uordblks + heap.hblkhd);
}

TEST(FusedTest, KeepsTheBytesThatAreCounted) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer's heap does not say what it holds";
#endif
  const at::AutoGradMode with_gradients(true);
  ModelConfig config = FusableConfig();
  config.blocks.resize(1);
  config.blocks.push_back({{SubBlockForm::kFull, 1}, {SubBlockForm::kFull, 24}});
  ModelWeights leaves = RoundedModel(config);
  for (const auto& [name, slot] : Slots(leaves)) slot->requires_grad_(true);
  const Transformer model(leaves);
  const RoundedBlocks rounded = Rounded(model);
  ASSERT_NE(rounded, nullptr);
  const Tensor x = RandomTensor({16, 250, 32}, 3).requires_grad_(true);
  (void)FusedBlocks(model, rounded, x, 0, 2);  // what is made once
  const double before = HeapBytes();
  const Tensor y = FusedBlocks(model, rounded, x, 0, 2);  // its last state stands for the first
  const double counted = block::KeptForGradients(config, 16 * 250, true);
  EXPECT_NEAR(HeapBytes() - before, counted, 0.1 * counted);
  EXPECT_TRUE(y.requires_grad());
}

TEST(FusedTest, RoundedMatricesLieInTheRoomOfThoseBefore) {
  const Transformer first(RoundedModel(FusableConfig()));
  ModelWeights other = Clone(first.weights());
  for (const auto& [name, slot] : Slots(other)) slot->mul_(1.3);
  const Transformer second(other);
  const Tensor room = at::zeros({RoundedElements(first)}, at::kBFloat16);
  (void)Rounded(first, room);
  const RoundedBlocks blocks = Rounded(second, room), expected = Rounded(second);
  ASSERT_NE(blocks, nullptr);
  const auto* const begin = static_cast<const char*>(room.data_ptr());
  int64_t elements = 0;
  for (int64_t layer = 0; layer < first.config().n_layers(); ++layer) {
    const VariantSpec spec = ParentVariant(first.config(), layer, SubBlock::kBoth);
    SubBlockWeights own = (*blocks)[static_cast<size_t>(layer)],
                    its = (*expected)[static_cast<size_t>(layer)];
    const auto slots = Slots(own, spec), wanted = Slots(its, spec);
    for (size_t i = 0; i < slots.size(); ++i) {
      const Tensor& tensor = *slots[i].second;
      EXPECT_EQ(tensor.scalar_type(), wanted[i].second->scalar_type());
      EXPECT_TRUE(tensor.equal(*wanted[i].second)) << slots[i].first;
      if (tensor.scalar_type() != at::kBFloat16) continue;
      EXPECT_EQ(static_cast<const char*>(tensor.data_ptr()), begin + 2 * elements);
      elements += tensor.numel();
    }
  }
  EXPECT_EQ(elements, room.numel());
}

TEST(FusedTest, WithoutGradientsTheStatesAreTheSame) {
  const ModelWeights weights = RoundedModel(FusableConfig());
  const at::NoGradGuard no_grad;
  const Transformer plain(weights);
  const Transformer cast = plain.WithProductsIn(at::kBFloat16);
  EXPECT_TRUE(FusedBlocks(cast, Rounded(plain), RandomTensor({2, 150, 32}, 3), 0, 5)
                  .equal(Train(weights, true).state));
}

// What is frozen costs nothing and changes nothing for the rest.
TEST(FusedTest, FrozenMatricesHaveNoGradients) {
  const ModelWeights weights = RoundedModel(FusableConfig());
  const Trained all = Train(weights, true);
  for (const char* frozen : {"q_proj", "o_proj", "gate_proj", "down_proj", "layernorm", "proj"}) {
    const Trained some = Train(weights, true, frozen);
    size_t without = 0;
    for (size_t i = 0; i < all.gradients.size(); ++i) {
      if (!some.gradients[i].defined()) {
        ++without;
        continue;
      }
      EXPECT_TRUE(some.gradients[i].equal(all.gradients[i])) << frozen << " " << i;
    }
    EXPECT_GT(without, 3U) << frozen;
  }
}

TEST(FusedTest, OtherFamiliesAreNotFused) {
  const auto is_fused = [](const auto& change) {
    ModelConfig config = TinyConfig();
    change(config.arch);
    return Rounded(Transformer(TinyModel(config))) != nullptr;
  };
  EXPECT_TRUE(is_fused([](Architecture&) {}));
  EXPECT_FALSE(is_fused([](Architecture& arch) { arch.norm = Architecture::Norm::kLayer; }));
  EXPECT_FALSE(is_fused([](Architecture& arch) { arch.qkv_bias = true; }));
  EXPECT_FALSE(is_fused([](Architecture& arch) { arch.o_bias = true; }));
  EXPECT_FALSE(is_fused([](Architecture& arch) { arch.ffn_bias = true; }));
  EXPECT_FALSE(is_fused([](Architecture& arch) { arch.qk_norm = true; }));
  EXPECT_FALSE(is_fused([](Architecture& arch) { arch.post_norms = true; }));
  EXPECT_FALSE(is_fused([](Architecture& arch) { arch.attention_cap = 5; }));
  EXPECT_FALSE(is_fused([](Architecture& arch) { arch.gated_ffn = false; }));
  EXPECT_FALSE(
      is_fused([](Architecture& arch) { arch.activation = Architecture::Activation::kGelu; }));
}

TEST(BlockKernelsTest, TheNormIsLibtorchs) {
  const at::AutoGradMode with_gradients(true);
  const int64_t rows = 9, n = 37;
  const Tensor x = RandomTensor({rows, n}, 1).requires_grad_(true);
  const Tensor weight = RandomTensor({n}, 2).requires_grad_(true);
  const Tensor expected = x * (x.square().mean(-1, true) + 1e-5).rsqrt() * weight;
  const Tensor d_out = RandomTensor({rows, n}, 3), d_residual = RandomTensor({rows, n}, 4);
  const auto gradients = torch::autograd::grad({(expected * d_out).sum()}, {x, weight});

  const Tensor out = at::empty({rows, n}, at::kBFloat16), again = at::empty_like(out);
  const Tensor r = at::empty({rows}), d_x = at::empty({rows, n}), d_weight = at::zeros({n});
  const auto floats = [](const Tensor& t) { return t.data_ptr<float>(); };
  RmsNormForward(floats(x), floats(weight), 1e-5F, rows, n, Bits(out), floats(r));
  EXPECT_TENSORS_NEAR(out.to(at::kFloat), expected.to(at::kBFloat16).to(at::kFloat), 0.03);
  EXPECT_LT(RelativeError(out.to(at::kFloat), expected), 3e-3);
  RmsNormAgain(floats(x), floats(weight), floats(r), rows, n, Bits(again));
  EXPECT_TRUE(again.equal(out));
  RmsNormBackward(floats(x), floats(weight), floats(r), floats(d_out), floats(d_residual), rows, n,
                  floats(d_x), floats(d_weight));
  EXPECT_TENSORS_NEAR(d_x, gradients[0] + d_residual, 1e-5);
  EXPECT_TENSORS_NEAR(d_weight, gradients[1], 1e-4);
}

TEST(BlockKernelsTest, HeadsComeBackFromTheirGroups) {
  const HeadLayout layout{.positions = 5, .heads = 6, .group = 3, .dim = 8};
  const Tensor heads = RandomTensor({5, 6, 8}, 1).to(at::kBFloat16).to(at::kFloat);
  const Tensor angle = RandomTensor({5, 4}, 2), cos = angle.cos(), sin = angle.sin();
  const HeadRotation turn{cos.data_ptr<float>(), sin.data_ptr<float>()};
  const Tensor groups = at::empty({2, 5, 3, 8}, at::kBFloat16),
               back = at::empty({5, 6, 8}, at::kBFloat16);
  HeadsToGroups(layout, heads.data_ptr<float>(), {}, Bits(groups));
  EXPECT_TRUE(groups.to(at::kFloat).equal(heads.view({5, 2, 3, 8}).permute({1, 0, 2, 3})));
  const Tensor divisor = at::full({2, 5, 3}, 2.0);
  GroupsToHeads(layout, groups.to(at::kFloat).data_ptr<float>(), divisor.data_ptr<float>(), {},
                Bits(back));
  EXPECT_TRUE((back.to(at::kFloat) * 2).equal(heads));

  HeadsToGroups(layout, heads.data_ptr<float>(), turn, Bits(groups));
  const Tensor a = heads.narrow(2, 0, 4), b = heads.narrow(2, 4, 4);
  const Tensor c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  const Tensor turned = at::cat({a * c - b * s, b * c + a * s}, 2);
  EXPECT_LT(RelativeError(groups.to(at::kFloat), turned.view({5, 2, 3, 8}).permute({1, 0, 2, 3})),
            4e-3);
  GroupsToHeads(layout, groups.to(at::kFloat).data_ptr<float>(), nullptr, turn, Bits(back));
  EXPECT_LT(RelativeError(back.to(at::kFloat), heads), 6e-3);

  const Tensor dots = at::empty({2, 5, 3});
  HeadDots(layout, turned.contiguous().data_ptr<float>(), Bits(heads.to(at::kBFloat16)),
           dots.data_ptr<float>());
  EXPECT_TENSORS_NEAR(dots, (turned * heads).sum(-1).view({5, 2, 3}).permute({1, 0, 2}), 1e-4);
}

TEST(CosineLossTest, AgreesWithLibtorchForwardAndBackward) {
  const at::AutoGradMode with_gradients(true);
  const Tensor x = RandomTensor({2, 7, 33}, 1), y = RandomTensor({2, 7, 33}, 2);
  const auto both = [&](const auto& loss) {
    const Tensor leaf = x.clone().requires_grad_(true);
    const Tensor value = loss(leaf);
    (3.0 * value).backward();
    return std::pair(value.detach(), leaf.grad());
  };
  const auto own = both([&](const Tensor& leaf) { return CosineLoss(leaf, y); });
  const auto expected =
      both([&](const Tensor& leaf) { return 1.0 - at::cosine_similarity(leaf, y, -1).mean(); });
  EXPECT_TENSORS_NEAR(own.first, expected.first, 1e-6);
  EXPECT_TENSORS_NEAR(own.second, expected.second, 1e-6);
  EXPECT_EQ(CosineLoss(at::zeros({1, 4}), at::ones({1, 4})).item<double>(), 1.0);
}

}  // namespace
}  // namespace puzzle
