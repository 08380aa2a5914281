// Children with every kind of sub-block, written in every format, and what we compute with them:
// for read_hf.py and read_gguf.py, which hold other programs against it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/byte_tokenizer_json.h"
#include "io/ggml_types.h"
#include "io/gguf.h"
#include "io/gguf_tokenizer.h"
#include "io/safetensors.h"
#include "io/tokenizer.h"
#include "model/families/family.h"
#include "model/files/checkpoint.h"
#include "model/files/gguf_checkpoint.h"
#include "model/files/stored_parts.h"
#include "model/surgery.h"
#include "model/transformer.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
namespace fs = std::filesystem;

constexpr int64_t kGreedyTokens = 64;

constexpr AttentionSpec kNoAttention = {SubBlockForm::kNone, 0};
constexpr AttentionSpec kLinearAttention = {SubBlockForm::kLinear, 0};
constexpr FfnSpec kNoFfn = {SubBlockForm::kNone, 0};
constexpr FfnSpec kLinearFfn = {SubBlockForm::kLinear, 0};

AttentionSpec Kv(int64_t kv_heads, int64_t query_heads = 0, int64_t window = 0) {
  return {SubBlockForm::kFull, kv_heads, window, query_heads};
}
FfnSpec Ffn(int64_t size) {
  return {SubBlockForm::kFull, size};
}

struct Export {
  std::string name;
  ModelWeights model;
  std::map<std::string, std::string> tokenizer_files = {};
  bool has_gguf = true;
  bool has_hf = true;
  bool is_trained = false;
};

std::string FolderOf(const std::string& name) {
  return std::string(PUZZLE_EXPORTS) + "/" + name;
}

/// The likeliest tokens behind `prompt` [1, length].
std::vector<int64_t> Greedy(const Transformer& model, const Tensor& prompt) {
  KvCache cache(model.config().n_layers());
  Tensor logits = model.Logits(prompt, &cache);
  std::vector<int64_t> ids;
  while (static_cast<int64_t>(ids.size()) < kGreedyTokens) {
    ids.push_back(logits.select(1, logits.size(1) - 1).argmax(-1).item<int64_t>());
    logits = model.Logits(at::tensor(ids.back(), at::kLong).view({1, 1}), &cache);
  }
  return ids;
}

/// Texts that tokenizers like to disagree about, and ordinary ones.
std::vector<std::string> Texts() {
  std::vector<std::string> texts = {"",
                                    " ",
                                    "  ",
                                    "a",
                                    " a",
                                    "a ",
                                    "\n",
                                    "\n\n a",
                                    "\t x\r\ny",
                                    "Hello, world!",
                                    "hello   world",
                                    "3.14159 + 2 = 5.14159",
                                    "it's we'll I'd they've",
                                    "ÄÖÜ äöü ß",
                                    "日本語のテキスト",
                                    "한국어",
                                    "🙂🙃 emoji 👩‍👩‍👧",
                                    "naïve café",
                                    "a\u00a0b",
                                    "e\u0301",
                                    "<s>",
                                    "</s>",
                                    "<unk> x",
                                    "__init__(self)",
                                    "if (a<b && c>d) { return 0x1F; }",
                                    "...!!!???",
                                    "1234567890123",
                                    "ABCdefGHI",
                                    "\u200b",
                                    "Once upon a time there was a little girl named Lily."};
  for (const char* subject : {"The cat", "A small dog", "Tom", "Their old house", "Every bird"})
    for (const char* verb : {" sat on", " saw", " didn't like", " ran to", " looked at", " lost"})
      for (const char* object : {" the red ball.", " 17 trees, and smiled", "  \"a big box\"!",
                                 " its mother;\nthen it slept.", " water?", " snow-white flowers"})
        texts.push_back(std::string(subject) + verb + object);
  return texts;
}

/// Writes ids and the logits of `weights` for them; returns the text that follows.
std::vector<int64_t> WriteLogits(const std::string& folder, const ModelWeights& weights) {
  const int64_t vocab = weights.config.vocab_size;
  const Transformer model(weights);
  // Ids of ordinary tokens only, the same for all children of a vocabulary.
  const Tensor ids =
      (at::arange(24, at::kLong) * 37 + 11).remainder(vocab - 3).add(3).view({1, 24});
  const Tensor logits = model.Logits(ids).contiguous();
  const Tensor as_floats = ids.to(at::kFloat);
  WriteSafetensors(folder,
                   {{"ids", as_floats.sizes().vec(), as_floats.data_ptr<float>(), DType::kF32},
                    {"logits", logits.sizes().vec(), logits.data_ptr<float>(), DType::kF32}});
  return Greedy(model, ids);
}

