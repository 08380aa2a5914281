// What a distillation really takes, counted by the allocator of tensors, beside what step_memory.h
// and trainee_memory.h foresee from shapes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include <c10/core/CPUAllocator.h>
#include <torch/version.h>

#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/surgery.h"
#include "nodes/states/sub_block_data.h"
#include "nodes/states/walk.h"
#include "nodes/train/bld.h"
#include "nodes/train/gkd.h"
#include "nodes/train/global_loss.h"
#include "nodes/train/pretrain.h"
#include "nodes/train/step_memory.h"
#include "nodes/train/trainee_memory.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

// Stands before libtorch's own allocator; what it has made may outlive everything.
class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* inner) : inner_(inner) {}

#if TORCH_VERSION_MAJOR < 2
  c10::DataPtr allocate(size_t n) const override {
    return Counted(n);
  }
#else
  c10::DataPtr allocate(size_t n) override {
    return Counted(n);
  }
  void copy_data(void* to, const void* from, std::size_t count) const override {
    default_copy_data(to, from, count);
  }
#endif
  void Begin() {
    most_ = now_.load();
  }
  [[nodiscard]] int64_t most() const {
    return most_;
  }

 private:
  struct Held {
    c10::DataPtr inner;
    int64_t bytes;
    std::atomic<int64_t>& now;
  };
  static void LetGo(void* context) {
    const std::unique_ptr<Held> held(static_cast<Held*>(context));
    held->now -= held->bytes;
  }

  c10::DataPtr Counted(size_t n) const {
    auto held = std::make_unique<Held>(Held{inner_->allocate(n), static_cast<int64_t>(n), now_});
    const int64_t now = now_ += held->bytes;
    for (int64_t most = most_; most < now && !most_.compare_exchange_weak(most, now);) {
    }
    void* const data = held->inner.get();
    return {data, held.release(), &LetGo, c10::Device(c10::DeviceType::CPU)};
  }

  c10::Allocator* inner_;
  mutable std::atomic<int64_t> now_{0}, most_{0};
};

// Counts while it lives, on one thread.
class Counting {
 public:
  Counting() : before_(c10::GetCPUAllocator()) {
    static auto* const allocator = new CountingAllocator(before_);
    allocator_ = allocator;
    c10::SetCPUAllocator(allocator_, /*priority=*/1);
  }
  ~Counting() { c10::SetCPUAllocator(before_, 1); }
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
  [[nodiscard]] CountingAllocator& tensors() const { return *allocator_; }

 private:
  const ThreadsGuard one_{1};
  c10::Allocator* before_;
  CountingAllocator* allocator_ = nullptr;
};

// The vocabulary takes most, as in small models.
ModelConfig WordyConfig() {
  ModelConfig config;
  config.vocab_size = 12000;
  config.hidden_size = 128;
  config.n_heads = 4;
  config.head_dim = 32;
  config.max_positions = 512;
  config.tied_embeddings = true;
  config.blocks.assign(6, {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 384}});
  return config;
}

// Bytes of tensors at the height of a step of 4 x 64 tokens, and what is foreseen.
struct StepBytes {
  double counted = 0, foreseen = 0;
};
TokenSet SomeTokens(int64_t sequences, int64_t vocab_size) {
  TokenSet tokens;
  tokens.length = 64;
  tokens.vocab_size = vocab_size;
  for (int64_t i = 0; i < sequences * tokens.length; ++i)
    tokens.ids.push_back(static_cast<int32_t>(i * i % vocab_size));
  return tokens;
}
StepBytes BytesOf(const GkdParams& params, const MemoryChoice& choice) {
  const ModelConfig config = WordyConfig();
  const TokenSet tokens = SomeTokens(params.batch, config.vocab_size);
  const bool in_bf16 = ProductType(params.compute, "cpu") == at::kBFloat16;
  DistillationShape shape = DistillationShapeOf(params, config, config, tokens.length, 1);
  shape.in_bf16 = shape.fused = shape.head_in_bf16 = in_bf16;
  FakeContext context;
  if (choice.all_in_files) context.memory = 1000;
  shape.most_in_memory = static_cast<double>(RoomOfWalk(context).in_memory);
  const Counting counting;
  const int64_t without = [&] {
    counting.tensors().Begin();
    return counting.tensors().most();
  }();
  const Transformer teacher(
      InRoom(RandomModel(config, 1), in_bf16 ? at::kBFloat16 : at::kFloat, {}));
  const Transformer student(RandomModel(config, 2));
  counting.tensors().Begin();
  (void)DistillGlobally({{teacher, StatesOf(teacher, tokens)}}, student, tokens, params, 1,
                        context);
  return {static_cast<double>(counting.tensors().most() - without),
          DistillationBytes(shape, choice) / 1.05};
}

GkdParams OneStep() {
  GkdParams params;
  params.steps = 1;
  params.batch = 4;
  params.holdout = 0;
  return params;
}

