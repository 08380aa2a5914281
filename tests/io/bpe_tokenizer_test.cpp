#include "io/bpe_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

using Ids = std::vector<int32_t>;
using Json = nlohmann::ordered_json;

/// A vocabulary of a few letters on bytes: merges "a b" -> 4, "ab c" -> 5, "Ġ a" -> 6.
Json Small() {
  return Json::parse(R"({
    "version": "1.0",
    "added_tokens": [
      {"id": 7, "content": "<|end|>", "special": true, "normalized": false},
      {"id": 8, "content": "<x>", "special": false, "lstrip": true, "rstrip": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "ab": 4, "abc": 5, "Ġa": 6},
              "merges": ["a b", ["ab", "c"], "Ġ a"]}})");
}

std::shared_ptr<const Tokenizer> Make(const Json& json) {
  return MakeTokenizer({{"tokenizer.json", json.dump()}});
}

TEST(BpeTokenizerTest, MergesTheLowestRankFirst) {
  const auto tokenizer = Make(Small());
  EXPECT_THAT(tokenizer->Encode("abc"), ElementsAre(5));
  EXPECT_THAT(tokenizer->Encode("ab abab"), ElementsAre(4, 3, 4, 4));  // "a b" before "Ġ a"
  EXPECT_THAT(tokenizer->Encode("aac a"), ElementsAre(0, 0, 2, 6));
  EXPECT_THAT(tokenizer->Encode(""), ElementsAre());
  EXPECT_EQ(tokenizer->vocab_size(), 9);
  EXPECT_EQ(tokenizer->kind(), "bpe");
}

TEST(BpeTokenizerTest, OfAMergeThatIsGivenTwiceTheLastRankCounts) {
  Json json = Small();
  json["model"]["vocab"]["bc"] = 9;
  json["model"]["merges"] = {"a b", "b c", "a b"};
  EXPECT_THAT(Make(json)->Encode("abc"), ElementsAre(0, 9));
}

TEST(BpeTokenizerTest, ACharacterOfWhichOnlySomeBytesAreTokensIsUnknown) {
  Json json = Small();
  json["pre_tokenizer"] = nullptr;
  json["decoder"] = nullptr;
  json["model"]["byte_fallback"] = true;
  json["model"]["unk_token"] = "c";
  json["model"]["vocab"]["<0xC3>"] = 9;
  EXPECT_THAT(Make(json)->Encode("a\xC3\xA9"), ElementsAre(0, 2));
  json["model"]["vocab"]["<0xA9>"] = 10;
  EXPECT_THAT(Make(json)->Encode("a\xC3\xA9"), ElementsAre(0, 9, 10));
}

TEST(BpeTokenizerTest, BlanksThatAnAddedTokenTookAreNotAnAddedTokenOfTheirOwn) {
  Json json = Small();
  json["added_tokens"].push_back(
      {{"id", 9}, {"content", "  "}, {"special", false}, {"normalized", false}});
  EXPECT_THAT(Make(json)->Encode("a  b"), ElementsAre(0, 9, 1));
  EXPECT_THAT(Make(json)->Encode("<x>  b"), ElementsAre(8, 1));
}

TEST(BpeTokenizerTest, CharactersWithoutATokenVanishUnlessThereIsOneForThem) {
  EXPECT_THAT(Make(Small())->Encode("azb"), ElementsAre(4));
  Json json = Small();
  json["model"]["unk_token"] = "c";
  EXPECT_THAT(Make(json)->Encode("azzb"), ElementsAre(0, 2, 2, 1));
  json["model"]["fuse_unk"] = true;
  EXPECT_THAT(Make(json)->Encode("azzb"), ElementsAre(0, 2, 1));
}

TEST(BpeTokenizerTest, IgnoringMergesTakesWholeWords) {
  Json json = Small();
  json["model"]["merges"] = Json::array({"b c"});
  json["model"]["vocab"]["bc"] = 9;
  EXPECT_THAT(Make(json)->Encode("abc"), ElementsAre(0, 9));
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(Make(json)->Encode("abc"), ElementsAre(5));
  json["model"]["vocab"]["a"] = 5;
  json["model"]["vocab"]["abc"] = 0;  // an id like any other
  EXPECT_THAT(Make(json)->Encode("abc"), ElementsAre(0));
}

TEST(BpeTokenizerTest, AddedTokensComeFirstAndSpecialOnesAreNotDecoded) {
  const auto tokenizer = Make(Small());
  const Ids ids = tokenizer->Encode("ab<|end|>c  <x> a");
  EXPECT_THAT(ids, ElementsAre(4, 7, 2, 8, 0));  // <x> takes the blanks around it
  EXPECT_EQ(tokenizer->Decode(ids), "abc<x>a");
  EXPECT_EQ(tokenizer->bos_id(), 7);
  EXPECT_EQ(tokenizer->eos_id(), -1);
  EXPECT_THAT(ErrorOf([&] { (void)tokenizer->Decode(Ids{9}); }), HasSubstr("id 9"));
}