void WriteReference(const Export& made) {
  nlohmann::ordered_json said;
  said["is_trained"] = made.is_trained;
  said["greedy"] = WriteLogits(FolderOf(made.name) + "/reference", made.model);
  said["texts"] = nlohmann::ordered_json::array();
  if (!made.tokenizer_files.empty()) {
    const auto tokenizer = MakeTokenizer(made.tokenizer_files);
    said["leading_id"] = tokenizer->leading_id();
    said["drops_spaces"] = !WhatGgufTokenizerLoses(made.tokenizer_files).empty();
    for (const std::string& text : Texts())
      said["texts"].push_back({{"text", text}, {"ids", tokenizer->Encode(text)}});
  }
  std::ofstream(FolderOf(made.name) + "/reference/said.json") << said.dump(1);
}

void WriteAll(const Export& made) {
  const at::NoGradGuard no_grad;
  const fs::path folder = FolderOf(made.name);
  fs::remove_all(folder);
  const auto files = TokenizerFilesForOthers(made.tokenizer_files);
  if (made.has_hf) SaveCheckpoint(folder / "hf", made.model, files);
  if (made.is_trained) {
    ModelWeights halved = made.model;
    halved.config.stored_dtype = DType::kBF16;
    SaveCheckpoint(folder / "hf_bf16", halved, files);
  }
  WriteReference(made);
  if (!made.has_gguf) return;
  std::vector<const char*> types = {"F32"};
  if (made.is_trained)
    types.insert(types.end(), {"F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"});
  for (const char* type : types)
    (void)SaveGguf((folder / (std::string(type) + ".gguf")).string(), made.model,
                   {FindWritableGgmlType(type), made.name, made.tokenizer_files});
  if (!made.is_trained) return;
  StoredTypes mixed;
  for (const ModelPart& part : StoredParts(made.model.config))
    mixed[part.name] = FindWritableGgmlType(types[1 + mixed.size() % (types.size() - 1)]);
  (void)SaveGguf((folder / "mixed.gguf").string(), made.model,
                 {FindWritableGgmlType("F16"), made.name, made.tokenizer_files, mixed});
  const nlohmann::ordered_json said = {
      {"greedy", WriteLogits((folder / "reference_mixed").string(), StoredAs(made.model, mixed))}};
  std::ofstream(folder / "reference_mixed/said.json") << said.dump(1);
}

/// Weights large enough that every sub-block is seen in the logits, norms and biases that are not
/// trivial.
ModelWeights Random(const ModelConfig& config) {
  ModelWeights model = TinyModel(config);
  uint64_t seed = 100;
  for (const auto& [name, slot] : Slots(model))
    if (slot->dim() == 1 && name.find("linear") == std::string::npos)
      slot->add_(RandomTensor(slot->sizes().vec(), ++seed), 0.2);
  return model;
}

ModelConfig LlamaConfig() {
  ModelConfig config;
  config.vocab_size = 97;
  config.hidden_size = 64;
  config.n_heads = 4;
  config.head_dim = 16;
  config.max_positions = 128;
  config.bos_id = 1;
  config.eos_ids = {2};
  return config;
}

struct LlamaExport {
  const char* name;
  std::vector<BlockSpec> blocks;
};

class LlamaExportsTest : public testing::TestWithParam<LlamaExport> {};

TEST_P(LlamaExportsTest, AreWritten) {
  ModelConfig config = LlamaConfig();
  config.blocks = GetParam().blocks;
  const std::string name = GetParam().name;
  config.tied_embeddings = name == "kv_heads_and_odd_ffns";
  if (name == "llama3_rope") {
    config.rope.type = RopeConfig::Type::kLlama3;
    config.rope.theta = 500000;
    config.rope.factor = 8;
    config.rope.original_max_positions = 32;
  }
  if (name == "linear_rope") {
    config.rope.type = RopeConfig::Type::kLinear;
    config.rope.factor = 4;
  }
  if (name == "biases") config.arch.qkv_bias = config.arch.o_bias = config.arch.ffn_bias = true;
  WriteAll({name, Random(config)});
}

