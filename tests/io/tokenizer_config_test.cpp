// What a tokenizer's own configuration says: whether BOS goes in front, which tokens were added,
// which file counts; and that small files do not take large time or memory.
#include "io/tokenizer_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/file.h"
#include "io/tokenizer.h"
#include "tests/io/sentencepiece_bytes.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;
using Json = nlohmann::ordered_json;

/// Letters on bytes, and <s> with id 2; `processor` is the post_processor.
std::string BpeFile(const std::string& processor = "null") {
  return R"({"added_tokens": [{"id": 2, "content": "<s>", "special": true}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "decoder": {"type": "ByteLevel"}, "post_processor": )" +
         processor + R"(, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}})";
}

const char kTemplate[] =
    R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]})";

/// "a", "b", "▁", "ab" behind the usual three, scores falling; 7 pieces.
std::string PieceFile() {
  return ModelBytes(ModelOf(SentencePieceAlgorithm::kBpe, false,
                            {{"a", -3, PieceType::kNormal},
                             {"b", -4, PieceType::kNormal},
                             {"\u2581", -5, PieceType::kNormal},
                             {"ab", -1, PieceType::kNormal}}));
}

TEST(TokenizerConfigTest, BosGoesInFrontWhereTheConfigurationSaysSo) {
  struct Case {
    const char* what;
    TokenizerFiles files;
    int32_t leading;
  };
  const std::string json = "tokenizer.json", config = "tokenizer_config.json";
  const std::vector<Case> cases = {
      {"a bos_token is no reason", {{json, BpeFile()}, {config, R"({"bos_token": "<s>"})"}}, -1},
      {"a template", {{json, BpeFile(kTemplate)}}, 2},
      {"a template in a sequence",
       {{json, BpeFile(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, )" +
                       std::string(kTemplate) + "]}")}},
       2},
      {"add_bos_token against a template",
       {{json, BpeFile(kTemplate)}, {config, R"({"bos_token": "<s>", "add_bos_token": false})"}},
       -1},
      {"add_bos_token without a template",
       {{json, BpeFile()}, {config, R"({"bos_token": "<s>", "add_bos_token": true})"}},
       2},
      {"null says nothing",
       {{json, BpeFile(kTemplate)}, {config, R"({"bos_token": "<s>", "add_bos_token": null})"}},
       2},
      {"the default of Llama's class",
       {{json, BpeFile()},
        {config, R"({"bos_token": "<s>", "tokenizer_class": "LlamaTokenizerFast"})"}},
       2},
      {"no BOS to put there",
       {{json, BpeFile()}, {config, R"({"bos_token": null, "add_bos_token": true})"}},
       -1},
      {"a SentencePiece model alone", {{"tokenizer.model", PieceFile()}}, 1},
      {"a SentencePiece model",
       {{"tokenizer.model", PieceFile()}, {config, R"({"add_bos_token": false})"}},
       -1},
      {"GPT-2's files",
       {{"vocab.json", R"({"a": 0, "<|endoftext|>": 1})"}, {"merges.txt", ""}},
       -1},
      {"OPT's files",
       {{"vocab.json", R"({"a": 0, "<|endoftext|>": 1})"},
        {"merges.txt", ""},
        {config, R"({"add_bos_token": true})"}},
       1},
      {"bytes", {{"byte_tokenizer.json", R"({"kind": "byte", "version": 1})"}}, 256},
  };
  for (const Case& c : cases) EXPECT_EQ(MakeTokenizer(c.files)->leading_id(), c.leading) << c.what;
  EXPECT_THAT(ErrorOf([&] {
                (void)MakeTokenizer({{json, BpeFile()}, {config, R"({"add_bos_token": 1})"}});
              }),
              HasSubstr("add_bos_token: expected true or false"));
}

