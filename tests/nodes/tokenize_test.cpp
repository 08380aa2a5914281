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

}  // namespace
}  // namespace puzzle