INSTANTIATE_TEST_SUITE_P(
    Children, LlamaExportsTest,
    testing::Values(
        LlamaExport{"uniform", {{Kv(2), Ffn(96)}, {Kv(2), Ffn(96)}}},
        LlamaExport{"kv_heads_and_odd_ffns", {{Kv(2), Ffn(97)}, {Kv(1), Ffn(33)}, {Kv(4), Ffn(7)}}},
        LlamaExport{"round_ffns", {{Kv(2), Ffn(256)}, {Kv(1), Ffn(512)}}},
        LlamaExport{"pruned_query_heads",
                    {{Kv(1, 2), Ffn(96)}, {Kv(2), Ffn(96)}, {Kv(1, 1), Ffn(64)}}},
        LlamaExport{"no_attention_in_front", {{kNoAttention, Ffn(96)}, {Kv(2), Ffn(96)}}},
        LlamaExport{"no_attention_behind",
                    {{Kv(2), Ffn(96)}, {kNoAttention, Ffn(80)}, {kNoAttention, Ffn(40)}}},
        LlamaExport{"no_ffns",
                    {{Kv(2), kNoFfn}, {Kv(1), kNoFfn}, {Kv(4), Ffn(50)}, {Kv(2), kNoFfn}}},
        LlamaExport{"nothing",
                    {{kNoAttention, kNoFfn},
                     {Kv(2), Ffn(96)},
                     {kNoAttention, kNoFfn},
                     {Kv(1), Ffn(40)},
                     {kNoAttention, kNoFfn}}},
        LlamaExport{"linear_attention",
                    {{kLinearAttention, Ffn(96)}, {Kv(2), Ffn(96)}, {kLinearAttention, kNoFfn}}},
        LlamaExport{"linear_ffn",
                    {{Kv(2), kLinearFfn}, {kNoAttention, kLinearFfn}, {Kv(1), Ffn(40)}}},
        LlamaExport{"llama3_rope", {{Kv(2), Ffn(96)}, {Kv(1), kNoFfn}, {kNoAttention, Ffn(33)}}},
        LlamaExport{"linear_rope", {{Kv(2), Ffn(96)}, {Kv(1), Ffn(33)}}},
        LlamaExport{"biases", {{Kv(2), Ffn(96)}, {Kv(1), kNoFfn}, {kNoAttention, Ffn(33)}}}),
    [](const auto& info) { return std::string(info.param.name); });

/// Outside of Llama: every kind of sub-block in one child.
class FamilyExportsTest : public testing::TestWithParam<const char*> {};

TEST_P(FamilyExportsTest, AreWritten) {
  ModelConfig config = LlamaConfig();
  config.family = GetParam();
  const Family& family = FamilyOf(config);
  config.arch = family.arch;
  const bool has_groups = family.fields.kv_heads != nullptr;
  const int64_t window = family.windows != nullptr ? 6 : 0;
  config.blocks = {{Kv(has_groups ? 2 : 4, 0, window), Ffn(96)},
                   {kNoAttention, Ffn(33)},
                   {kLinearAttention, kNoFfn},
                   {Kv(has_groups ? 1 : 4), kLinearFfn},
                   {kNoAttention, kNoFfn},
                   {Kv(4), Ffn(64)}};
  if (config.family.starts_with("gemma")) {
    config.arch.query_scalar = 12;
    config.arch.embedding_scale = 8;
    if (config.family == "gemma2") config.arch.attention_cap = 3;
    if (config.family == "gemma3_text") {
      config.window_rope.emplace();
      config.window_rope->theta = 5000;
    }
  }
  if (config.family == "phi3") {
    config.rope.type = RopeConfig::Type::kLongRope;
    config.rope.original_max_positions = 8;
    config.rope.attention_factor = 1.25;
    config.rope.short_factors = std::vector<double>(8, 1.5);
    config.rope.long_factors = std::vector<double>(8, 3.0);
  }
  WriteAll({config.family, Random(config), {}, /*has_gguf=*/false});
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyExportsTest,
                         testing::Values("mistral", "qwen2", "qwen3", "phi3", "gemma2",
                                         "gemma3_text", "gpt2", "gpt_neo", "opt"),
                         [](const auto& info) { return std::string(info.param); });