TEST(BpeTokenizerTest, SpecialTokensAreNamedByTheFilesBesideIt) {
  std::map<std::string, std::string> files = {
      {"tokenizer.json", Small().dump()},
      {"special_tokens_map.json", R"({"eos_token": {"content": "<|end|>"}})"},
      {"tokenizer_config.json", R"({"bos_token": null})"},
      {"chat_template.jinja", "kept"}};
  const auto tokenizer = MakeTokenizer(files);
  EXPECT_EQ(tokenizer->bos_id(), -1);
  EXPECT_EQ(tokenizer->eos_id(), 7);
  EXPECT_EQ(tokenizer->files(), files);
  files["tokenizer_config.json"] = R"({"bos_token": "<none>"})";
  EXPECT_THAT(ErrorOf([&] { (void)MakeTokenizer(files); }), HasSubstr("bos_token \"<none>\""));
}

TEST(BpeTokenizerTest, TextThatIsNotUtf8IsRepaired) {
  Json json = Small();
  json["model"]["vocab"] = {{"ï", 0}, {"¿", 1}, {"½", 2}};  // the bytes of U+FFFD
  json["model"]["merges"] = Json::array();
  json["added_tokens"] = Json::array();
  json["post_processor"] = nullptr;
  const auto tokenizer = Make(json);
  EXPECT_THAT(tokenizer->Encode("\xF0\x9F"), ElementsAre(0, 1, 2));
  EXPECT_EQ(tokenizer->Decode(Ids{0, 1, 0, 1, 2}), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

// Of bytes in a row that are no UTF-8 nothing is said but U+FFFD, not even of the characters in it.
TEST(BpeTokenizerTest, CharactersOfBytesGoOnBehindOthers) {
  Json json = Small();
  json["pre_tokenizer"] = nullptr;
  json["decoder"] = nullptr;
  json["model"]["byte_fallback"] = true;
  json["model"]["vocab"]["<0xE2>"] = 9;
  json["model"]["vocab"]["<0x82>"] = 10;
  json["model"]["vocab"]["<0xAC>"] = 11;
  const auto tokenizer = Make(json);
  const std::string euro = "\xE2\x82\xAC";
  const Ids ids = tokenizer->Encode(euro);
  EXPECT_THAT(ids, ElementsAre(9, 10, 11));
  Ids before;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(DecodeAfter(*tokenizer, before, ids), euro) << i << " characters before";
    before.insert(before.end(), ids.begin(), ids.end());
  }
}

TEST(BpeTokenizerTest, MetaspaceSaysSpacesAndMayPutOneFirst) {
  Json json = Small();
  json["model"]["vocab"] = {{"a", 0}, {"▁", 1}, {"▁a", 2}, {"▁▁", 3}};
  json["model"]["merges"] = Json::array({"▁ a", "▁ ▁"});
  json["decoder"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"split", false}};
  for (const auto& [scheme, expected] : std::vector<std::pair<std::string, Ids>>{
           {"always", {2, 3, 0, 7, 2}}, {"first", {2, 3, 0, 7, 0}}, {"never", {0, 3, 0, 7, 0}}}) {
    json["model"]["merges"] = Json::array({"▁ ▁", "▁ a"});
    json["pre_tokenizer"]["prepend_scheme"] = scheme;
    EXPECT_EQ(Make(json)->Encode("a  a<|end|>a"), expected) << scheme;
  }
  json["pre_tokenizer"]["split"] = true;
  EXPECT_EQ(Make(json)->Encode("a  a"), (Ids{0, 1, 2}));
}

