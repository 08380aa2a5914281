#include "nodes/data/tokenize.h"

#include <gtest/gtest.h>

#include "io/error.h"
#include "io/tokenizer.h"
#include "nodes/data/artifacts.h"

namespace puzzle {
namespace {

constexpr int32_t kBos = 256;

TEST(TokenizeTest, DocumentsAreStrippedAndBeginWithBos) {
  const auto tokenizer = MakeByteTokenizer();
  const TokenSet set =
      PackTokens("  ab \n<|endoftext|>\n\n<|endoftext|>c d\n", *tokenizer, {.length = 3});
  EXPECT_EQ(set.ids, (std::vector<int32_t>{kBos, 'a', 'b', kBos, 'c', ' '}));
  EXPECT_EQ(set.sequences(), 2);
  EXPECT_EQ(set.vocab_size, 258);
}

TEST(TokenizeTest, FirstAndLastSequencesAreTakenFromTheirEnds) {
  const auto tokenizer = MakeByteTokenizer();
  const std::string text = "0123456789";
  const TokenSet first = PackTokens(text, *tokenizer, {.length = 4, .sequences = 2});
  EXPECT_EQ(first.ids, (std::vector<int32_t>{kBos, '0', '1', '2', '3', '4', '5', '6'}));
  const TokenSet last =
      PackTokens(text, *tokenizer, {.length = 4, .sequences = 2, .from_end = true});
  EXPECT_EQ(last.ids, (std::vector<int32_t>{'2', '3', '4', '5', '6', '7', '8', '9'}));
}

TEST(TokenizeTest, TooShortATextIsRefusedWithItsLength) {
  const auto tokenizer = MakeByteTokenizer();
  try {
    (void)PackTokens("abc", *tokenizer, {.length = 5});
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "the text has 4 tokens: 0 sequences of 5, 1 needed");
  }
  EXPECT_THROW((void)PackTokens("abcdef", *tokenizer, {.length = 3, .sequences = 3}), Error);
  EXPECT_THROW((void)PackTokens("", *tokenizer, {.length = 3}), Error);
}

TEST(TokenizeTest, ATextShorterThanASequenceMayBeOne) {
  const auto tokenizer = MakeByteTokenizer();
  PackOptions options;
  options.length = 100;
  EXPECT_THROW((void)PackTokens("hello", *tokenizer, options), Error);
  options.short_is_whole = true;
  const TokenSet tokens = PackTokens("hello", *tokenizer, options);
  EXPECT_EQ(tokens.sequences(), 1);
  EXPECT_EQ(static_cast<size_t>(tokens.length), tokens.ids.size());
  EXPECT_EQ(PackTokens(std::string(300, 'x'), *tokenizer, options).length, 100);
}

TEST(TokenizeTest, TokenizersThatMeanOtherThingsAreNotCompared) {
  const auto byte = MakeByteTokenizer()->files();
  EXPECT_NO_THROW(CheckSameLanguage(byte, byte));
  EXPECT_NO_THROW(CheckSameLanguage(byte, {}));
  const std::map<std::string, std::string> letters = {{"tokenizer.json", R"({"model": {
    "type": "BPE", "vocab": {"b": 0, "a": 1, "c": 2}, "merges": []}})"}};
  std::map<std::string, std::string> spaced = letters;
  spaced["tokenizer.json"] += "\n";
  EXPECT_NO_THROW(CheckSameLanguage(letters, spaced));
  spaced["tokenizer.json"] = R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2},
    "merges": []}})";
  EXPECT_THROW(CheckSameLanguage(letters, spaced), Error);
}

}  // namespace
}  // namespace puzzle