TEST(TokenizerConfigTest, TokensBesideASentencePieceModelAreFound) {
  const TokenizerFiles files = {
      {"tokenizer.model", PieceFile()},
      {"added_tokens.json", R"({"<|im_start|>": 7, "<|im_end|>": 9})"},
      {"special_tokens_map.json", R"({"eos_token": "<|im_end|>"})"},
      {"tokenizer_config.json", R"({"bos_token": "<s>", "unk_token": {"content": "<unk>"}})"}};
  const auto tokenizer = MakeTokenizer(files);
  EXPECT_EQ(tokenizer->vocab_size(), 10);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 9);
  const Ids ids = tokenizer->Encode("<|im_start|>ab<|im_end|>a<s>");
  EXPECT_THAT(ids, ElementsAre(7, 5, 6, 9, 5, 3, 1));  // each text between gets its dummy space
  EXPECT_EQ(tokenizer->Decode(ids), "<|im_start|> ab a");
  EXPECT_EQ(tokenizer->Decode(Ids{5, 6, 8, 6}), "abab");  // 8 is no token
  TokenizerFiles modern = files;
  modern["tokenizer_config.json"] = R"({"legacy": false})";
  EXPECT_THAT(MakeTokenizer(modern)->Encode("a<|im_end|>a"), ElementsAre(5, 3, 9, 3));
}

TEST(TokenizerConfigTest, TokensThatCollideWithPiecesAreRefused) {
  const auto message = [](const std::string& added) {
    return ErrorOf([&] {
      (void)MakeTokenizer({{"tokenizer.model", PieceFile()}, {"added_tokens.json", added}});
    });
  };
  EXPECT_THAT(message(R"({"<x>": 3})"), HasSubstr("the id or the text is another piece's"));
  EXPECT_THAT(message(R"({"ab": 7})"), HasSubstr("the id or the text is another piece's"));
  EXPECT_THAT(message(R"({"<x>": 7, "<y>": 7})"), HasSubstr("the id is there twice"));
  EXPECT_THAT(message(R"({"": 7})"), HasSubstr("has 0 bytes"));
  EXPECT_THAT(ErrorOf([] {
                (void)MakeTokenizer({{"tokenizer.model", PieceFile()},
                                     {"tokenizer_config.json", R"({"eos_token": "<none>"})"}});
              }),
              HasSubstr("eos_token \"<none>\" is no token"));
}

TEST(TokenizerConfigTest, TokenizerJsonCountsBesideATokenizerModel) {
  EXPECT_EQ(
      MakeTokenizer({{"tokenizer.model", PieceFile()}, {"tokenizer.json", BpeFile()}})->kind(),
      "bpe");
  const std::string tiktoken = "IQ== 0\nIg== 1\n";
  EXPECT_EQ(MakeTokenizer({{"tokenizer.model", tiktoken}, {"tokenizer.json", BpeFile()}})->kind(),
            "bpe");
  EXPECT_THAT(ErrorOf([&] {
                (void)MakeTokenizer({{"tokenizer.model", tiktoken}});
              }),
              HasSubstr("is a tiktoken file"));
}

TEST(TokenizerConfigTest, PointersOfGitLfsAreNamed) {
  const TempFolder folder;
  for (const char* name : {"tokenizer.model", "tokenizer.json"}) {
    WriteBytes(folder / name,
               "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    EXPECT_THAT(ErrorOf([&] { (void)LoadTokenizer(folder.path()); }),
                AllOf(HasSubstr(folder / name), HasSubstr("Git LFS pointer")));
    std::filesystem::remove(folder / name);
  }
}

TEST(TokenizerConfigTest, IdsThatAreNoTokenDecodeToNothing) {
  Json json = Json::parse(BpeFile());
  json["added_tokens"].push_back({{"id", 4000}, {"content", "<e>"}});
  const auto on_bytes = MakeTokenizer({{"tokenizer.json", json.dump()}});
  EXPECT_EQ(on_bytes->Decode(Ids{0, 3, 500, 3999, 4000, 1}), "a<e>b");
  json["pre_tokenizer"] = nullptr;
  json["decoder"] = nullptr;
  const auto on_characters = MakeTokenizer({{"tokenizer.json", json.dump()}});
  EXPECT_EQ(on_characters->Decode(Ids{0, 3, 500, 3999, 4000, 1}), "a<e>b");
}

