// Models as GGUF files: what is written is read back as the same model, children of every kind of
// sub-block compute the same logits, and what the format cannot say is refused. (That the reader is
// right is the subject of gguf_test.cpp.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <iterator>

#include "io/error.h"
#include "io/file.h"
#include "io/gguf.h"
#include "io/tokenizer.h"
#include "model/families/family.h"
#include "model/files/checkpoint.h"
#include "model/files/gguf_checkpoint.h"
#include "model/files/gguf_form.h"
#include "model/transformer.h"
#include "tests/io/file_size_limit.h"
#include "tests/io/temp_folder.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pointee;

constexpr AttentionSpec kNoAttention = {SubBlockForm::kNone, 0};
constexpr AttentionSpec kLinearAttention = {SubBlockForm::kLinear, 0};
constexpr FfnSpec kNoFfn = {SubBlockForm::kNone, 0};
constexpr FfnSpec kLinearFfn = {SubBlockForm::kLinear, 0};

AttentionSpec KvHeads(int64_t kv_heads, int64_t query_heads = 0) {
  return {SubBlockForm::kFull, kv_heads, 0, query_heads};
}
FfnSpec Channels(int64_t size) {
  return {SubBlockForm::kFull, size};
}

ModelConfig FamilyConfig(const std::string& family) {
  ModelConfig config = TinyConfig();
  config.family = family;
  config.arch = FamilyOf(config).arch;
  if (family == "gpt2")
    for (BlockSpec& block : config.blocks) block.attention.n_kv_heads = 4;
  if (family == "gemma3_text") {
    config.blocks.assign(7, config.blocks[0]);
    for (size_t i = 0; i < config.blocks.size(); ++i)
      if (i != 5) config.blocks[i].attention.window = 12;
    config.arch.query_scalar = 8;
    config.arch.embedding_scale = std::sqrt(32.0);
    config.rope.theta = 1e6;
    config.window_rope = RopeConfig();
  }
  return config;
}

ModelConfig LlamaOf(const std::vector<BlockSpec>& blocks) {
  ModelConfig config = TinyConfig();
  config.blocks = blocks;
  return config;
}

/// Biases that are not zero, but for those of linear sub-blocks, which llama.cpp does not have.
ModelWeights WithBiases(ModelWeights model) {
  uint64_t seed = 3;
  for (const auto& [name, slot] : Slots(model))
    if (name.ends_with(".bias") && name.find("linear") == std::string::npos)
      *slot = RandomTensor(slot->sizes().vec(), ++seed);
  return model;
}

class GgufSaveTest : public testing::Test {
 protected:
  [[nodiscard]] ModelWeights Through(const ModelWeights& model, const char* type = "F32") const {
    (void)SaveGguf(path_, model, {FindWritableGgmlType(type)});
    return LoadCheckpoint(path_);
  }
  void ExpectSameLogits(const ModelWeights& a, const ModelWeights& b) const {
    const Tensor ids = at::tensor({1, 5, 9, 33, 2, 17, 0, 39}, at::kLong).unsqueeze(0);
    const Tensor wanted = Transformer(b).Logits(ids);
    EXPECT_TENSORS_NEAR(Transformer(a).Logits(ids), wanted,
                        1e-5 * wanted.abs().max().item<double>());
  }
  /// What saving is refused with; nothing may be left of it.
  [[nodiscard]] std::string Refusal(const ModelWeights& model, const char* type = "F32") const {
    try {
      (void)SaveGguf(path_, model, {FindWritableGgmlType(type)});
    } catch (const Error& e) {
      EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
      return e.what();
    }
    ADD_FAILURE() << "accepted";
    return {};
  }
  [[nodiscard]] std::string RefusalOf(const ModelConfig& config) const {
    return Refusal(TinyModel(config));
  }

  TempFolder folder_;
  std::string path_ = folder_ / "m.gguf";
  at::NoGradGuard no_grad_;
};