// The allocator's share of 5 % is left to it.
TEST(StepBytesTest, WhatAStepTakesIsForeseen) {
  for (const char* compute : {"bf16", "fp32"}) {
    for (const double lm_weight : {0.0, 1.0}) {
      for (const char* recompute : {"off", "on"}) {
        GkdParams params = OneStep();
        params.compute = compute;
        params.lm_weight = lm_weight;
        params.recompute = recompute;
        const StepBytes bytes = BytesOf(params, {params.recompute == "on"});
        EXPECT_GT(bytes.counted, 0.9 * bytes.foreseen) << compute << lm_weight << recompute;
        EXPECT_LT(bytes.counted, 1.05 * bytes.foreseen) << compute << lm_weight << recompute;
      }
    }
  }
}

// Libtorch 2 adds up the gradients of tied matrices in place, and takes a matrix less than
// foreseen.
TEST(StepBytesTest, AndSoIsTheLeastThatOneCanTake) {
  for (const char* train : {"all", "norms", "adapters"}) {
    for (const double lm_weight : {0.0, 1.0}) {
      GkdParams params = OneStep();
      params.compute = "bf16";
      params.train = train;
      params.lm_weight = lm_weight;
      const StepBytes bytes = BytesOf(params, {true, true, true, true});
      EXPECT_GT(bytes.counted, 0.8 * bytes.foreseen) << train << lm_weight;
      EXPECT_LT(bytes.counted, 1.05 * bytes.foreseen) << train << lm_weight;
    }
  }
}

// Long sequences: what is kept for gradients is most of it, not the copies of the weights.
TEST(StepBytesTest, WhatPretrainingTakesIsForeseen) {
  PretrainParams params;
  params.layers = 6;
  params.hidden = 128;
  params.heads = 4;
  params.kv_heads = 2;
  params.ffn = 384;
  params.steps = 1;
  params.batch = 4;
  TokenSet tokens = SomeTokens(32, 2000);
  tokens.length = 512;  // four of them
  FakeInputs inputs;
  inputs.Add("tokens", "some", tokens);
  ModelConfig config = WordyConfig();
  config.vocab_size = tokens.vocab_size;
  FakeContext context;
  const Counting counting;
  counting.tensors().Begin();
  const int64_t without = counting.tensors().most();
  (void)RunPretrain(params, inputs, context);
  const auto counted = static_cast<double>(counting.tensors().most() - without);
  const double foreseen = PretrainingBytes(params, config, tokens.length, 1) / 1.05;
  EXPECT_GT(counted, 0.8 * foreseen);
  EXPECT_LT(counted, 1.05 * foreseen);
  EXPECT_GT(foreseen, 6 * 4 * static_cast<double>(CountBlockParameters(config)));
}

// Bytes of tensors at the height of two steps of 4 x 64 tokens of a wide FFN, and what is foreseen.
StepBytes BytesOfATraining(const std::string& variant, bool in_files) {
  ModelConfig config = WordyConfig();
  config.hidden_size = 512;
  config.head_dim = 128;
  config.blocks.assign(1, {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 2048}});
  const Transformer parent(RandomModel(config, 1));
  const VariantSpec spec = ResolveVariant(variant, config, 0);
  BldParams params;
  params.batch = 4;
  params.holdout = 1;
  params.epochs = 1;
  params.refit_tokens = 0;
  const Shape shape = {9, 64, config.hidden_size};
  const SubBlockData data{RandomTensor(shape, 2).to(at::kBFloat16),
                          RandomTensor(shape, 3).to(at::kBFloat16),
                          at::ones({9, 64}),
                          {}};
  const TrainingShape training = TrainingShapeOf(spec, config, params, /*in_bf16=*/false, 64, 1);
  FakeContext context;
  if (in_files) context.memory = 1000;
  const Counting counting;
  counting.tensors().Begin();
  const int64_t without = counting.tensors().most();
  (void)DistillSubBlock(InitVariant(parent.weights(), 0, spec), spec, parent, data, params, 1,
                        context);
  return {static_cast<double>(counting.tensors().most() - without),
          TrainingBytes(training, {in_files, in_files})};
}

// In fp32: libtorch's own products in bf16 ask the allocator in a way that cannot be counted.
TEST(StepBytesTest, WhatTheTrainingOfAVariantTakesIsForeseen) {
  for (const char* variant : {"ffn:50%", "attn:kv1"}) {
    for (const bool in_files : {false, true}) {
      const StepBytes bytes = BytesOfATraining(variant, in_files);
      EXPECT_GT(bytes.counted, 0.7 * bytes.foreseen) << variant << in_files;
      EXPECT_LT(bytes.counted, 1.05 * bytes.foreseen) << variant << in_files;
    }
  }
}

}  // namespace
}  // namespace puzzle
