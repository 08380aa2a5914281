// GGUF files as checkpoints: a real one against values computed independently, small ones of every
// architecture written here as llama.cpp's converter writes them, and what is refused.
#include "model/files/gguf_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numbers>

#include "io/error.h"
#include "io/file.h"
#include "io/json_text.h"
#include "io/tokenizer.h"
#include "model/families/family.h"
#include "model/files/checkpoint.h"
#include "model/files/checkpoint_digest.h"
#include "model/transformer.h"
#include "tests/io/gguf_files.h"
#include "tests/io/temp_folder.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using nlohmann::ordered_json;
using testing::HasSubstr;

using GgufIds = std::vector<int32_t>;

class SmolLm2Test : public testing::Test {
 protected:
  void SetUp() override {
    const char* root = std::getenv("PUZZLE_DATA");
    const std::string data = root != nullptr ? root : PUZZLE_SOURCE_DIR "/../shared/data";
    path_ = data + "/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!std::filesystem::exists(path_))
      GTEST_SKIP() << "no test data at " << path_ << "; set PUZZLE_DATA";
    golden_ = JsonText::ParseFile(data + "/golden/smollm2.json").value();
  }

  [[nodiscard]] GgufIds GoldenIds(const char* name) const {
    return golden_.at(name).get<GgufIds>();
  }

  std::string path_;
  ordered_json golden_;
  at::NoGradGuard no_grad_;
};

TEST_F(SmolLm2Test, TextsBecomeTheIdsOfTransformers) {
  const auto tokenizer = LoadTokenizer(path_);
  EXPECT_EQ(tokenizer->Encode(golden_.at("passage").get<std::string>()), GoldenIds("ids"));
  EXPECT_EQ(tokenizer->Encode(golden_.at("chat_text").get<std::string>()), GoldenIds("chat_ids"));
  EXPECT_EQ(tokenizer->leading_id(), -1);  // add_bos_token is false
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
}

TEST_F(SmolLm2Test, LogitsAndContinuationsAreThoseOfTransformers) {
  const Transformer model(LoadCheckpoint(path_));
  const GgufIds ids = GoldenIds("ids");
  const Tensor logits = model.Logits(at::tensor(ids, at::kInt).to(at::kLong).unsqueeze(0))[0];
  const Tensor log_p = logits.log_softmax(-1);
  const auto nll = golden_.at("nll").get<std::vector<double>>();
  for (size_t i = 0; i < nll.size(); ++i)
    EXPECT_NEAR(-log_p[static_cast<int64_t>(i)][ids[i + 1]].item<double>(), nll[i], 1e-3) << i;
  const GgufIds top = GoldenIds("top10_ids");
  const auto values = golden_.at("top10_logits").get<std::vector<double>>();
  for (size_t i = 0; i < top.size(); ++i)
    EXPECT_NEAR(logits[-1][top[i]].item<double>(), values[i], 1e-3) << i;
  EXPECT_NEAR(logits[-1].norm().item<double>(), golden_.at("last_logits_l2").get<double>(), 1e-2);

  const GgufIds greedy = GoldenIds("greedy_after_20_ids");
  EXPECT_EQ(Generate(model, std::span(ids).first(20), static_cast<int64_t>(greedy.size())), greedy);
  GgufIds answer = GoldenIds("chat_greedy_ids");
  ASSERT_EQ(answer.back(), 2);  // EOS, which Generate stops at
  answer.pop_back();
  GgufIds said = Generate(model, GoldenIds("chat_ids"), 64);
  if (!said.empty() && said.back() == 2) said.pop_back();
  EXPECT_EQ(said, answer);
}

std::string Bytes(const Tensor& tensor) {
  const Tensor whole = tensor.contiguous();
  return {reinterpret_cast<const char*>(whole.data_ptr<float>()),
          static_cast<size_t>(whole.numel()) * sizeof(float)};
}

GgufData F32(const std::string& name, const Tensor& tensor) {
  GgufData data{name, {}, 0, Bytes(tensor)};
  for (int64_t i = tensor.dim() - 1; i >= 0; --i)
    data.dimensions.push_back(static_cast<uint64_t>(tensor.size(i)));
  return data;
}