TEST(TokenizerConfigTest, SmallFilesDoNotMakeMuchOfAText) {
  const auto with = [](const std::string& where, const Json& value) {
    Json json = Json::parse(BpeFile());
    json[Json::json_pointer(where)] = value;
    return std::map<std::string, std::string>{{"tokenizer.json", json.dump()}};
  };
  const auto replace = [](const std::string& by) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", by}};
  };
  const auto sequence = [](const std::vector<Json>& parts) {
    return Json{{"type", "Sequence"}, {"normalizers", parts}};
  };
  const auto doubling =
      MakeTokenizer(with("/normalizer", sequence(std::vector<Json>(32, replace("aa")))));
  EXPECT_THAT(ErrorOf([&] { (void)doubling->Encode("abc"); }), HasSubstr("normalizer makes more"));
  EXPECT_THAT(
      ErrorOf([&] {
        (void)MakeTokenizer(with("/normalizer", sequence(std::vector<Json>(65, replace("b")))));
      }),
      HasSubstr("more than 64 rules"));
  EXPECT_THAT(
      ErrorOf([&] { (void)MakeTokenizer(with("/normalizer", replace(std::string(257, 'a')))); }),
      HasSubstr("puts in 257 bytes, at most 256"));
  EXPECT_THAT(
      ErrorOf([&] { (void)MakeTokenizer(with("/added_tokens/0/content", std::string(257, 'a'))); }),
      HasSubstr("has 257 bytes, expected 1 to 256"));
}

TEST(TokenizerConfigTest, AContinuationKeepsTheSpaceItBeginsWith) {
  const auto tokenizer = MakeTokenizer({{"tokenizer.model", PieceFile()}});
  const Ids before = tokenizer->Encode("ab");
  EXPECT_EQ(tokenizer->Decode(Ids{5, 6}), "ab");
  EXPECT_EQ(DecodeAfter(*tokenizer, before, Ids{5, 6}), " ab");
  EXPECT_EQ(DecodeAfter(*tokenizer, before, Ids{6}), "ab");
  EXPECT_EQ(DecodeAfter(*tokenizer, Ids{}, Ids{5, 6}), "ab");
  EXPECT_EQ(DecodeAfter(*tokenizer, before, Ids{}), "");
  // A character whose bytes are on both sides is said once, behind.
  const auto bytes = MakeByteTokenizer();
  EXPECT_EQ(DecodeAfter(*bytes, Ids{'a', 0xC3}, Ids{0xA4}), "\xA4");
}

TEST(TextFileTest, WhatIsNotUtf8IsNamed) {
  const TempFolder folder;
  const std::string path = folder / "t.txt";
  const auto message = [&](const std::string& bytes) {
    WriteBytes(path, bytes);
    return ErrorOf([&] { (void)ReadTextFile(path, 100); });
  };
  EXPECT_THAT(message(std::string("\xFF\xFE"
                                  "a\0",
                                  4)),
              AllOf(HasSubstr(path), HasSubstr("UTF-16")));
  EXPECT_THAT(message(std::string("\xFE\xFF\0a", 4)), HasSubstr("UTF-16"));
  EXPECT_THAT(message("fine\ncaf\xE9\n"), HasSubstr(":2: is not UTF-8 text: byte 0xE9"));
  EXPECT_THAT(message("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("Git LFS"));
  WriteBytes(path,
             "\xEF\xBB\xBF"
             "b\xC3\xA4");
  EXPECT_EQ(ReadTextFile(path, 100), "b\xC3\xA4");
}

}  // namespace
}  // namespace puzzle
