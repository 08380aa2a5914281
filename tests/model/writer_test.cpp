#include "model/decode/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/chat_template.h"
#include "io/error.h"
#include "io/utf8.h"
#include "model/files/checkpoint.h"
#include "model/transformer.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using decode::Decoder;
using decode::TextEnd;
using decode::WriteTexts;
using decode::WritingOptions;
using decode::WrittenText;
using testing::HasSubstr;
using Prompts = std::vector<std::vector<int32_t>>;

// On bytes, with a context of 64.
ModelConfig ByteConfig() {
  ModelConfig config = TinyConfig();
  config.vocab_size = 258;
  config.bos_id = 256;
  config.eos_ids = {257};
  return config;
}

class WriterTest : public testing::Test {
 protected:
  std::vector<WrittenText> Write(const Prompts& prompts, const WritingOptions& options,
                                 int64_t sequences = 1, const decode::TextListener& listener = {}) {
    Decoder decoder(weights_, {.threads = 2, .sequences = sequences});
    return WriteTexts(decoder, *tokenizer_, prompts, options, listener);
  }

  ModelWeights weights_ = TinyModel(ByteConfig());
  std::shared_ptr<const Tokenizer> tokenizer_ = MakeByteTokenizer();
  std::vector<int32_t> prompt_ = {'a', 'b', 'c'};
  WritingOptions few_ = {.tokens = 12};
  at::NoGradGuard no_grad_;
};

TEST_F(WriterTest, GreedyIdsAreThoseOfGenerate) {
  const std::vector<int32_t> expected = Generate(Transformer(weights_), prompt_, 12);
  const WrittenText text = Write({prompt_}, few_).front();
  EXPECT_EQ(text.ids, expected);
  EXPECT_EQ(text.end, TextEnd::kTokens);
  EXPECT_EQ(text.text, RepairUtf8(tokenizer_->Decode(expected)));
}

TEST_F(WriterTest, TextsDoNotDependOnTheirNeighbours) {
  WritingOptions options = few_;
  options.sampling.temperature = 1;
  const Prompts prompts = {prompt_, {'x'}, {'n', 'o', ' ', 'w', 'a', 'y'}, {'q', 'r'}, prompt_};
  const auto one_by_one = Write(prompts, options, 1);
  const auto together = Write(prompts, options, 3);
  ASSERT_EQ(together.size(), 5u);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(together[i].ids, one_by_one[i].ids) << i;
  EXPECT_NE(together[0].ids, together[4].ids);  // seeds go on with the prompts
}

TEST_F(WriterTest, WhatIsHeardIsTheTextInWholeCharacters) {
  WritingOptions options = {.tokens = 60};
  options.sampling.temperature = 3;  // bytes at random: most are no UTF-8
  for (uint64_t seed = 0; seed < 20; ++seed) {
    options.sampling.seed = seed;
    std::string heard;
    const WrittenText text =
        Write({prompt_}, options, 1, [&](int64_t prompt, std::string_view piece) {
          EXPECT_EQ(prompt, 0);
          EXPECT_TRUE(IsUtf8(piece));
          EXPECT_FALSE(piece.empty());
          heard += piece;
        }).front();
    EXPECT_EQ(heard, text.text);
    std::vector<int32_t> ids = text.ids;
    if (text.end == TextEnd::kEos) ids.pop_back();
    EXPECT_EQ(heard, RepairUtf8(tokenizer_->Decode(ids)));
  }
}

// Ids are halves of "\xC3\xA9" here, and as of most tokenizers U+FFFD is said of one alone.
class HalvesTokenizer final : public Tokenizer {
 public:
  std::vector<int32_t> Encode(std::string_view) const override { return {}; }
  std::string Decode(std::span<const int32_t> ids) const override {
    std::string bytes;
    for (const int32_t id : ids)
      if (id < bos_id()) bytes += id % 2 == 0 ? '\xC3' : '\xA9';
    return RepairUtf8(bytes);
  }
  int32_t vocab_size() const override { return 258; }
  int32_t bos_id() const override { return 256; }
  int32_t eos_id() const override { return 257; }
  int32_t leading_id() const override { return -1; }
  std::string_view kind() const override { return "halves"; }
  const std::map<std::string, std::string>& files() const override { return files_; }

 private:
  std::map<std::string, std::string> files_;
};

TEST_F(WriterTest, ACharacterOfSeveralTokensIsHeardAsOne) {
  tokenizer_ = std::make_shared<HalvesTokenizer>();
  WritingOptions options = {.tokens = 60};
  options.sampling.temperature = 3;
  std::string all;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    options.sampling.seed = seed;
    std::string heard;
    const WrittenText text = Write({prompt_}, options, 1, [&](int64_t, std::string_view piece) {
                               heard += piece;
                             }).front();
    EXPECT_EQ(heard, text.text);
    EXPECT_EQ(heard, tokenizer_->Decode(text.ids));
    all += heard;
  }
  EXPECT_THAT(all, HasSubstr("\xC3\xA9"));
}