/// Outside of Llama llama.cpp knows layers that are alike only.
class UniformGgufTest : public testing::TestWithParam<const char*> {};

TEST_P(UniformGgufTest, AreWritten) {
  ModelConfig config = LlamaConfig();
  config.family = GetParam();
  config.arch = FamilyOf(config).arch;
  config.blocks.assign(7, {Kv(config.family == "gpt2" ? 4 : 2), Ffn(96)});
  if (config.family == "gemma3_text") {
    config.arch.query_scalar = 16;
    config.arch.embedding_scale = 8;
    config.rope.theta = 1e6;
    config.rope.type = RopeConfig::Type::kLinear;
    config.rope.factor = 8;
    config.window_rope.emplace();
    for (size_t i = 0; i < config.blocks.size(); ++i)
      if (i != 5) config.blocks[i].attention.window = 6;
  }
  if (config.family == "phi3") {
    config.rope.type = RopeConfig::Type::kLongRope;
    config.rope.dims = 12;
    config.rope.original_max_positions = 8;
    config.rope.attention_factor = 1.25;
    config.rope.short_factors = {1.0, 1.0, 1.25, 1.25, 1.5, 1.5};
    config.rope.long_factors = {1.0, 1.5, 2.0, 2.5, 3.0, 4.0};
  }
  WriteAll({"uniform_" + config.family, Random(config), {}, true, /*has_hf=*/false});
}

INSTANTIATE_TEST_SUITE_P(Families, UniformGgufTest,
                         testing::Values("qwen2", "qwen3", "gpt2", "phi3", "gemma3_text"),
                         [](const auto& info) { return std::string(info.param); });

TEST(ByteExportsTest, AreWritten) {
  ModelConfig config = LlamaConfig();
  config.vocab_size = 258;
  config.bos_id = 256;
  config.eos_ids = {257};
  config.blocks = {{Kv(2), Ffn(96)}, {Kv(1), Ffn(40)}};
  WriteAll({"bytes", Random(config), MakeByteTokenizer()->files()});
}

using Changes = std::vector<std::pair<int64_t, std::string>>;

/// The model with untrained variants in the places of some sub-blocks.
ModelWeights ChildOf(const ModelWeights& parent, const Changes& changes) {
  ModelWeights child = parent;
  for (const auto& [layer, name] : changes) {
    const VariantSpec spec = ResolveVariant(name, parent.config, layer);
    Replace(child, layer, spec, InitVariant(parent, layer, spec));
  }
  return child;
}

/// Weights as they are after training, with a real tokenizer.
TEST(TrainedExportsTest, AreWritten) {
  const std::string path = DataPath("models/stories3M");
  if (!fs::exists(path)) GTEST_SKIP() << "no " << path;
  const at::NoGradGuard no_grad;
  const ModelWeights child = ChildOf(LoadCheckpoint(path), {{0, "attn:none"},
                                                            {0, "ffn:384"},
                                                            {1, "attn:kv1"},
                                                            {1, "ffn:none"},
                                                            {2, "attn:linear"},
                                                            {3, "attn:kv1q3"},
                                                            {3, "ffn:64"},
                                                            {4, "ffn:linear"},
                                                            {5, "ffn:256"}});
  WriteAll({"stories3M", child, LoadTokenizer(path)->files(), true, true, true});
}

/// A language model that people use: its vocabulary of 49,152, its depth, a byte-level BPE.
TEST(SmolLm2ExportsTest, AreWritten) {
  const std::string path = DataPath("models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  if (!fs::exists(path)) GTEST_SKIP() << "no " << path;
  const at::NoGradGuard no_grad;
  Changes changes = {{0, "attn:kv1"},    {3, "attn:none"},  {7, "attn:linear"}, {8, "ffn:linear"},
                     {11, "attn:kv1q3"}, {20, "attn:none"}, {20, "ffn:none"},   {29, "attn:kv1"}};
  for (int64_t layer = 0; layer < 30; layer += 2)
    if (layer != 8 && layer != 20) changes.emplace_back(layer, "ffn:62%");
  WriteAll({"smollm2", ChildOf(LoadCheckpoint(path), changes),
            TokenizerFilesFromGguf(GgufReader::Open(path))});
}

}  // namespace
}  // namespace puzzle