/// llama.cpp rotates neighbours: element s * half + j of a head goes to 2j + s.
Tensor Interleaved(const Tensor& rows, int64_t heads) {
  return rows.view({heads, 2, rows.size(0) / heads / 2, -1}).transpose(1, 2).reshape(rows.sizes());
}

void Add(std::vector<GgufData>& all, const std::string& name, const Tensor& tensor) {
  if (tensor.defined()) all.push_back(F32(name, tensor));
}

/// What files of Gemma have of its norms.
Tensor InFile(const Tensor& norm, const ModelConfig& config) {
  return norm.defined() && config.arch.norms_add_one ? norm + 1.0 : norm;
}

/// The tensors of a model under the names of llama.cpp; `rotates`: as for arch llama.
std::vector<GgufData> TensorsOf(const ModelWeights& model, bool rotates) {
  std::vector<GgufData> all;
  Add(all, "token_embd.weight", model.embedding);
  Add(all, "position_embd.weight", model.positions);
  Add(all, "output_norm.weight", InFile(model.norm, model.config));
  Add(all, "output_norm.bias", model.norm_bias);
  Add(all, "output.weight", model.head);
  for (size_t i = 0; i < model.blocks.size(); ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    const auto& [attention, ffn] = model.blocks[i];
    const AttentionSpec& spec = model.config.blocks[i].attention;
    Add(all, blk + "attn_norm.weight", InFile(attention.norm, model.config));
    Add(all, blk + "post_attention_norm.weight", InFile(attention.post_norm, model.config));
    Add(all, blk + "post_ffw_norm.weight", InFile(ffn.post_norm, model.config));
    Add(all, blk + "attn_norm.bias", attention.norm_bias);
    if (spec.form == SubBlockForm::kFull && model.config.family == "gpt2") {
      Add(all, blk + "attn_qkv.weight", at::cat({attention.q, attention.k, attention.v}));
      Add(all, blk + "attn_qkv.bias",
          at::cat({attention.q_bias, attention.k_bias, attention.v_bias}));
    } else if (model.config.family == "phi3") {
      Add(all, blk + "attn_qkv.weight", at::cat({attention.q, attention.k, attention.v}));
    } else if (spec.form == SubBlockForm::kFull) {
      const int64_t heads = QueryHeads(spec, model.config);
      Add(all, blk + "attn_q.weight", rotates ? Interleaved(attention.q, heads) : attention.q);
      Add(all, blk + "attn_k.weight",
          rotates ? Interleaved(attention.k, spec.n_kv_heads) : attention.k);
      Add(all, blk + "attn_v.weight", attention.v);
      Add(all, blk + "attn_q.bias",
          rotates && attention.q_bias.defined() ? Interleaved(attention.q_bias, heads)
                                                : attention.q_bias);
      Add(all, blk + "attn_k.bias",
          rotates && attention.k_bias.defined() ? Interleaved(attention.k_bias, spec.n_kv_heads)
                                                : attention.k_bias);
      Add(all, blk + "attn_v.bias", attention.v_bias);
      Add(all, blk + "attn_q_norm.weight", InFile(attention.q_norm, model.config));
      Add(all, blk + "attn_k_norm.weight", InFile(attention.k_norm, model.config));
    }
    Add(all, blk + "attn_output.weight",
        attention.linear.defined() ? attention.linear : attention.o);
    Add(all, blk + "attn_output.bias", attention.o_bias);
    Add(all, blk + "ffn_norm.weight", InFile(ffn.norm, model.config));
    Add(all, blk + "ffn_norm.bias", ffn.norm_bias);
    const bool stacks = model.config.family == "phi3";
    if (!stacks) Add(all, blk + "ffn_gate.weight", ffn.gate);
    Add(all, blk + "ffn_gate.bias", ffn.gate_bias);
    Add(all, blk + "ffn_up.weight", stacks ? at::cat({ffn.gate, ffn.up}) : ffn.up);
    Add(all, blk + "ffn_up.bias", ffn.up_bias);
    Add(all, blk + "ffn_down.weight", ffn.down);
    Add(all, blk + "ffn_down.bias", ffn.down_bias);
  }
  return all;
}

