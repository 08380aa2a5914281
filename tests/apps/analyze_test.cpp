// `puzzle analyze` on real checkpoints where they are present, and on one that is written here.
#include "apps/models/analyze.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct AnalyzeOutput {
  int status = -1;
  std::string out;
  std::string err;
};

AnalyzeOutput Analyzed(const AnalyzeOptions& options) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int status = AnalyzeCommand(options);
  std::fflush(stdout);
  std::string out = ::testing::internal::GetCapturedStdout();
  return {status, std::move(out), ::testing::internal::GetCapturedStderr()};
}

AnalyzeOptions OptionsFor(const std::string& model) {
  AnalyzeOptions options;
  options.model = model;
  options.json = true;
  return options;
}

// One layer of width 8: q and o 64 each, k and v 32 each, a norm of 8; three FFN matrices of 128
// and a norm; 32 words, which the head shares.
void WriteTinyLlama(const std::string& folder) {
  WriteBytes(folder + "/config.json", R"({"model_type": "llama", "hidden_size": 8,
    "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 32, "max_position_embeddings": 64,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16"})");
  const std::vector<float> values(256, 0.5F);
  WriteSafetensors(folder, {{"model.embed_tokens.weight", {32, 8}, values.data(), DType::kBF16},
                            {"model.norm.weight", {8}, values.data(), DType::kF32}});
}

// Without the columns.
std::string Squeezed(const std::string& text) {
  std::string squeezed;
  for (const char c : text)
    if (c != ' ' || squeezed.empty() || (squeezed.back() != ' ' && squeezed.back() != '\n'))
      squeezed += c;
  return squeezed;
}

TEST(AnalyzeTest, ACheckpointFolderIsCountedTypeByType) {
  TempFolder folder;
  WriteTinyLlama(folder.path());
  const AnalyzeOutput run = Analyzed(OptionsFor(folder.path()));
  ASSERT_EQ(run.status, 0) << run.err;
  const json found = json::parse(run.out);
  EXPECT_EQ(found["format"], "hf");
  EXPECT_EQ(found["stored"], json::parse(R"([
    {"type": "BF16", "tensors": 1, "elements": 256, "bytes": 512},
    {"type": "F32", "tensors": 1, "elements": 8, "bytes": 32}])"));
  EXPECT_EQ(found["parameters"],
            json::parse(R"({"embedding": 256, "positions": 0, "attention": 200, "ffn": 392,
                            "final_norm": 8, "head": 0, "total": 856})"));
  const double weights = 2 * 856.0 / 1048576, cache = 8 * 64 * 16.0 / 1048576;
  EXPECT_EQ(found["memory"], json({{"batch", 8},
                                   {"context", 64},
                                   {"weights", "bf16"},
                                   {"kv", "bf16"},
                                   {"weight_mib", weights},
                                   {"kv_mib", cache},
                                   {"memory_mib", weights + cache},
                                   {"kv_bytes_per_token", 2 * 4 * 2},
                                   {"floor_mib", 2 * (256 + 8) / 1048576.0}}));
  for (const auto& [field, value] : std::map<std::string, json>{{"model", folder.path()},
                                                                {"family", "llama"},
                                                                {"layers", 1},
                                                                {"hidden_size", 8},
                                                                {"query_heads", 2},
                                                                {"head_dim", 4},
                                                                {"vocab_size", 32},
                                                                {"context", 64},
                                                                {"tied", true}})
    EXPECT_EQ(found[field], value) << field;
  EXPECT_THAT(found["tokenizer"]["trouble"], HasSubstr("put tokenizer.json"));
  EXPECT_EQ(found["tokenizer"]["kind"], "");
  ASSERT_EQ(found["blocks"].size(), 1u);
  EXPECT_EQ(found["blocks"][0]["first"], 0);
  EXPECT_EQ(found["blocks"][0]["attention"], "kv1");
  EXPECT_EQ(found["blocks"][0]["ffn"], "16");
  EXPECT_EQ(found["blocks"][0]["variants"][0], json({{"name", "attn:linear"},
                                                     {"shape", "linear"},
                                                     {"parameters", 72.0},
                                                     {"of_parent", 72.0 / 200},
                                                     {"of_model", (856.0 - 200 + 72) / 856},
                                                     {"kv_bytes_per_token", 0.0}}));
  // Without its FFN the model is too large for half of the memory, without attention it is not.
  EXPECT_EQ(found["budgets"][2], json({{"share", 0.5},
                                       {"memory_mib", (weights + cache) / 2},
                                       {"ffn_percent", nullptr},
                                       {"kv_heads", 0},
                                       {"blocks", 0}}));
}

