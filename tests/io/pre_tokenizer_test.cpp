// Long texts cut in pieces: the words are those of the whole, for every rule we know.
#include "io/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "io/gguf_bpe_rules.h"

namespace puzzle {
namespace {

using Words = std::vector<std::string>;

std::vector<std::string> AllRules() {
  std::vector<std::string> all;
  for (const GgufBpeRules& rules : AllGgufBpeRules()) all.push_back(rules.pre_tokenizer);
  all.push_back(
      R"({"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false})");
  for (const char* scheme : {"always", "first", "never"})
    all.push_back(std::string(R"({"type":"Metaspace","prepend_scheme":")") + scheme + "\"}");
  all.push_back(R"({"type":"ByteLevel","add_prefix_space":true,"use_regex":true})");
  all.push_back(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})");
  all.push_back("null");
  return all;
}

/// Letters, blanks, digits and marks of many kinds, and what contractions look like.
std::string RandomText(uint64_t seed, size_t parts) {
  static const std::vector<std::string> kParts = {
      "a",      "word",       "X",  " ",      " ",       " ",  " ",          "  ",
      "\n",     "\r\n",       "\t", "'s",     "'LL",     "'",  "12",         "3",
      ".",      "!!",         "//", "\u00e9", "e\u0301", "日", "の",         "\u00a0",
      "\u2003", "\U0001F642", "- ", " -",     "\u00b2",  "Zz", "it's we'll "};
  std::mt19937_64 random(seed);
  std::string text;
  for (size_t i = 0; i < parts; ++i) text += kParts[random() % kParts.size()];
  return text;
}

Words Whole(const PreTokenizer& rules, std::string_view prepared) {
  const auto words = rules.Words(prepared);
  return {words.begin(), words.end()};
}

TEST(PreTokenizerTest, WordsOfPiecesAreThoseOfTheWhole) {
  for (const std::string& json : AllRules()) {
    const PreTokenizer rules(nlohmann::ordered_json::parse(json), "test");
    for (uint64_t seed = 1; seed <= 15; ++seed) {
      const std::string prepared = rules.Prepare(RandomText(seed, 300), true);
      for (const size_t piece : {1, 7, 40, 200}) {
        Words words;
        rules.WordsInPieces(prepared, piece, [&](const auto& some) {
          words.insert(words.end(), some.begin(), some.end());
        });
        ASSERT_EQ(words, Whole(rules, prepared)) << json << " seed " << seed << " piece " << piece;
      }
    }
  }
}

TEST(PreTokenizerTest, PiecesAreShortWhereWordsAre) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += i % 9 == 0 ? "number 17, then" : " some words";
  for (const std::string& json : AllRules()) {
    const PreTokenizer rules(nlohmann::ordered_json::parse(json), "test");
    const std::string prepared = rules.Prepare(text, true);
    size_t most = 0, pieces = 0;
    rules.WordsInPieces(prepared, 500, [&](const auto& some) {
      size_t bytes = 0;
      for (const std::string_view word : some) bytes += word.size();
      most = std::max(most, bytes);
      ++pieces;
    });
    if (Whole(rules, prepared).size() == 1) {
      EXPECT_EQ(pieces, 1) << json;
    } else {
      EXPECT_LE(most, 500) << json;
      EXPECT_GT(pieces, 40) << json;
    }
  }
}

TEST(PreTokenizerTest, ATextWithoutSpacesIsOnePiece) {
  const PreTokenizer rules(nlohmann::ordered_json::parse(AllGgufBpeRules()[2].pre_tokenizer),
                           "test");
  const std::string text(5000, 'x');
  int pieces = 0;
  rules.WordsInPieces(text, 100, [&](const auto& words) {
    ++pieces;
    EXPECT_EQ(words.size(), 1);
  });
  EXPECT_EQ(pieces, 1);
  rules.WordsInPieces("", 100, [&](const auto& words) { EXPECT_TRUE(words.empty()); });
}

}  // namespace
}  // namespace puzzle