/// The keys that every architecture has; sizes are per layer where layers differ.
std::vector<std::string> KeysOf(const ModelConfig& config, const std::string& arch) {
  const auto key = [&](const char* name) { return arch + "." + name; };
  std::vector<int32_t> heads, kv_heads, ffn;
  for (const BlockSpec& block : config.blocks) {
    const bool full = block.attention.form == SubBlockForm::kFull;
    const bool none = block.attention.form == SubBlockForm::kNone;
    heads.push_back(none ? 0 : static_cast<int32_t>(QueryHeads(block.attention, config)));
    kv_heads.push_back(full ? static_cast<int32_t>(block.attention.n_kv_heads) : 0);
    ffn.push_back(static_cast<int32_t>(block.ffn.size));
  }
  const auto sizes = [&](const char* name, const std::vector<int32_t>& values) {
    return arch == "deci" ? GgufI32s(key(name), values)
                          : GgufU32(key(name), static_cast<uint32_t>(values.front()));
  };
  std::vector<std::string> keys = {
      GgufString("general.architecture", arch),
      GgufU32(key("block_count"), static_cast<uint32_t>(config.n_layers())),
      GgufU32(key("context_length"), static_cast<uint32_t>(config.max_positions)),
      GgufU32(key("embedding_length"), static_cast<uint32_t>(config.hidden_size)),
      sizes("feed_forward_length", ffn),
      sizes("attention.head_count", heads),
      GgufU32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(config.bos_id)),
      GgufU32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(config.eos_ids.front()))};
  if (arch == "gpt2") {
    keys.push_back(
        GgufF32(key("attention.layer_norm_epsilon"), static_cast<float>(config.norm_eps)));
    return keys;
  }
  keys.push_back(sizes("attention.head_count_kv", kv_heads));
  keys.push_back(
      GgufF32(key("attention.layer_norm_rms_epsilon"), static_cast<float>(config.norm_eps)));
  keys.push_back(GgufU32(key("attention.key_length"), static_cast<uint32_t>(config.head_dim)));
  keys.push_back(GgufU32(key("rope.dimension_count"),
                         static_cast<uint32_t>(config.rope.RotatedDims(config.head_dim))));
  keys.push_back(GgufF32(key("rope.freq_base"), static_cast<float>(config.rope.theta)));
  if (arch == "phi3" || arch.starts_with("gemma"))
    keys.push_back(GgufU32(key("attention.sliding_window"),
                           static_cast<uint32_t>(config.blocks[0].attention.window)));
  if (arch == "gemma2") {
    keys.push_back(GgufF32(key("attn_logit_softcapping"), 30.0F));
    keys.push_back(GgufF32(key("final_logit_softcapping"), 0.0F));
  }
  return keys;
}

ModelWeights ModelOf(const std::string& arch) {
  ModelConfig config = TinyConfig();
  config.family = arch == "deci" ? "llama" : arch == "gemma3" ? "gemma3_text" : arch;
  config.n_heads = 4;
  config.head_dim = 10;  // not hidden / heads
  config.rope.theta = 500000.0;
  config.arch = FamilyOf(config).arch;
  if (arch == "deci") {
    config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 40}},
                     {{SubBlockForm::kLinear, 0}, {SubBlockForm::kFull, 7}},
                     {{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 56}},
                     {{SubBlockForm::kFull, 1, 0, 3}, {SubBlockForm::kFull, 48}},
                     {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}}};
  }
  if (arch == "gpt2") {
    config.head_dim = 8;
    config.rope = {};
    for (BlockSpec& block : config.blocks) block.attention.n_kv_heads = 4;
  }
  if (arch == "qwen2") config.tied_embeddings = false;
  if (arch == "phi3") {
    config.rope.dims = 6;
    for (BlockSpec& block : config.blocks) block.attention.window = 5;
  }
  if (arch.starts_with("gemma")) {
    config.arch.query_scalar = 10;
    config.arch.embedding_scale = std::sqrt(32.0);
    if (arch == "gemma2") config.arch.attention_cap = 30;
    if (arch == "gemma3") config.window_rope = RopeConfig();
    config.blocks.assign(7, config.blocks[0]);
    for (size_t i = 0; i < config.blocks.size(); ++i)
      config.blocks[i].attention.window = (i + 1) % (arch == "gemma2" ? 2 : 6) != 0 ? 5 : 0;
  }
  return TinyModel(config);
}

