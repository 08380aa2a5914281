// What every family can do with its sub-blocks, on random weights.
#include "model/families/family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/files/checkpoint.h"
#include "model/files/hf_config.h"
#include "model/files/open_checkpoint.h"
#include "model/surgery.h"
#include "model/transformer.h"
#include "tests/io/temp_folder.h"
#include "tests/model/family_cases.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using Json = nlohmann::ordered_json;
using testing::HasSubstr;
namespace fs = std::filesystem;

Tensor FamilyIds(int64_t batch, int64_t seq) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{3});
  return at::randint(40, {batch, seq}, generator, at::kLong);
}

class FamilyTest : public testing::TestWithParam<FamilyCase> {
 protected:
  TempFolder temporary_;
  std::string folder_ = temporary_.path();
};

TEST_P(FamilyTest, ConfigIsWrittenInItsOwnFormatAndReadBack) {
  const ModelConfig config = ConfigOf(GetParam());
  const Json written = ToHfJson(config);
  EXPECT_EQ(written["model_type"], config.family);
  EXPECT_FALSE(written.contains("block_configs"));
  EXPECT_EQ(ModelConfigFromJson(Json::parse(written.dump()), "written"), config);
}

TEST_P(FamilyTest, ParentsAndChildrenComeBackBitForBit) {
  const ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  for (const ModelWeights& model : {parent, Child(parent), Pruned(parent)}) {
    SaveCheckpoint(folder_, model);
    ModelWeights loaded = LoadCheckpoint(folder_), original = model;
    EXPECT_EQ(loaded.config, model.config);
    ExpectSameBits(Slots(loaded), Slots(original));
  }
}

// Which would fill up with random weights what is not there.
TEST_P(FamilyTest, ChildrenAreNothingThatAStockClassTakes) {
  const ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  SaveCheckpoint(folder_, Child(parent));
  const Json json = Json::parse(ReadWholeFile(folder_ + "/config.json", 1 << 20));
  EXPECT_EQ(json["model_type"], parent.config.family == "llama" ? "nemotron-nas" : "puzzle");
  for (const auto& [role, place] : json["auto_map"].items()) {
    const std::string text = place, file = text.substr(0, text.find('.')) + ".py";
    const std::string code = ReadWholeFile(folder_ + "/" + file, 1 << 20);
    EXPECT_THAT(code, HasSubstr("class " + text.substr(text.find('.') + 1))) << role;
  }
}

// Stacked, transposed and filled up tensors, by rows or as a whole.
TEST_P(FamilyTest, AFolderIsWrittenFromOneThatIsNotInMemory) {
  const ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  for (const ModelWeights& model : {parent, Pruned(parent), Child(parent)}) {
    const auto weights = [&](const std::string& name, const ModelWeights& written) {
      SaveCheckpoint(folder_ + name, written);
      return ReadWholeFile(folder_ + name + "/model.safetensors", 1 << 26);
    };
    const std::string whole = weights("/a", model);
    EXPECT_TRUE(weights("/b", OpenCheckpoint(folder_ + "/a")) == whole);
  }
}

// What a reader sees that knows no `unpadded_heads`.
TEST_P(FamilyTest, PrunedQueryHeadsAreZerosToOtherReaders) {
  const at::NoGradGuard no_grad;
  const ModelWeights pruned = Pruned(RandomWeights(ConfigOf(GetParam())));
  SaveCheckpoint(folder_, pruned);
  const std::string path = folder_ + "/config.json";
  Json json = Json::parse(ReadWholeFile(path, 1 << 20));
  ASSERT_EQ(json.erase("unpadded_heads"), 1u);
  WriteWholeFile(path, json.dump());
  const ModelWeights read = LoadCheckpoint(folder_);
  EXPECT_EQ(read.blocks[1].attention.q.size(0), read.blocks[0].attention.q.size(0));
  EXPECT_TENSORS_NEAR(Transformer(read).Logits(FamilyIds(2, 20)),
                      Transformer(pruned).Logits(FamilyIds(2, 20)), 1e-5);
  // A family without kv heads of its own stays readable for the class of its parent.
  const bool plain = FamilyOf(pruned.config).fields.kv_heads == nullptr;
  EXPECT_EQ(json.contains("block_configs"), !plain);
}

