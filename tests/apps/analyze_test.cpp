// `puzzle analyze` on real checkpoints where they are present, and on one that is written here.
#include "apps/models/analyze.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

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

TEST(AnalyzeTest, ACheckpointFolderIsCountedTypeByType) {
  TempFolder folder;
  WriteBytes(folder.path() + "/config.json", R"({"model_type": "llama", "hidden_size": 8,
    "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 32, "max_position_embeddings": 64,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16"})");
  const std::vector<float> values(256, 0.5F);
  WriteSafetensors(folder.path(),
                   {{"model.embed_tokens.weight", {32, 8}, values.data(), DType::kBF16},
                    {"model.norm.weight", {8}, values.data(), DType::kF32}});
  const AnalyzeOutput run = Analyzed(OptionsFor(folder.path()));
  ASSERT_EQ(run.status, 0) << run.err;
  const json found = json::parse(run.out);
  EXPECT_EQ(found["format"], "hf");
  EXPECT_EQ(found["stored"], json::parse(R"([
    {"type": "BF16", "tensors": 1, "elements": 256, "bytes": 512},
    {"type": "F32", "tensors": 1, "elements": 8, "bytes": 32}])"));
  // q and o 64 each, k and v 32 each, a norm of 8; three FFN matrices of 128 and a norm.
  EXPECT_EQ(found["parameters"]["attention"], 200);
  EXPECT_EQ(found["parameters"]["ffn"], 392);
  EXPECT_EQ(found["parameters"]["head"], 0);
  EXPECT_EQ(found["parameters"]["total"], 256 + 200 + 392 + 8);
  EXPECT_EQ(found["memory"]["context"], 64);
  EXPECT_EQ(found["memory"]["kv_bytes_per_token"], 2 * 4 * 2);
  EXPECT_THAT(found["tokenizer"]["trouble"], HasSubstr("put tokenizer.json"));
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