// Any three bytes of the greedy text as a stop string.
TEST_F(WriterTest, AStopStringEndsTheTextBeforeItAndIsNeverHeard) {
  WritingOptions options = {.tokens = 40};
  for (float& x : std::span(weights_.embedding.data_ptr<float>() + 128 * 32, 128 * 32)) x *= 0.01F;
  const std::string whole = Write({prompt_}, options).front().text;
  ASSERT_TRUE(IsUtf8(whole));
  ASSERT_GE(whole.size(), 20u);
  for (size_t at = 0; at + 3 <= 20; ++at) {
    options.stops = {"never said", whole.substr(at, 3)};
    std::string heard;
    const WrittenText text = Write({prompt_}, options, 1, [&](int64_t, std::string_view piece) {
                               heard += piece;
                             }).front();
    EXPECT_EQ(text.end, TextEnd::kStop);
    EXPECT_EQ(text.text, whole.substr(0, whole.find(options.stops[1])));
    EXPECT_EQ(heard, text.text);
  }
  options.stops = {"never said"};
  EXPECT_EQ(Write({prompt_}, options).front().text, whole);
}

TEST_F(WriterTest, EosAndTheEndOfTheContextEndTexts) {
  const std::vector<int32_t> greedy = Write({prompt_}, few_).front().ids;
  weights_.config.eos_ids = {greedy[0]};
  const WrittenText ended = Write({prompt_}, few_).front();
  EXPECT_EQ(ended.end, TextEnd::kEos);
  EXPECT_EQ(ended.ids, std::vector<int32_t>{greedy[0]});
  EXPECT_EQ(ended.text, "");
  weights_.config.eos_ids = {};
  weights_.config.bos_id = -1;
  const WrittenText full = Write({std::vector<int32_t>(60, 'a')}, {.tokens = 100}).front();
  EXPECT_EQ(full.end, TextEnd::kContext);
  EXPECT_EQ(full.ids, Generate(Transformer(weights_), std::vector<int32_t>(60, 'a'), 100));
}

// A conversation that goes on is not read from its beginning.
TEST_F(WriterTest, APromptThatGoesOnContinuesItsSequence) {
  Decoder decoder(weights_, {});
  const WrittenText first = WriteTexts(decoder, *tokenizer_, Prompts{prompt_}, few_).front();
  std::vector<int32_t> longer = prompt_;
  longer.insert(longer.end(), first.ids.begin(), first.ids.end());
  longer.push_back('!');
  const WrittenText next = WriteTexts(decoder, *tokenizer_, Prompts{longer}, few_).front();
  EXPECT_EQ(next.ids, Write({longer}, few_).front().ids);
  EXPECT_EQ(WriteTexts(decoder, *tokenizer_, Prompts{prompt_}, few_).front().ids, first.ids);
}

std::string WriteError(const ModelWeights& weights, const Prompts& prompts,
                       const WritingOptions& options) {
  Decoder decoder(weights, {});
  try {
    (void)WriteTexts(decoder, *MakeByteTokenizer(), prompts, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_F(WriterTest, WhatCannotBeWrittenIsSaid) {
  EXPECT_THAT(WriteError(weights_, {{}}, few_), HasSubstr("the prompt is empty"));
  EXPECT_THAT(WriteError(weights_, {std::vector<int32_t>(65, 'a')}, few_),
              HasSubstr("the prompt has 65 tokens, the model 64 positions"));
  EXPECT_THAT(WriteError(weights_, {prompt_, {'a', 258}}, few_),
              HasSubstr("token id 258 of the prompt is outside the model's vocabulary of 258"));
  EXPECT_THAT(WriteError(weights_, {{-1}}, few_), HasSubstr("token id -1 of the prompt"));
  WritingOptions options = few_;
  options.stops = {""};
  EXPECT_THAT(WriteError(weights_, {prompt_}, options), HasSubstr("empty stop string"));
  options = few_;
  options.sampling.top_p = 2;
  EXPECT_THAT(WriteError(weights_, {prompt_}, options), HasSubstr("top-p 2"));
}

// As transformers answers it (golden/smollm2.json), in every type of weights.
TEST(WriterOnSmolLm2Test, TheCapitalOfFranceIsParis) {
  const char* root = std::getenv("PUZZLE_DATA");
  const std::string path =
      std::string(root != nullptr ? root : PUZZLE_SOURCE_DIR "/../shared/data") +
      "/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no test data at " << path;
  const auto tokenizer = LoadTokenizer(path);
  const auto format = FindChatTemplate(tokenizer->files());
  ASSERT_TRUE(format.has_value());
  const Prompts prompts = {
      EncodeChat(*tokenizer, format->Render({{"user", "What is the capital of France?"}}, true))
          .ids};
  const ModelWeights weights = LoadCheckpoint(path);
  for (const auto type :
       {decode::WeightType::kFp32, decode::WeightType::kBf16, decode::WeightType::kInt8}) {
    Decoder decoder(weights, {.type = type,
                              .bf16_cache = type != decode::WeightType::kFp32,
                              .threads = 2,
                              .positions = 128});
    const WrittenText text = WriteTexts(decoder, *tokenizer, prompts, {.tokens = 30}).front();
    EXPECT_EQ(text.text, "The capital of France is Paris.") << decode::WeightTypeName(type);
    EXPECT_EQ(text.end, TextEnd::kEos);
  }
}

}  // namespace
}  // namespace puzzle