TEST_P(FamilyTest, PaddingThatSomebodyTrainedIsRefused) {
  const at::NoGradGuard no_grad;
  SaveCheckpoint(folder_, Pruned(RandomWeights(ConfigOf(GetParam()))));
  const std::string path = folder_ + "/config.json";
  const Json json = Json::parse(ReadWholeFile(path, 1 << 20));
  Json without = json;
  without.erase("unpadded_heads");
  WriteWholeFile(path, without.dump());
  const ModelWeights trained = LoadCheckpoint(folder_);
  trained.blocks[1].attention.o.select(1, trained.blocks[1].attention.o.size(1) - 1).add_(1);
  SaveCheckpoint(folder_, trained);
  WriteWholeFile(path, json.dump());
  try {
    (void)LoadCheckpoint(folder_);
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(),
                HasSubstr("layer 1: config.json says in unpadded_heads that attention is"));
  }
}

TEST_P(FamilyTest, ChildrenDecodeWithACacheAsTheyReadTheWhole) {
  const at::NoGradGuard no_grad;
  const Transformer model(Child(RandomWeights(ConfigOf(GetParam()))));
  const Tensor ids = FamilyIds(2, 20);
  const Tensor whole = model.Logits(ids);
  KvCache cache(model.config().n_layers());
  std::vector<Tensor> parts = {model.Logits(ids.narrow(1, 0, 7), &cache)};
  for (int64_t i = 7; i < 20; ++i) parts.push_back(model.Logits(ids.narrow(1, i, 1), &cache));
  EXPECT_TENSORS_NEAR(at::cat(parts, 1), whole, 1e-4);
}

TEST_P(FamilyTest, BlocksAreTheSumOfTheirSubBlocks) {
  const at::NoGradGuard no_grad;
  const Transformer model(Child(RandomWeights(ConfigOf(GetParam()))));
  const ModelConfig& config = model.config();
  Tensor x = model.Embed(FamilyIds(2, 9));
  const Tensor expected = model.Blocks(x, 0, config.n_layers());
  for (int64_t layer = 0; layer < config.n_layers(); ++layer)
    for (SubBlock which : {SubBlock::kAttention, SubBlock::kFfn})
      x = ApplySubBlock(SubBlockOf(model.weights(), layer, which),
                        ParentVariant(config, layer, which), config, model.rotary(), x);
  EXPECT_TENSORS_NEAR(x, expected, 1e-4);
}

TEST_P(FamilyTest, GradientsAgreeWithFiniteDifferences) {
  ModelWeights weights = Child(RandomWeights(ConfigOf(GetParam())));
  const Tensor ids = FamilyIds(2, 12);
  auto loss_of = [&](const ModelWeights& w) {
    return Transformer(w).Logits(ids).log_softmax(-1).square().mean();
  };
  for (Tensor& p : Parameters(weights)) p.requires_grad_(true);
  loss_of(weights).backward();
  uint64_t seed = 1;
  for (const auto& [name, slot] : Slots(weights)) {
    const Tensor direction = RandomTensor(slot->sizes().vec(), ++seed);
    const double slope = (slot->grad() * direction).sum().item<double>();
    const at::NoGradGuard no_grad;
    constexpr double kStep = 1e-3;
    const Tensor kept = slot->clone();
    slot->copy_(kept + kStep * direction);
    const double above = loss_of(weights).item<double>();
    slot->copy_(kept - kStep * direction);
    const double below = loss_of(weights).item<double>();
    slot->copy_(kept);
    EXPECT_NEAR((above - below) / (2 * kStep), slope, 0.05 * std::abs(slope) + 0.05) << name;
  }
}

TEST_P(FamilyTest, TheParentsOwnShapeReproducesTheParentBitForBit) {
  const ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  for (SubBlock which : {SubBlock::kAttention, SubBlock::kFfn}) {
    const VariantSpec spec = ParentVariant(parent.config, 1, which);
    const std::vector<Tensor> made = Parameters(InitVariant(parent, 1, spec), spec);
    const std::vector<Tensor> expected = Parameters(SubBlockOf(parent, 1, which), spec);
    ASSERT_EQ(made.size(), expected.size());
    for (size_t i = 0; i < made.size(); ++i) EXPECT_TRUE(made[i].equal(expected[i]));
  }
}

TEST_P(FamilyTest, LinearAttentionIsAttentionToOneselfOnly) {
  const at::NoGradGuard no_grad;
  const ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  if (parent.config.arch.post_norms) GTEST_SKIP() << "a linear map has no norm behind it";
  const Transformer model(parent);
  const Tensor x = RandomTensor({3, 1, 32}, 1);  // sequences of one token see nothing else
  const VariantSpec linear = AttentionSpec{SubBlockForm::kLinear, 0};
  EXPECT_TENSORS_NEAR(
      ApplySubBlock(InitVariant(parent, 1, linear), linear, parent.config, model.rotary(), x),
      ApplySubBlock(parent.blocks[1].attention, parent.config.blocks[1].attention, parent.config,
                    model.rotary(), x),
      1e-4);
}