TEST(AnalyzeTest, TheTextSaysTheSame) {
  TempFolder folder;
  WriteTinyLlama(folder.path());
  AnalyzeOptions options = OptionsFor(folder.path());
  options.json = false;
  const AnalyzeOutput run = Analyzed(options);
  ASSERT_EQ(run.status, 0) << run.err;
  const std::string text = Squeezed(run.out);
  EXPECT_THAT(text, StartsWith(folder.path() + R"(
family llama
checkpoint Hugging Face folder, 544 bytes of weights (BF16 512 bytes, 1 tensor; F32 32 bytes, 1 tensor)
size 856 parameters: 1 layers of width 8
attention 2 query heads of 4, rotary positions
FFN silu, gated
context 64 tokens
tokenizer none: put tokenizer.json, tokenizer.model, or vocab.json and merges.txt beside config.json

parameters
embedding 256 29.9% (the head as well)
attention 200 23.4%
FFN 392 45.8%
final norm 8 0.9%
all 856 100.0%

memory for 8 sequences of 64 tokens, weights in bf16, KV cache in bf16
weights 1.7 KiB
KV cache 8.0 KiB (16 bytes per token)
both 9.7 KiB
)"));
  EXPECT_THAT(text, HasSubstr("layer 0: attention kv1, FFN 16 parameters of parent KV per token "
                              "model keeps\nattn:linear 72 36.0% 0 bytes 85.05%\n"
                              "attn:none 0 0.0% 0 bytes 76.64%\n"));
  EXPECT_THAT(text, HasSubstr("ffn:linear 72 18.4% 62.62%\nffn:none 0 0.0% 54.21%\n"));
  EXPECT_THAT(
      text,
      HasSubstr("50% 4.8 KiB FFN: not enough; kv heads: no attention; blocks: 0 of 1 stay\n"
                "embedding, final norm and head stay whatever is chosen: 528 bytes (5.3%)\n"));
  EXPECT_THAT(text, HasSubstr("`puzzle init " + folder.path() + "` writes a graph"));
}

TEST(AnalyzeTest, LearnedPositionsAHeadOfItsOwnAndAnOddTokenizerAreSaid) {
  TempFolder folder;
  WriteBytes(folder.path() + "/config.json", R"({"model_type": "gpt2", "n_embd": 8, "n_layer": 2,
    "n_head": 2, "n_positions": 16, "vocab_size": 32, "tie_word_embeddings": false})");
  WriteBytes(folder.path() + "/byte_tokenizer.json", R"({"kind":"byte","version":1})");
  const std::vector<float> values(256, 0.5F);
  WriteSafetensors(folder.path(), {{"transformer.wte.weight", {32, 8}, values.data(), DType::kF32},
                                   {"lm_head.weight", {32, 8}, values.data(), DType::kF32}});
  AnalyzeOptions options = OptionsFor(folder.path());
  options.json = false;
  options.load.batch = 1;
  options.budgets = {};
  const std::string text = Squeezed(Analyzed(options).out);
  EXPECT_THAT(text, HasSubstr("(F32 2.0 KiB, 2 tensors)"));
  EXPECT_THAT(text, HasSubstr("attention 2 query heads of 4, learned positions\nFFN gelu_new\n"));
  EXPECT_THAT(text, HasSubstr("more tokens than the embedding has rows (32)"));
  EXPECT_THAT(text, HasSubstr("\npositions 128 "));
  EXPECT_THAT(text, HasSubstr("\nhead 256 "));
  EXPECT_THAT(text, Not(HasSubstr("(the head as well)")));
  EXPECT_THAT(text, HasSubstr("memory for 1 sequence of 16 tokens, weights in fp32"));
  EXPECT_THAT(text, HasSubstr("layers 0 to 1: attention kv2, FFN 32"));
  EXPECT_THAT(text, Not(HasSubstr("what a budget of memory means")));
}

TEST(AnalyzeTest, AGgufFileTellsItsFamilySizesAndTokenizer) {
  PUZZLE_REQUIRE_DATA("models/smollm2");
  AnalyzeOptions options = OptionsFor(DataPath("models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"));
  options.load.kv = "bf16";
  const AnalyzeOutput run = Analyzed(options);
  ASSERT_EQ(run.status, 0) << run.err;
  const json found = json::parse(run.out);
  EXPECT_EQ(found["format"], "gguf");
  EXPECT_EQ(found["family"], "llama");
  EXPECT_EQ(found["layers"], 30);
  EXPECT_EQ(found["parameters"]["total"], 134515008);  // the model's card: 135 M
  EXPECT_EQ(found["memory"]["kv_bytes_per_token"], 30 * 2 * 3 * 64 * 2);
  EXPECT_EQ(found["tokenizer"]["kind"], "bpe");
  EXPECT_EQ(found["tokenizer"]["tokens"], 49152);
  int64_t elements = 0;
  for (const json& type : found["stored"]) elements += type["elements"].get<int64_t>();
  EXPECT_EQ(elements, 134515008);
  EXPECT_EQ(found["blocks"][0]["last"], 29);
  EXPECT_EQ(found["budgets"].size(), 3u);
  options.json = false;
  const AnalyzeOutput text = Analyzed(options);
  EXPECT_THAT(text.out, HasSubstr("134.52 million parameters: 30 layers of width 576"));
  EXPECT_THAT(text.out, HasSubstr("bpe, 49152 tokens"));
  EXPECT_THAT(text.out, HasSubstr("(the head as well)"));
  EXPECT_THAT(text.out, HasSubstr("layers 0 to 29: attention kv3, FFN 1536"));
  EXPECT_THAT(text.out, HasSubstr("puzzle init "));
}

TEST(AnalyzeTest, WhatIsWrongIsOneMessageThatSaysWhatToDo) {
  TempFolder folder;
  AnalyzeOptions options = OptionsFor(folder.path() + "/none");
  const AnalyzeOutput missing = Analyzed(options);
  EXPECT_EQ(missing.status, 2);
  EXPECT_EQ(missing.out, "");
  EXPECT_THAT(missing.err, HasSubstr("/none: there is no such folder or file"));
  PUZZLE_REQUIRE_DATA("models/stories260K");
  for (const char* file : {"config.json", "model.safetensors"}) {
    options.model = DataPath("models/stories260K/") + file;
    EXPECT_THAT(Analyzed(options).err, HasSubstr("is no checkpoint; name the folder"));
  }
  options.model = DataPath("models/stories260K");
  options.budgets = {"75"};
  EXPECT_THAT(Analyzed(options).err, HasSubstr("--budget 75: expected per cent"));
  options.budgets = {};
  options.load.context = 1 << 20;
  EXPECT_THAT(Analyzed(options).err, HasSubstr("the model's context is"));
}

}  // namespace
}  // namespace puzzle