class GgufArchitectureTest : public testing::TestWithParam<const char*> {
 protected:
  [[nodiscard]] std::string Write(const std::vector<std::string>& keys,
                                  const std::vector<GgufData>& tensors) const {
    WriteWholeFile(folder_ / "m.gguf", GgufFile(keys, tensors));
    return folder_ / "m.gguf";
  }

  TempFolder folder_;
};

TEST_P(GgufArchitectureTest, ModelsComeBackBitForBit) {
  const std::string arch = GetParam();
  ModelWeights model = ModelOf(arch);
  ModelWeights loaded = LoadCheckpoint(
      Write(KeysOf(model.config, arch), TensorsOf(model, arch == "llama" || arch == "deci")));
  EXPECT_EQ(loaded.config, model.config);
  if (!model.config.arch.norms_add_one) return ExpectSameBits(Slots(loaded), Slots(model));
  const auto slots = Slots(model), read = Slots(loaded);
  ASSERT_EQ(read.size(), slots.size());
  for (size_t i = 0; i < slots.size(); ++i)
    EXPECT_TENSORS_NEAR(*read[i].second, *slots[i].second, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Architectures, GgufArchitectureTest,
                         testing::Values("llama", "deci", "qwen2", "qwen3", "gpt2", "phi3",
                                         "gemma2", "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

class GgufModelTest : public GgufArchitectureTest {
 protected:
  [[nodiscard]] std::string ErrorOf(const std::vector<std::string>& keys,
                                    const std::vector<GgufData>& tensors) const {
    try {
      (void)LoadCheckpoint(Write(keys, tensors));
    } catch (const Error& e) {
      return e.what();
    }
    ADD_FAILURE() << "accepted";
    return {};
  }

  ModelWeights model_ = ModelOf("llama");
  std::vector<std::string> keys_ = KeysOf(model_.config, "llama");
  std::vector<GgufData> tensors_ = TensorsOf(model_, true);
};

TEST_F(GgufModelTest, BiasesOfLlamaAreRotatedToo) {
  ModelConfig config = model_.config;
  config.arch.qkv_bias = config.arch.o_bias = config.arch.ffn_bias = true;
  ModelWeights model = TinyModel(config);
  for (const auto& [name, slot] : Slots(model))
    if (name.ends_with(".bias")) *slot = RandomTensor(slot->sizes().vec(), 3);
  ModelWeights loaded = LoadCheckpoint(Write(keys_, TensorsOf(model, true)));
  EXPECT_EQ(loaded.config, config);
  ExpectSameBits(Slots(loaded), Slots(model));
}

/// Formula of Llama 3 as llama.cpp's converter writes it.
Tensor Llama3Factors(double theta, int64_t head_dim, double factor, double original) {
  std::vector<float> factors;
  for (int64_t k = 0; k < head_dim / 2; ++k) {
    const double wavelength =
        2 * std::numbers::pi *
        std::pow(theta, 2.0 * static_cast<double>(k) / static_cast<double>(head_dim));
    const double smooth = (original / wavelength - 1.0) / (4.0 - 1.0);
    factors.push_back(static_cast<float>(wavelength < original / 4.0 ? 1.0
                                         : wavelength > original / 1.0
                                             ? factor
                                             : 1.0 / ((1 - smooth) / factor + smooth)));
  }
  return at::tensor(factors);
}

TEST_F(GgufModelTest, Llama3sRopeFactorsBecomeItsScaling) {
  for (const double original : {512.0, 8192.0}) {
    auto tensors = tensors_;
    tensors.push_back(F32("rope_freqs.weight", Llama3Factors(500000.0, 10, 32.0, original)));
    const RopeConfig rope = LoadCheckpoint(Write(keys_, tensors)).config.rope;
    EXPECT_EQ(rope.type, RopeConfig::Type::kLlama3);
    EXPECT_EQ(rope.factor, 32.0);
    // Several contexts give the same factors where no frequency lies between them.
    const Tensor again =
        Llama3Factors(500000.0, 10, 32.0, static_cast<double>(rope.original_max_positions));
    EXPECT_TENSORS_NEAR(again, Llama3Factors(500000.0, 10, 32.0, original), 1e-4);
  }
  auto tensors = tensors_;
  tensors.push_back(F32("rope_freqs.weight", at::tensor({1.0F, 3.0F, 1.0F, 2.0F, 1.0F})));
  EXPECT_THAT(ErrorOf(keys_, tensors), HasSubstr("not those of Llama 3's rope scaling"));
}

TEST_F(GgufModelTest, LinearRopeScalingIsRead) {
  keys_.push_back(GgufString("llama.rope.scaling.type", "linear"));
  keys_.push_back(GgufF32("llama.rope.scaling.factor", 4.0F));
  const RopeConfig rope = LoadCheckpoint(Write(keys_, tensors_)).config.rope;
  EXPECT_EQ(rope.type, RopeConfig::Type::kLinear);
  EXPECT_EQ(rope.factor, 4.0);
}

TEST_F(GgufModelTest, AFactorWithoutATypeIsLinearAndNoneIsNone) {
  const auto rope_with = [&](const std::vector<std::string>& more) {
    auto keys = keys_;
    keys.insert(keys.end(), more.begin(), more.end());
    return LoadCheckpoint(Write(keys, tensors_)).config.rope;
  };
  const std::string none = GgufString("llama.rope.scaling.type", "none");
  for (const char* name : {"llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
    const RopeConfig rope = rope_with({GgufF32(name, 4.0F)});
    EXPECT_EQ(rope.type, RopeConfig::Type::kLinear) << name;
    EXPECT_EQ(rope.factor, 4.0) << name;
    EXPECT_EQ(rope_with({GgufF32(name, 4.0F), none}).type, RopeConfig::Type::kPlain) << name;
    EXPECT_EQ(rope_with({GgufF32(name, 1.0F)}).type, RopeConfig::Type::kPlain) << name;
    EXPECT_EQ(rope_with({GgufF32(name, 0.0F)}).type, RopeConfig::Type::kPlain) << name;
  }
}

// As llama.cpp saves models that were tuned.
TEST_F(GgufModelTest, TokensThatThereAreNotAreNone) {
  const std::string bos = "tokenizer.ggml.bos_token_id";
  std::erase_if(keys_, [&](const std::string& key) { return key.starts_with(GgufText(bos)); });
  keys_.push_back(GgufU32(bos, UINT32_MAX));
  keys_.push_back(GgufU32("tokenizer.ggml.eot_token_id", UINT32_MAX));
  const ModelConfig config = LoadCheckpoint(Write(keys_, tensors_)).config;
  EXPECT_EQ(config.bos_id, -1);
  EXPECT_EQ(config.eos_ids, model_.config.eos_ids);
}

TEST_F(GgufModelTest, AHeadThatRepeatsTheEmbeddingIsTied) {
  tensors_.push_back(F32("output.weight", model_.embedding));
  ModelWeights loaded = LoadCheckpoint(Write(keys_, tensors_));
  EXPECT_TRUE(loaded.config.tied_embeddings);
  ExpectSameBits(Slots(loaded), Slots(model_));
}

TEST_F(GgufModelTest, WhatIsNotSupportedOrDoesNotFitIsRefusedByName) {
  const auto with = [&](const std::string& entry) {
    auto keys = keys_;
    keys.push_back(entry);
    return ErrorOf(keys, tensors_);
  };
  EXPECT_THAT(with(GgufU32("llama.expert_count", 8)), HasSubstr("mixture of experts"));
  EXPECT_THAT(with(GgufString("llama.rope.scaling.type", "yarn")), HasSubstr("\"yarn\""));
  EXPECT_THAT(with(GgufF32("llama.logit_scale", 0.5F)), HasSubstr("logit_scale"));
  EXPECT_THAT(with(GgufU32("llama.attention.sliding_window", 16)), HasSubstr("sliding_window"));
  EXPECT_THAT(with(GgufU32("llama.attention.value_length", 5)), HasSubstr("value_length"));
  auto keys = keys_;
  keys[0] = GgufString("general.architecture", "mamba");
  EXPECT_THAT(ErrorOf(keys, tensors_), HasSubstr("\"mamba\" is not supported (llama, deci, "));
  keys = keys_;
  keys.erase(keys.begin() + 1);
  EXPECT_THAT(ErrorOf(keys, tensors_), HasSubstr("llama.block_count: missing"));
  auto tensors = tensors_;
  tensors.pop_back();
  EXPECT_THAT(ErrorOf(keys_, tensors), HasSubstr("tensor blk.1.ffn_down.weight is missing"));
  tensors = tensors_;
  tensors.push_back(F32("blk.0.extra", at::ones({4})));
  EXPECT_THAT(ErrorOf(keys_, tensors), HasSubstr("tensor blk.0.extra does not belong"));
  tensors = tensors_;
  tensors.back() = F32(tensors.back().name, at::ones({3, 4}));
  EXPECT_THAT(ErrorOf(keys_, tensors), HasSubstr("has shape [3, 4], the metadata implies"));
}

/// A file of another architecture, with what is added to it or put in a key's place.
class GgufFamilyKeysTest : public GgufModelTest {
 protected:
  void Take(const std::string& arch) {
    model_ = ModelOf(arch);
    keys_ = KeysOf(model_.config, arch);
    tensors_ = TensorsOf(model_, false);
  }
  [[nodiscard]] std::vector<std::string> With(const std::string& key,
                                              const std::string& entry) const {
    auto keys = keys_;
    std::erase_if(keys, [&](const std::string& e) { return e.starts_with(GgufText(key)); });
    if (!entry.empty()) keys.push_back(entry);
    return keys;
  }
};

TEST_F(GgufFamilyKeysTest, Phi3sFactorsBecomeLongRope) {
  Take("phi3");
  const Tensor short_factors = at::tensor({1.0F, 1.25F, 1.5F});
  const Tensor long_factors = at::tensor({1.0F, 2.0F, 4.0F});
  const std::string original = "phi3.rope.scaling.original_context_length";
  auto tensors = tensors_;
  tensors.push_back(F32("rope_factors_short.weight", short_factors));
  EXPECT_THAT(ErrorOf(With(original, GgufU32(original, 16)), tensors),
              HasSubstr("tensor rope_factors_long.weight is missing, of two"));
  tensors.push_back(F32("rope_factors_long.weight", long_factors));
  EXPECT_THAT(ErrorOf(keys_, tensors), HasSubstr(original + ": missing"));
  const RopeConfig rope =
      LoadCheckpoint(Write(With(original, GgufU32(original, 16)), tensors)).config.rope;
  EXPECT_EQ(rope.type, RopeConfig::Type::kLongRope);
  EXPECT_EQ(rope.dims, 6);
  EXPECT_EQ(rope.original_max_positions, 16);
  EXPECT_EQ(rope.short_factors, (std::vector<double>{1.0, 1.25, 1.5}));
  EXPECT_EQ(rope.long_factors, (std::vector<double>{1.0, 2.0, 4.0}));
  EXPECT_NEAR(rope.attention_factor, std::sqrt(1 + std::log(64.0 / 16.0) / std::log(16.0)), 1e-12);

  tensors.back() = F32("rope_factors_long.weight", at::tensor({1.0F, 2.0F}));
  EXPECT_THAT(ErrorOf(With(original, GgufU32(original, 16)), tensors),
              HasSubstr("rope_factors_long.weight has shape [2], the metadata implies [3]"));
  tensors.back() = F32("rope_factors_long.weight", at::tensor({1.0F, -2.0F, 1.0F}));
  EXPECT_THAT(ErrorOf(With(original, GgufU32(original, 16)), tensors),
              HasSubstr("-2 is no positive factor"));
  tensors.back() = F32("rope_factors_long.weight", at::tensor({1.0F, 2.0F, 0.0F}));
  EXPECT_THAT(ErrorOf(With(original, GgufU32(original, 16)), tensors),
              HasSubstr("0 is no positive factor"));
}

TEST_F(GgufFamilyKeysTest, WhatPhi3CannotMeanIsRefused) {
  Take("phi3");
  const std::string dims = "phi3.rope.dimension_count";
  for (const uint32_t wrong : {0U, 5U, 12U})
    EXPECT_THAT(ErrorOf(With(dims, GgufU32(dims, wrong)), tensors_),
                HasSubstr("expected an even number up to 10"));
  auto tensors = tensors_;
  for (GgufData& tensor : tensors)
    if (tensor.name == "blk.1.ffn_up.weight") tensor = F32(tensor.name, at::ones({48, 32}));
  EXPECT_THAT(ErrorOf(keys_, tensors),
              HasSubstr("blk.1.ffn_up.weight has shape [48, 32], the metadata implies [96, 32]"));
}

TEST_F(GgufFamilyKeysTest, GemmasUsualValuesAreThoseOfLlamaCpp) {
  Take("gemma2");
  EXPECT_THAT(ErrorOf(With("gemma2.final_logit_softcapping", ""), tensors_),
              HasSubstr("final_logit_softcapping: 30 is not supported"));
  const ModelConfig gemma2 =
      LoadCheckpoint(Write(With("gemma2.attn_logit_softcapping", ""), tensors_)).config;
  EXPECT_EQ(gemma2.arch.attention_cap, 50);
  Take("gemma3");
  const std::string window = "gemma3.attention.sliding_window";
  const std::string pattern = window + "_pattern";
  const auto windows = [&](const std::vector<std::string>& keys) {
    std::vector<int64_t> all;
    for (const BlockSpec& block : LoadCheckpoint(Write(keys, tensors_)).config.blocks)
      all.push_back(block.attention.window);
    return all;
  };
  EXPECT_THAT(windows(keys_), testing::ElementsAre(5, 5, 5, 5, 5, 0, 5));
  EXPECT_THAT(windows(With(window, "")), testing::Each(0));
  EXPECT_THAT(windows(With(pattern, GgufU32(pattern, 3))),
              testing::ElementsAre(5, 5, 0, 5, 5, 0, 5));
  EXPECT_THAT(windows(With(pattern, GgufI32s(pattern, {0, 1, 0, 1, 1, 1, 0}))),
              testing::ElementsAre(0, 5, 0, 5, 5, 5, 0));
  EXPECT_THAT(ErrorOf(With(pattern, GgufU32(pattern, 0)), tensors_),
              HasSubstr("sliding_window_pattern: expected a positive number"));
  EXPECT_THAT(ErrorOf(With(pattern, GgufI32s(pattern, {0, 1})), tensors_),
              HasSubstr("has 2 numbers for 7 layers"));
  const std::string theta = "gemma3.rope.freq_base_swa";
  EXPECT_EQ(LoadCheckpoint(Write(With(theta, GgufF32(theta, 5000.0F)), tensors_))
                .config.window_rope->theta,
            5000.0);
}

TEST_F(GgufModelTest, AttentionWithoutAnFfnMeansTwoThingsAndIsRefused) {
  const ModelWeights deci = ModelOf("deci");
  auto keys = KeysOf(deci.config, "deci");
  keys[4] = GgufI32s("deci.feed_forward_length", {0, 7, 56, 48, 0});
  EXPECT_THAT(ErrorOf(keys, TensorsOf(deci, true)), HasSubstr("layer 0 has attention and no FFN"));
  keys[4] = GgufI32s("deci.feed_forward_length", {40, 7, 56, 48});
  EXPECT_THAT(ErrorOf(keys, TensorsOf(deci, true)), HasSubstr("has 4 numbers for 5 layers"));
}

TEST_F(GgufModelTest, DigestIsOfTheContent) {
  const std::string digest = DigestCheckpoint(Write(keys_, tensors_));
  EXPECT_EQ(DigestCheckpoint(Write(keys_, tensors_)), digest);
  auto tensors = tensors_;
  tensors.back().data[0] ^= 1;
  EXPECT_NE(DigestCheckpoint(Write(keys_, tensors)), digest);
}

}  // namespace
}  // namespace puzzle