TEST_P(FamilyTest, EqualKvHeadsMergeWithoutLoss) {
  const at::NoGradGuard no_grad;
  ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  AttentionWeights& attention = parent.blocks[1].attention;
  const AttentionSpec& own = parent.config.blocks[1].attention;
  for (Tensor* heads : {&attention.k, &attention.v, &attention.k_bias, &attention.v_bias})
    if (heads->defined())
      for (int64_t head = 1; head < own.n_kv_heads; ++head)
        heads->narrow(0, head * parent.config.head_dim, parent.config.head_dim)
            .copy_(heads->narrow(0, 0, parent.config.head_dim));
  const VariantSpec merged = ResolveVariant("attn:kv1", parent.config, 1);
  const Transformer model(parent);
  const Tensor x = RandomTensor({2, 10, 32}, 1);
  EXPECT_TENSORS_NEAR(
      ApplySubBlock(InitVariant(parent, 1, merged), merged, parent.config, model.rotary(), x),
      ApplySubBlock(attention, own, parent.config, model.rotary(), x), 1e-4);
}

TEST_P(FamilyTest, KvHeadsThatSayNothingAreLostWithoutLoss) {
  const at::NoGradGuard no_grad;
  ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  Tensor& o = parent.blocks[1].attention.o;
  const AttentionSpec& own = parent.config.blocks[1].attention;
  const int64_t kept = o.size(1) / own.n_kv_heads;
  o.narrow(1, kept, o.size(1) - kept).zero_();
  const ModelWeights pruned = Pruned(parent);
  const Transformer model(parent);
  const Tensor x = RandomTensor({2, 10, 32}, 1);
  EXPECT_EQ(pruned.blocks[1].attention.q.size(0), kept);
  EXPECT_TENSORS_NEAR(
      ApplySubBlock(pruned.blocks[1].attention, pruned.config.blocks[1].attention, parent.config,
                    model.rotary(), x),
      ApplySubBlock(parent.blocks[1].attention, own, parent.config, model.rotary(), x), 1e-5);
}

TEST_P(FamilyTest, ChannelsThatSayNothingAreLostWithoutLoss) {
  const at::NoGradGuard no_grad;
  ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  FfnWeights& ffn = parent.blocks[0].ffn;
  ffn.down.narrow(1, 24, ffn.down.size(1) - 24).zero_();
  const VariantSpec smaller = ResolveVariant("ffn:24", parent.config, 0);
  const Transformer model(parent);
  const Tensor x = RandomTensor({2, 10, 32}, 1);
  EXPECT_TENSORS_NEAR(
      ApplySubBlock(InitVariant(parent, 0, smaller), smaller, parent.config, model.rotary(), x),
      ApplySubBlock(ffn, parent.config.blocks[0].ffn, parent.config, model.rotary(), x), 1e-5);
}