TEST(BpeTokenizerTest, WhatIsNotSupportedIsRefusedByName) {
  struct Case {
    const char* name;
    std::function<void(Json&)> spoil;
    const char* message;
  };
  const auto split = [](const char* regex, const char* behavior) {
    return Json{{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", behavior}};
  };
  const Case cases[] = {
      {"model", [](Json& j) { j["model"]["type"] = "Unigram"; }, "type \"Unigram\""},
      {"no model", [](Json& j) { j.erase("model"); }, "model: expected"},
      {"no merges", [](Json& j) { j["model"].erase("merges"); }, "merges"},
      {"normalizer",
       [](Json& j) {
         j["normalizer"] = {{"type", "Lowercase"}};
       },
       "normalizer: \"Lowercase\""},
      {"normalizer in a sequence",
       [](Json& j) {
         j["normalizer"] = {{"type", "Sequence"},
                            {"normalizers", Json::array({{{"type", "NFC"}}, {{"type", "NFKC"}}})}};
       },
       "\"NFKC\""},
      {"pre-tokenizer",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Whitespace"}};
       },
       "pre_tokenizer: \"Whitespace\""},
      {"pattern", [&](Json& j) { j["pre_tokenizer"] = split("(a+)+$", "Isolated"); },
       "unknown pattern \"(a+)+$\""},
      {"behavior", [&](Json& j) { j["pre_tokenizer"] = split("\\s+", "Removed"); },
       "behavior \"Removed\""},
      {"decoder",
       [](Json& j) {
         j["decoder"] = {{"type", "WordPiece"}};
       },
       "decoder \"WordPiece\""},
      {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, "dropout"},
      {"suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "end_of_word_suffix"},
      {"merge of nothing", [](Json& j) { j["model"]["merges"][0] = "a z"; },
       "\"z\" is not in the vocabulary"},
      {"merge into nothing", [](Json& j) { j["model"]["merges"][0] = "b a"; },
       "\"ba\" is not in the vocabulary"},
      {"merge of three", [](Json& j) { j["model"]["merges"][0] = "a b c"; }, "pairs of tokens"},
      {"id twice", [](Json& j) { j["model"]["vocab"]["b"] = 0; }, "share id 0"},
      {"negative id", [](Json& j) { j["model"]["vocab"]["b"] = -1; }, "\"b\""},
      {"huge id", [](Json& j) { j["model"]["vocab"]["b"] = 4'000'000'000u; }, "\"b\""},
      {"no ids", [](Json& j) { j["model"]["vocab"] = Json::object(); }, "empty"},
      {"empty token", [](Json& j) { j["model"]["vocab"][""] = 20; }, "token 20 has 0 bytes"},
      {"added twice", [](Json& j) { j["added_tokens"][1]["content"] = "<|end|>"; }, "<|end|>"},
      {"added over another", [](Json& j) { j["added_tokens"][0]["id"] = 0; }, "<|end|>"},
      {"added in vain", [](Json& j) { j["added_tokens"][0]["content"] = "ab"; }, "\"ab\""},
      {"added far away", [](Json& j) { j["added_tokens"][0]["id"] = 1 << 30; }, "id"},
      {"added nothing", [](Json& j) { j["added_tokens"][0]["content"] = ""; }, "added token"},
      {"unk", [](Json& j) { j["model"]["unk_token"] = "<unk>"; }, "unk_token \"<unk>\""},
      {"not an object", [](Json& j) { j = Json::array(); }, "expected an object"},
  };
  for (const Case& c : cases) {
    Json json = Small();
    c.spoil(json);
    const std::string message = ErrorOf([&] { (void)Make(json); });
    EXPECT_THAT(message, HasSubstr(c.message)) << c.name;
    EXPECT_THAT(message, StartsWith("tokenizer.json")) << c.name;
  }
}

TEST(BpeTokenizerTest, VocabAndMergesAreReadWithOrWithoutAVersionLine) {
  std::map<std::string, std::string> files = {
      {"vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})"}, {"merges.txt", "a b\n"}};
  EXPECT_THAT(MakeTokenizer(files)->Encode("ab<|endoftext|>a"), ElementsAre(2, 3, 0));
  files["merges.txt"] = "#version: 0.2\r\na b\r\n";
  const auto tokenizer = MakeTokenizer(files);
  EXPECT_THAT(tokenizer->Encode("ab"), ElementsAre(2));
  EXPECT_EQ(tokenizer->bos_id(), 3);
  EXPECT_EQ(tokenizer->files(), files);

  files["tokenizer_config.json"] = R"({"tokenizer_class": "GPT2TokenizerFast",
      "bos_token": "</s>", "added_tokens_decoder": {"4": {"content": "</s>", "special": true}}})";
  EXPECT_EQ(MakeTokenizer(files)->bos_id(), 4);
  EXPECT_EQ(MakeTokenizer(files)->vocab_size(), 5);
  files["tokenizer_config.json"] = R"({"tokenizer_class": "WhisperTokenizer"})";
  EXPECT_THAT(ErrorOf([&] { (void)MakeTokenizer(files); }), HasSubstr("\"WhisperTokenizer\""));
  files.erase("tokenizer_config.json");
  files["merges.txt"] = "a b\nab\n";
  EXPECT_THAT(ErrorOf([&] { (void)MakeTokenizer(files); }), StartsWith("merges.txt:2: "));
  files.erase("merges.txt");
  EXPECT_THAT(ErrorOf([&] { (void)MakeTokenizer(files); }), HasSubstr("no tokenizer"));
}

}  // namespace
}  // namespace puzzle
