#include "model/files/readers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

ReaderVerdict VerdictFor(const std::string& reader, const std::vector<ReaderVerdict>& all) {
  for (const ReaderVerdict& verdict : all)
    if (verdict.reader == reader) return verdict;
  ADD_FAILURE() << "no " << reader;
  return {};
}

ModelConfig WithBlocks(const std::vector<BlockSpec>& blocks) {
  ModelConfig config = TinyConfig();
  config.blocks = blocks;
  return config;
}

constexpr AttentionSpec kTwoKv = {SubBlockForm::kFull, 2}, kOneKv = {SubBlockForm::kFull, 1};
constexpr AttentionSpec kTwoKvInAWindow = {SubBlockForm::kFull, 2, 3};
constexpr AttentionSpec kNoAttentionThere = {SubBlockForm::kNone, 0};
constexpr FfnSpec kRoundFfn = {SubBlockForm::kFull, 256}, kOddFfn = {SubBlockForm::kFull, 48};
constexpr FfnSpec kNoFfnThere = {SubBlockForm::kNone, 0}, kOneMatrix = {SubBlockForm::kLinear, 0};

TEST(ReadersTest, EverybodyTakesAPlainModelsFolder) {
  for (const auto& [reader, loads, note] : ReadersOfFolder(TinyConfig()))
    EXPECT_EQ(loads, reader != "llama.cpp") << reader << ": " << note;
}

TEST(ReadersTest, EveryRuleSaysItsLayer) {
  struct Case {
    const char* reader;
    std::vector<BlockSpec> blocks;
    bool loads;
    const char* note;
  };
  const Case cases[] = {
      {"transformers", {{kTwoKv, kOneMatrix}}, true, "trust_remote_code"},
      {"vLLM", {{kTwoKv, kRoundFfn}, {kOneKv, kNoFfnThere}}, true, "--trust-remote-code"},
      {"vLLM", {{kTwoKv, kOddFfn}, {kTwoKv, kNoFfnThere}}, true, "0.13 or later"},
      {"vLLM", {{kTwoKv, kRoundFfn}, {kTwoKv, kOneMatrix}}, false, "layer 1 has a linear"},
      {"vLLM", {{kNoAttentionThere, kRoundFfn}, {kTwoKv, kRoundFfn}}, false, "layer 0 has no att"},
      {"SGLang", {{kTwoKv, kRoundFfn}, {kOneKv, kRoundFfn}}, false, "layer 1 has other kv heads"},
      {"SGLang", {{kTwoKv, kRoundFfn}, {kTwoKv, kNoFfnThere}}, true, "--trust-remote-code"},
      {"TensorRT-LLM", {{kTwoKv, kRoundFfn}, {kTwoKv, kOddFfn}}, false, "layer 1 has an FFN that"},
      {"TensorRT-LLM", {{kTwoKv, kRoundFfn}, {kOneKv, kOneMatrix}}, true, "trust_remote_code"},
      {"mlx-lm", {{kTwoKv, kRoundFfn}, {kOneKv, kOneMatrix}}, false, "linear"},
      {"vLLM", {{kTwoKv, kRoundFfn}, {kTwoKvInAWindow, kRoundFfn}}, false, "layer 1 has a window"},
      {"transformers", {{kTwoKvInAWindow, kRoundFfn}}, true, "trust_remote_code"}};
  for (const Case& c : cases) {
    const ReaderVerdict verdict = VerdictFor(c.reader, ReadersOfFolder(WithBlocks(c.blocks)));
    EXPECT_EQ(verdict.loads, c.loads) << c.reader << ": " << verdict.note;
    EXPECT_THAT(verdict.note, HasSubstr(c.note)) << c.reader;
  }
}

TEST(ReadersTest, ChildrenOfOtherFamiliesAreForTransformers) {
  ModelConfig config = WithBlocks({{kTwoKv, kRoundFfn}, {kOneKv, kRoundFfn}});
  config.family = "qwen2";
  for (const auto& [reader, loads, note] : ReadersOfFolder(config))
    EXPECT_EQ(loads, reader == "transformers") << reader << ": " << note;
}

TEST(ReadersTest, GgufFilesAreForLlamaCpp) {
  EXPECT_THAT(VerdictFor("llama.cpp", ReadersOfGguf(TinyConfig())).note, HasSubstr("as llama"));
  EXPECT_TRUE(VerdictFor("transformers", ReadersOfGguf(TinyConfig())).loads);
  const ModelConfig child = WithBlocks({{kTwoKv, kRoundFfn}, {kOneKv, kRoundFfn}});
  EXPECT_THAT(VerdictFor("llama.cpp", ReadersOfGguf(child)).note, HasSubstr("as deci"));
  EXPECT_FALSE(VerdictFor("transformers", ReadersOfGguf(child)).loads);
}

}  // namespace
}  // namespace puzzle