TEST_P(FamilyTest, ParametersAreCountedAsTheyAre) {
  const ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
  for (const ModelWeights& model : {parent, Child(parent), Pruned(parent)}) {
    int64_t count = 0;
    for (const Tensor& tensor : Parameters(model)) count += tensor.numel();
    EXPECT_EQ(CountBlockParameters(model.config) + CountNonBlockParameters(model.config), count);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyTest, testing::ValuesIn(kFamilyCases),
                         [](const auto& info) { return info.param.name; });

TEST(FamilyTableTest, TensorsLieWhereTheFamilyPutsThem) {
  auto where = [](const char* family, const char* name) {
    const StoredTensor stored = StoredAs(*FindFamily(family), name);
    return stored.name + (stored.transposed ? " transposed" : "") +
           (stored.part > 0 ? " part " + std::to_string(stored.part) : "");
  };
  EXPECT_EQ(where("qwen3", "model.layers.12.self_attn.q_norm.weight"),
            "model.layers.12.self_attn.q_norm.weight");
  EXPECT_EQ(where("gpt2", "model.layers.0.self_attn.k_proj.weight"),
            "transformer.h.0.attn.c_attn.weight transposed part 1");
  EXPECT_EQ(where("gpt2", "model.layers.0.self_attn.v_proj.bias"),
            "transformer.h.0.attn.c_attn.bias part 2");
  EXPECT_EQ(where("gpt2", "model.embed_positions.weight"), "transformer.wpe.weight");
  EXPECT_EQ(where("gpt2", "model.layers.3.mlp.linear_mlp.weight"),
            "transformer.h.3.mlp.linear_mlp.weight");
  EXPECT_EQ(where("gpt_neo", "model.layers.1.self_attn.o_proj.bias"),
            "transformer.h.1.attn.attention.out_proj.bias");
  EXPECT_EQ(where("opt", "model.layers.1.post_attention_layernorm.bias"),
            "model.decoder.layers.1.final_layer_norm.bias");
  EXPECT_EQ(where("opt", "model.norm.weight"), "model.decoder.final_layer_norm.weight");
  EXPECT_EQ(where("phi3", "model.layers.2.self_attn.v_proj.weight"),
            "model.layers.2.self_attn.qkv_proj.weight part 2");
  EXPECT_EQ(where("phi3", "model.layers.2.mlp.up_proj.weight"),
            "model.layers.2.mlp.gate_up_proj.weight part 1");
  EXPECT_EQ(where("gemma2", "model.layers.2.post_attention_layernorm.weight"),
            "model.layers.2.pre_feedforward_layernorm.weight");
  EXPECT_EQ(where("gemma2", "model.layers.2.self_attn.post_norm.weight"),
            "model.layers.2.post_attention_layernorm.weight");
  EXPECT_EQ(FindFamily("mamba"), nullptr);
}

TEST(FamilyConfigTest, OptionsThatAreNotSupportedAreRefusedByName) {
  struct Case {
    const char* config;
    const char* message;
  };
  const Case cases[] = {
      {R"("model_type": "mamba")", "model_type \"mamba\" is not supported (llama, mistral"},
      {R"("model_type": "gpt2", "n_embd": 33, "n_layer": 3, "n_head": 4)", "n_embd 33"},
      {R"("model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4,
          "scale_attn_by_inverse_layer_idx": true)",
       "scale_attn_by_inverse_layer_idx: true"},
      {R"("model_type": "opt", "ffn_dim": 48, "do_layer_norm_before": false)",
       "do_layer_norm_before: false"},
      {R"("model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 16)",
       "word_embed_proj_dim: 16 differs from hidden_size 32"},
      {R"("model_type": "opt", "ffn_dim": 48, "activation_function": "tanh")",
       "activation_function \"tanh\""},
      {R"("model_type": "gpt_neo", "num_layers": 3, "num_heads": 4,
          "attention_types": [[["global"], 2]])",
       "attention_types: 2 layers"},
      {R"("model_type": "gpt_neo", "num_layers": 1, "num_heads": 4,
          "attention_types": [[["sparse"], 1]])",
       "attention_types: expected"},
      {R"("model_type": "mistral", "sliding_window": -1)", "window is -1"},
      {R"("model_type": "mistral", "layer_types": ["full_attention", "sliding_attention"])",
       "layer_types: expected"},
      {R"("model_type": "qwen2", "quantization_config": {"bits": 4})", "quantised"},
  };
  for (const Case& c : cases) {
    try {
      (void)ConfigOf({"config.json", c.config});
      ADD_FAILURE() << c.config << " was accepted";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(c.message)) << c.config;
      EXPECT_THAT(e.what(), testing::StartsWith("config.json"));
    }
  }
}

TEST_P(FamilyTest, WrongTensorsAreRefusedByTheNamesOfTheFile) {
  ModelWeights model = RandomWeights(ConfigOf(GetParam()));
  SaveCheckpoint(folder_, model);
  const SafetensorsReader reader = SafetensorsReader::Open(folder_);
  auto write = [&](const std::string& without, const std::string& with) {
    std::vector<std::vector<float>> values;
    std::vector<TensorToWrite> tensors;
    values.reserve(reader.Names().size() + 1);
    for (const std::string& name : reader.Names()) {
      if (name == without) continue;
      values.push_back(reader.ReadF32(name));
      tensors.push_back({name, reader.Info(name).shape, values.back().data(), DType::kF32});
    }
    values.push_back({1.0F});
    if (!with.empty()) tensors.push_back({with, {1}, values.back().data(), DType::kF32});
    const std::string folder = folder_ + "/spoilt";
    WriteSafetensors(folder, tensors);
    fs::copy_file(folder_ + "/config.json", folder + "/config.json",
                  fs::copy_options::overwrite_existing);
    try {
      (void)LoadCheckpoint(folder);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  const Family& family = FamilyOf(model.config);
  const std::string q = StoredAs(family, "model.layers.1.self_attn.q_proj.weight").name;
  const std::string up = StoredAs(family, "model.layers.1.mlp.up_proj.weight").name;
  EXPECT_THAT(write(q, ""), HasSubstr("tensor " + q + " is missing"));
  EXPECT_THAT(write("", up + ".more"), HasSubstr(up + ".more does not belong"));
  EXPECT_THAT(write(up, up), HasSubstr(up + " has shape [1]"));
  EXPECT_THAT(write("", q + "_scale"), HasSubstr(q + "_scale: quantised checkpoints"));
  EXPECT_EQ(write("", ""), "accepted");
}

}  // namespace
}  // namespace puzzle