class GgufSaveFamilyTest : public GgufSaveTest, public testing::WithParamInterface<const char*> {};

TEST_P(GgufSaveFamilyTest, AUniformModelComesBackBitForBit) {
  for (const bool tied : {true, false}) {
    ModelConfig config = FamilyConfig(GetParam());
    config.tied_embeddings = tied;
    ModelWeights model = WithBiases(TinyModel(config));
    ModelWeights loaded = Through(model);
    EXPECT_EQ(GgufReader::Open(path_).FindText("general.architecture"), GetParam());
    EXPECT_EQ(loaded.config, model.config);
    ExpectSameBits(Slots(loaded), Slots(model));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GgufSaveFamilyTest,
                         testing::Values("llama", "qwen2", "qwen3", "gpt2"),
                         [](const auto& info) { return std::string(info.param); });

TEST_F(GgufSaveTest, Phi3ComesBackWithItsStacksAndFactors) {
  ModelConfig config = FamilyConfig("phi3");
  for (const bool is_long : {false, true}) {
    if (is_long) {
      config.rope.type = RopeConfig::Type::kLongRope;
      config.rope.dims = 6;
      config.rope.original_max_positions = 4;
      config.rope.attention_factor = 1.25;
      config.rope.short_factors = {1.0, 1.25, 1.5};
      config.rope.long_factors = {1.0, 2.0, 4.0};
    }
    ModelWeights model = TinyModel(config);
    ModelWeights loaded = Through(model);
    EXPECT_EQ(loaded.config, model.config);
    ExpectSameBits(Slots(loaded), Slots(model));
  }
}

TEST_F(GgufSaveTest, Gemma3ComesBackWithItsWindows) {
  for (const bool is_scaled : {false, true}) {
    ModelConfig config = FamilyConfig("gemma3_text");
    if (is_scaled) {
      config.rope.type = RopeConfig::Type::kLinear;
      config.rope.factor = 8;
    }
    const ModelWeights model = TinyModel(config);
    const ModelWeights loaded = Through(model);
    EXPECT_EQ(GgufReader::Open(path_).FindText("general.architecture"), "gemma3");
    EXPECT_EQ(loaded.config, model.config);
    ExpectSameLogits(loaded, model);
  }
}

TEST_F(GgufSaveTest, WhatLlamaCppTakesForGrantedOfAFamilyIsHeldAgainstIt) {
  ModelConfig config = FamilyConfig("gemma3_text");
  config.blocks[3].attention.window = 0;
  EXPECT_THAT(RefusalOf(config), HasSubstr("layer 3 has not the window that llama.cpp expects"));
  config = FamilyConfig("gemma3_text");
  config.blocks.pop_back();
  config.blocks[0].attention = kNoAttention;  // the windows of the others move
  config.blocks[0].ffn = kNoFfn;
  EXPECT_THAT(RefusalOf(config), HasSubstr("layer 4 has not the window"));
  config = FamilyConfig("gemma3_text");
  config.arch.query_scalar = 12;
  EXPECT_THAT(RefusalOf(config), HasSubstr("divided by the root of 12, llama.cpp takes 8"));
  config = FamilyConfig("gemma3_text");
  config.window_rope->theta = 5000;
  EXPECT_THAT(RefusalOf(config), HasSubstr("has base 5000, llama.cpp's 10000"));
  for (BlockSpec& block : config.blocks) block.attention.window = 0;
  EXPECT_THAT(RefusalOf(config), HasSubstr("expects windows in Gemma 3"));
  config = FamilyConfig("phi3");
  config.blocks[0].attention.window = 8;
  EXPECT_THAT(RefusalOf(config), HasSubstr("which llama.cpp does not do in Phi-3"));
  config = FamilyConfig("phi3");
  config.head_dim = 10;
  EXPECT_THAT(RefusalOf(config), HasSubstr("4 heads of 10 dimensions"));
  config = FamilyConfig("phi3");
  config.rope.type = RopeConfig::Type::kLinear;
  config.rope.factor = 2;
  EXPECT_THAT(RefusalOf(config), HasSubstr("those that are written (none, longrope)"));
  EXPECT_THAT(RefusalOf(FamilyConfig("gemma2")), HasSubstr("caps the logits of every Gemma 2"));
}

TEST_F(GgufSaveTest, MistralIsLlama) {
  ModelWeights model = TinyModel(FamilyConfig("mistral"));
  ModelWeights loaded = Through(model);
  EXPECT_EQ(loaded.config.family, "llama");
  ExpectSameBits(Slots(loaded), Slots(model));
  ExpectSameLogits(loaded, model);
}

struct GgufChild {
  std::string name;
  std::vector<BlockSpec> blocks;
  std::vector<int64_t> heads, kv_heads, ffn;  // of the layers in the file
};

void PrintTo(const GgufChild& child, std::ostream* out) {
  *out << child.name;
}

class GgufChildTest : public GgufSaveTest, public testing::WithParamInterface<GgufChild> {};

TEST_P(GgufChildTest, LogitsAreThoseOfTheModel) {
  for (const bool has_biases : {false, true}) {
    ModelConfig config = LlamaOf(GetParam().blocks);
    config.arch.qkv_bias = config.arch.o_bias = config.arch.ffn_bias = has_biases;
    config.tied_embeddings = has_biases;
    const ModelWeights model = WithBiases(TinyModel(config));
    if (has_biases && GetParam().name.find("Query") != std::string::npos) {
      EXPECT_THAT(Refusal(model), HasSubstr("together with biases"));
      std::filesystem::remove(path_);
      continue;
    }
    const ModelWeights loaded = Through(model);
    EXPECT_EQ(loaded.config, GgufFormOf(config).config);
    ExpectSameLogits(loaded, model);
    const GgufReader reader = GgufReader::Open(path_);
    EXPECT_EQ(reader.FindText("general.architecture"), "deci");
    EXPECT_THAT(reader.FindInts("deci.attention.head_count"), Pointee(GetParam().heads));
    EXPECT_THAT(reader.FindInts("deci.attention.head_count_kv"), Pointee(GetParam().kv_heads));
    EXPECT_THAT(reader.FindInts("deci.feed_forward_length"), Pointee(GetParam().ffn));
    std::filesystem::remove(path_);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Children, GgufChildTest,
    testing::Values(
        GgufChild{
            "KvHeadsAndOddFfns",
            {{KvHeads(2), Channels(33)}, {KvHeads(1), Channels(7)}, {KvHeads(4), Channels(1)}},
            {4, 4, 4},
            {2, 1, 4},
            {33, 7, 1}},
        GgufChild{"PrunedQueryHeads",
                  {{KvHeads(1, 2), Channels(48)}, {KvHeads(2), Channels(48)}},
                  {2, 4},
                  {1, 2},
                  {48, 48}},
        GgufChild{"NoAttentionInFront",
                  {{kNoAttention, Channels(48)}, {KvHeads(2), Channels(48)}},
                  {4, 4},
                  {0, 2},
                  {48, 48}},
        GgufChild{"NoAttentionBehind",
                  {{KvHeads(2), Channels(48)}, {kNoAttention, Channels(40)}},
                  {4, 0},
                  {2, 0},
                  {48, 40}},
        GgufChild{"NoFfnsBetweenAttentions",
                  {{KvHeads(2), kNoFfn}, {KvHeads(1), kNoFfn}},
                  {4, 4},
                  {2, 1},
                  {32, 32}},
        GgufChild{"AttentionAndTheFfnBehindItShareALayer",
                  {{KvHeads(2), kNoFfn}, {kNoAttention, Channels(40)}, {KvHeads(1), Channels(48)}},
                  {4, 4},
                  {2, 1},
                  {40, 48}},
        GgufChild{"NothingVanishes",
                  {{kNoAttention, kNoFfn},
                   {KvHeads(2), Channels(48)},
                   {kNoAttention, kNoFfn},
                   {KvHeads(1), Channels(40)},
                   {kNoAttention, kNoFfn}},
                  {4, 4},
                  {2, 1},
                  {48, 40}},
        GgufChild{"LinearAttention",
                  {{kLinearAttention, Channels(48)},
                   {KvHeads(2), Channels(48)},
                   {kLinearAttention, kNoFfn}},
                  {4, 4, 4},
                  {0, 2, 0},
                  {48, 48, 32}},
        GgufChild{
            "LinearFfnsAreLayersOfTheirOwn",
            {{KvHeads(2), kLinearFfn}, {kNoAttention, kLinearFfn}, {KvHeads(2), Channels(40)}},
            {4, 4, 4, 4},
            {2, 0, 0, 2},
            {32, 32, 32, 40}}),
    [](const auto& info) { return info.param.name; });

// Types in turn for all parts of a model.
StoredTypes MixedTypes(const ModelConfig& config) {
  const char* names[] = {"Q5_1", "Q4_0", "F16", "Q8_0", "Q4_1", "Q5_0", "BF16"};
  StoredTypes types;
  for (const ModelPart& part : StoredParts(config))
    types[part.name] = FindWritableGgmlType(names[types.size() % std::size(names)]);
  return types;
}

TEST_F(GgufSaveTest, PartsHaveTypesOfTheirOwn) {
  const std::vector<BlockSpec> blocks = {{kNoAttention, Channels(64)},
                                         {KvHeads(2), kNoFfn},
                                         {kNoAttention, kNoFfn},
                                         {kLinearAttention, kLinearFfn},
                                         {KvHeads(1), Channels(32)}};
  for (const bool tied : {false, true}) {
    ModelConfig config = LlamaOf(blocks);
    config.tied_embeddings = tied;
    const ModelWeights model = TinyModel(config);
    const StoredTypes types = MixedTypes(config);
    EXPECT_EQ(types.size(), tied ? 7u : 8u);
    const GgufOptions options{FindWritableGgmlType("F32"), {}, {}, types};
    const GgufSizes sizes = SizesInGguf(model, options);
    EXPECT_EQ(SaveGguf(path_, model, options), sizes.file);
    EXPECT_EQ(std::filesystem::file_size(path_), sizes.file);
    ExpectSameLogits(LoadCheckpoint(path_), StoredAs(model, types));
    const GgufReader reader = GgufReader::Open(path_);
    EXPECT_EQ(reader.TypeOf("token_embd.weight"), types.at("embed")->name);
    EXPECT_EQ(reader.Has("output.weight"), !tied);
    if (!tied) {
      EXPECT_EQ(reader.TypeOf("output.weight"), types.at("head")->name);
    }
    // Layer 0 there has zeros in the place of an attention; the linear FFN has a layer of its own.
    EXPECT_EQ(reader.TypeOf("blk.0.attn_output.weight"), "F32");
    EXPECT_EQ(reader.TypeOf("blk.0.ffn_up.weight"), types.at("layer 0 ffn")->name);
    EXPECT_EQ(reader.TypeOf("blk.1.attn_k.weight"), types.at("layer 1 attn")->name);
    EXPECT_EQ(reader.TypeOf("blk.2.attn_output.weight"), types.at("layer 3 attn")->name);
    EXPECT_EQ(reader.TypeOf("blk.3.attn_output.weight"), types.at("layer 3 ffn")->name);
    EXPECT_EQ(reader.TypeOf("blk.4.ffn_down.weight"), types.at("layer 4 ffn")->name);
    EXPECT_EQ(reader.TypeOf("blk.4.ffn_norm.weight"), "F32");
    EXPECT_EQ(reader.FindInt("general.quantization_version"), 2);
    std::filesystem::remove(path_);
  }
}

TEST_F(GgufSaveTest, WhatAFileTakesBesideItsPartsDoesNotDependOnTheirTypes) {
  const ModelWeights model = TinyModel(LlamaOf({{KvHeads(2), Channels(64)}}));
  const auto rest = [&](const StoredTypes& types) {
    const GgufSizes sizes = SizesInGguf(model, {FindWritableGgmlType("F16"), {}, {}, types});
    uint64_t bytes = sizes.file;
    for (const auto& [part, own] : sizes.parts) bytes -= own;
    return bytes;
  };
  const auto all = [&](const char* name) {
    StoredTypes types;
    for (const ModelPart& part : StoredParts(model.config))
      types[part.name] = FindWritableGgmlType(name);
    return types;
  };
  EXPECT_EQ(rest(all("F16")), rest(all("Q4_0")));
  EXPECT_EQ(rest(all("F16")), rest(MixedTypes(model.config)));
}

TEST_F(GgufSaveTest, OneTypeForAllPartsIsTheFileOfThatType) {
  ModelWeights model = TinyModel(LlamaOf({{KvHeads(2), Channels(64)}, {KvHeads(1), Channels(32)}}));
  for (const char* name : {"F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"}) {
    StoredTypes types;
    for (const ModelPart& part : StoredParts(model.config))
      types[part.name] = FindWritableGgmlType(name);
    ModelWeights stored = StoredAs(model, types);
    ModelWeights loaded = Through(model, name);
    ExpectSameBits(Slots(loaded), Slots(stored));
    ModelWeights twice = Through(stored, name);  // what is on the grid stays there
    ExpectSameBits(Slots(twice), Slots(stored));
    std::filesystem::remove(path_);
  }
}

TEST_F(GgufSaveTest, PartsAndTypesThatDoNotFitAreRefused) {
  const ModelWeights model = TinyModel();  // FFN of 48 channels
  const GgmlType* const q8 = FindWritableGgmlType("Q8_0");
  EXPECT_THAT(WhyNotStoredAs(model.config, "layer 1 ffn", *q8).value_or(""),
              HasSubstr("model.layers.1.mlp.down_proj.weight: rows of 48 elements"));
  EXPECT_EQ(WhyNotStoredAs(model.config, "layer 1 attn", *q8), std::nullopt);
  const auto refusal = [&](const StoredTypes& types) {
    try {
      (void)SaveGguf(path_, model, {FindWritableGgmlType("F16"), {}, {}, types});
    } catch (const Error& e) {
      EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refusal({{"layer 0 ffn", q8}}), HasSubstr("rows of 48 elements"));
  EXPECT_THAT(refusal({{"head", q8}}), HasSubstr("\"head\", where the model has no matrices"));
  EXPECT_THROW((void)StoredAs(model, {{"layer 7 attn", q8}}), Error);
  EXPECT_THROW((void)StoredAs(model, {{"layer 0 ffn", q8}}), Error);
  ModelWeights large = Clone(model);
  large.blocks[1].attention.o.select(0, 3).fill_(7e4);
  EXPECT_THROW((void)StoredAs(large, {{"layer 1 attn", FindWritableGgmlType("F16")}}), Error);
}

TEST_F(GgufSaveTest, ChildrenThatAreUniformWhenPackedAreOrdinaryLlamas) {
  ModelConfig config = LlamaOf({{KvHeads(1, 2), kNoFfn},
                                {kNoAttention, Channels(40)},
                                {kNoAttention, kNoFfn},
                                {KvHeads(1, 2), Channels(40)}});
  const ModelWeights model = TinyModel(config);
  const ModelWeights loaded = Through(model);
  EXPECT_EQ(GgufReader::Open(path_).FindText("general.architecture"), "llama");
  EXPECT_EQ(loaded.config.n_heads, 2);
  EXPECT_EQ(loaded.config.n_layers(), 2);
  ExpectSameLogits(loaded, model);
}

TEST_F(GgufSaveTest, ChildrenOfQwen2AreLlamasWithBiases) {
  ModelConfig config = FamilyConfig("qwen2");
  config.blocks = {{KvHeads(2), kNoFfn}, {KvHeads(1), Channels(40)}};
  const ModelWeights model = WithBiases(TinyModel(config));
  const ModelWeights loaded = Through(model);
  EXPECT_EQ(loaded.config.family, "llama");
  ExpectSameLogits(loaded, model);
}

TEST_F(GgufSaveTest, RopeScalingsComeBack) {
  ModelConfig config = TinyConfig();
  config.head_dim = 16;
  config.rope.type = RopeConfig::Type::kLinear;
  config.rope.theta = 500000.0;
  config.rope.factor = 4.0;
  EXPECT_EQ(Through(TinyModel(config)).config.rope, config.rope);
  config.rope.type = RopeConfig::Type::kLlama3;
  config.rope.factor = 8.0;
  config.rope.original_max_positions = 8192;
  for (const bool uniform : {true, false}) {
    if (!uniform) config.blocks[1].ffn.size = 40;
    const ModelWeights model = TinyModel(config);
    const ModelWeights loaded = Through(model);
    EXPECT_EQ(loaded.config.rope.type, RopeConfig::Type::kLlama3);
    EXPECT_EQ(loaded.config.rope.factor, 8.0);
    ExpectSameLogits(loaded, model);
  }
}

TEST_F(GgufSaveTest, MatricesHaveTheTypeAndVectorsStayF32) {
  ModelConfig config = TinyConfig();
  config.blocks[0].ffn.size = 64;
  config.blocks[1].ffn.size = 96;
  const ModelWeights model = TinyModel(config);
  for (const char* type : {"F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"}) {
    const ModelWeights loaded = Through(model, type);
    const GgufReader reader = GgufReader::Open(path_);
    for (const std::string& name : reader.Names())
      EXPECT_EQ(reader.TypeOf(name), reader.ShapeOf(name).size() > 1 ? type : "F32") << name;
    const double step = model.embedding.abs().max().item<double>() / 7;
    EXPECT_TENSORS_NEAR(loaded.embedding, model.embedding, step);
    EXPECT_EQ(loaded.config.stored_dtype, std::string_view(type) == "F16"    ? DType::kF16
                                          : std::string_view(type) == "BF16" ? DType::kBF16
                                                                             : DType::kF32);
  }
  const ModelConfig gpt2 = FamilyConfig("gpt2");
  (void)SaveGguf(path_, TinyModel(gpt2), {FindWritableGgmlType("F16")});
  EXPECT_EQ(GgufReader::Open(path_).TypeOf("position_embd.weight"), "F32");
}

TEST_F(GgufSaveTest, WhatWasReadFromAQuantisedFileIsWrittenAsItWas) {
  const ModelWeights model = TinyModel(LlamaOf({{KvHeads(2), Channels(64)}}));
  ModelWeights once = Through(model, "Q8_0");
  ModelWeights twice = Through(once, "Q8_0");
  ExpectSameBits(Slots(twice), Slots(once));
}

TEST_F(GgufSaveTest, TokenizerTemplateAndEndsAreInside) {
  ModelConfig config = TinyConfig();
  config.vocab_size = 260;
  config.bos_id = 256;
  config.eos_ids = {3, 257};
  const auto tokenizer = MakeByteTokenizer();
  auto files = tokenizer->files();
  files["chat_template.jinja"] = "{{ 1 }}";
  (void)SaveGguf(path_, TinyModel(config), {FindWritableGgmlType("F32"), "tiny", files});
  const GgufReader reader = GgufReader::Open(path_);
  EXPECT_EQ(reader.FindText("general.name"), "tiny");
  EXPECT_EQ(reader.FindText("tokenizer.chat_template"), "{{ 1 }}");
  EXPECT_EQ(LoadTokenizer(path_)->Encode("a b"), tokenizer->Encode("a b"));
  EXPECT_THAT(LoadCheckpoint(path_).config.eos_ids, ElementsAre(257, 3));
  config.eos_ids = {1, 2, 3, 4};
  (void)std::filesystem::remove(path_);
  EXPECT_THAT(RefusalOf(config), HasSubstr("4 ids end a text, it has keys for 3"));
}

TEST_F(GgufSaveTest, TypesThatDoNotDivideARowAreRefused) {
  EXPECT_THAT(Refusal(TinyModel(), "Q8_0"),
              AllOf(HasSubstr("tensor blk.0.ffn_down.weight"),
                    HasSubstr("rows of 48 elements are no multiple of the 32 in a block of Q8_0")));
}

TEST_F(GgufSaveTest, ValuesThatDoNotFitAreRefusedAndLeaveNothing) {
  ModelWeights model = TinyModel();
  model.blocks[1].ffn.down.select(0, 15).fill_(1e6);
  EXPECT_THAT(Refusal(model, "F16"),
              AllOf(HasSubstr("blk.1.ffn_down.weight"), HasSubstr("too large for F16")));
  model.blocks[1].ffn.down.select(0, 0).fill_(std::nan(""));
  EXPECT_THAT(Refusal(model), AllOf(HasSubstr("blk.1.ffn_down.weight"), HasSubstr("is nan")));
}

TEST_F(GgufSaveTest, ADiskThatFillsUpLeavesNothing) {
  const FileSizeLimit limit(4096);
  EXPECT_THAT(Refusal(TinyModel()), HasSubstr("cannot write"));
}

TEST_F(GgufSaveTest, WhatTheFormatCannotSayIsRefused) {
  EXPECT_THAT(RefusalOf(LlamaOf({{kLinearAttention, Channels(48)}, {kNoAttention, kLinearFfn}})),
              HasSubstr("needs a layer with attention"));
  EXPECT_THAT(RefusalOf(LlamaOf({{kNoAttention, kNoFfn}})), HasSubstr("needs a layer"));
  ModelConfig config = TinyConfig();
  config.blocks[1].attention.window = 16;
  EXPECT_THAT(RefusalOf(config), HasSubstr("queries of layer 1 see 16 positions only"));
  config = TinyConfig();
  config.rope.type = RopeConfig::Type::kYarn;
  config.rope.factor = 2;
  EXPECT_THAT(RefusalOf(config), HasSubstr("its rope scaling is none of those"));
  config = TinyConfig();
  config.rope.dims = 4;
  EXPECT_THAT(RefusalOf(config), HasSubstr("4 of 8 dimensions of a head are rotated"));
  config = TinyConfig();
  config.arch.activation = Architecture::Activation::kGelu;
  EXPECT_THAT(RefusalOf(config), HasSubstr("activation \"gelu\""));
  for (const char* family : {"opt", "gpt_neo"})
    EXPECT_THAT(RefusalOf(FamilyConfig(family)), HasSubstr(std::string("family ") + family));
  for (const char* family : {"qwen3", "gpt2", "phi3", "gemma3_text"}) {
    config = FamilyConfig(family);
    config.blocks[1].ffn.size = 40;
    EXPECT_THAT(RefusalOf(config), HasSubstr(std::string("its layers differ")));
  }
  config = FamilyConfig("gpt2");
  for (BlockSpec& block : config.blocks) block.attention.n_kv_heads = 2;
  EXPECT_THAT(RefusalOf(config), HasSubstr("as many kv heads as query heads"));
  config = FamilyConfig("qwen3");
  config.arch.qkv_bias = config.arch.o_bias = true;
  EXPECT_THAT(RefusalOf(config), HasSubstr("no biases of attention"));
  config = LlamaOf({{KvHeads(2), kLinearFfn}});
  config.arch.ffn_bias = true;
  ModelWeights biased = TinyModel(config);
  biased.blocks[0].ffn.linear_bias.fill_(0.5);
  EXPECT_THAT(Refusal(biased), HasSubstr("layer 0: the linear FFN has a bias"));
}

}  // namespace
}  // namespace puzzle
