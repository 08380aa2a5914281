// Tokenizers inside of GGUF files.
#include "io/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/sentencepiece_model.h"
#include "io/tokenizer.h"
#include "tests/io/gguf_files.h"
#include "tests/io/sentencepiece_bytes.h"
#include "tests/io/test_files.h"
#include "tests/io/tokenizer_samples.h"

namespace puzzle {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int32_t kNormal = 1;
constexpr int32_t kUnknown = 2;
constexpr int32_t kControl = 3;
constexpr int32_t kUserDefined = 4;
constexpr int32_t kUnused = 5;

/// The tokenizer of a file with these entries.
std::map<std::string, std::string> FilesOf(const std::vector<std::string>& metadata) {
  const TempFolder folder;
  WriteBytes(folder / "t.gguf", GgufFile(metadata, {}));
  return TokenizerFilesFromGguf(GgufReader::Open(folder / "t.gguf"));
}

const std::vector<std::string> kBpeEntries = {
    GgufString("tokenizer.ggml.model", "gpt2"),
    GgufString("tokenizer.ggml.pre", "smollm"),
    GgufStrings("tokenizer.ggml.tokens",
                {"<|im_start|>", "a", "b", "ab", "1", "\xC4\xA0", "<tool>", "[PAD7]", "11"}),
    GgufI32s("tokenizer.ggml.token_type", {kControl, kNormal, kNormal, kNormal, kNormal, kNormal,
                                           kUserDefined, kUnused, kNormal}),
    GgufStrings("tokenizer.ggml.merges", {"a b", "1 1"}),
    GgufU32("tokenizer.ggml.bos_token_id", 0),
    GgufU32("tokenizer.ggml.eos_token_id", 0)};

std::vector<std::string> With(std::vector<std::string> entries, const std::string& more) {
  entries.push_back(more);
  return entries;
}

/// The same entries without a key, whose place another may take.
std::vector<std::string> Without(std::vector<std::string> entries, const std::string& key) {
  std::erase_if(entries, [&](const std::string& e) { return e.starts_with(GgufText(key)); });
  return entries;
}

TEST(GgufTokenizerTest, ByteLevelBpeIsThatOfAFolder) {
  const auto tokenizer = MakeTokenizer(FilesOf(kBpeEntries));
  EXPECT_THAT(tokenizer->Encode("<|im_start|>ab 11<tool>"), ElementsAre(0, 3, 5, 4, 4, 6));
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{0, 3, 5, 4, 4, 6}), "ab 11<tool>");
  EXPECT_EQ(tokenizer->vocab_size(), 9);
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_id(), 0);
}

TEST(GgufTokenizerTest, BosGoesInFrontAsTheFileSaysElseAsThePreTokenizer) {
  EXPECT_EQ(MakeTokenizer(FilesOf(kBpeEntries))->leading_id(), -1);
  EXPECT_EQ(
      MakeTokenizer(FilesOf(With(kBpeEntries, GgufBool("tokenizer.ggml.add_bos_token", true))))
          ->leading_id(),
      0);
  const auto llama = With(Without(kBpeEntries, "tokenizer.ggml.pre"),
                          GgufString("tokenizer.ggml.pre", "llama-bpe"));
  EXPECT_EQ(MakeTokenizer(FilesOf(llama))->leading_id(), 0);
  EXPECT_EQ(MakeTokenizer(FilesOf(With(llama, GgufBool("tokenizer.ggml.add_bos_token", false))))
                ->leading_id(),
            -1);
}

TEST(GgufTokenizerTest, ChatTemplateIsKept) {
  const std::string chat = "{% for m in messages %}\n\"{{ m }}\"{% endfor %}";
  const auto files = FilesOf(With(kBpeEntries, GgufString("tokenizer.chat_template", chat)));
  EXPECT_EQ(nlohmann::json::parse(files.at("tokenizer_config.json")).at("chat_template"), chat);
}

TEST(GgufTokenizerTest, SentencePieceIsThatOfAFolder) {
  const auto tokenizer = MakeTokenizer(
      FilesOf({GgufString("tokenizer.ggml.model", "llama"),
               GgufStrings("tokenizer.ggml.tokens", {"<unk>", "<s>", "a", "b", "\xE2\x96\x81", "ab",
                                                     "\xE2\x96\x81"
                                                     "ab"}),
               GgufI32s("tokenizer.ggml.token_type",
                        {kUnknown, kControl, kNormal, kNormal, kNormal, kNormal, kNormal}),
               GgufF32s("tokenizer.ggml.scores", {0, 0, -3, -4, -5, -1, -2}),
               GgufU32("tokenizer.ggml.bos_token_id", 1)}));
  EXPECT_EQ(tokenizer->kind(), "sentencepiece");
  EXPECT_THAT(tokenizer->Encode("ab aab"), ElementsAre(6, 4, 2, 5));
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{6, 4, 2, 5}), "ab aab");
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->leading_id(), 1);
}

/// Its pieces are cut otherwise by merges than by likelihood.
std::vector<std::string> SentencePieceEntries(const std::string& model) {
  return {
      GgufString("tokenizer.ggml.model", model),
      GgufStrings("tokenizer.ggml.tokens",
                  {"<unk>", "<s>", "</s>", "<|user|>", "a", "b", "c", "ab", "bc", "\xE2\x96\x81"}),
      GgufI32s("tokenizer.ggml.token_type", {kUnknown, kControl, kControl, kUserDefined, kNormal,
                                             kNormal, kNormal, kNormal, kNormal, kNormal}),
      GgufF32s("tokenizer.ggml.scores", {0, 0, 0, -1000, -1, -9, -9, -2, -3, -5}),
      GgufBool("tokenizer.ggml.add_space_prefix", false),
      GgufU32("tokenizer.ggml.bos_token_id", 1)};
}

TEST(GgufTokenizerTest, T5sScoresAreLikelihoodsAndLlamasAreTheOrderOfMerges) {
  // By merges ab comes first; a + bc sums up to -4, ab + c to -11.
  EXPECT_THAT(MakeTokenizer(FilesOf(SentencePieceEntries("llama")))->Encode("abc"),
              ElementsAre(7, 6));
  EXPECT_THAT(MakeTokenizer(FilesOf(SentencePieceEntries("t5")))->Encode("abc"), ElementsAre(4, 8));
  EXPECT_THAT(ErrorOf([] {
                (void)FilesOf(With(SentencePieceEntries("t5"),
                                   GgufI32s("tokenizer.ggml.precompiled_charsmap", {1, 2})));
              }),
              HasSubstr("precompiled_charsmap: rules of normalisation are not supported"));
}

TEST(GgufTokenizerTest, Phi3sMarksTakeTheBlanksBehindThem) {
  const auto encode = [](const std::string& architecture, const std::string& text) {
    return MakeTokenizer(FilesOf(With(SentencePieceEntries("llama"),
                                      GgufString("general.architecture", architecture))))
        ->Encode(text);
  };
  EXPECT_THAT(encode("llama", "<|user|> a</s> b<s> a"), ElementsAre(3, 9, 4, 2, 9, 5, 1, 9, 4));
  EXPECT_THAT(encode("phi3", "<|user|> a</s> b<s> a"), ElementsAre(3, 4, 2, 5, 1, 9, 4));
}

// Or Hugging Face's class would put one there.
TEST(GgufTokenizerTest, ThatNoBlankGoesBeforeATextIsSaidToOtherPrograms) {
  const auto entries = SentencePieceEntries("llama");
  const auto config = [](const std::vector<std::string>& all) {
    return nlohmann::json::parse(FilesOf(all).at("tokenizer_config.json"));
  };
  EXPECT_EQ(config(entries).at("add_prefix_space"), false);
  EXPECT_FALSE(
      config(Without(entries, "tokenizer.ggml.add_space_prefix")).contains("add_prefix_space"));
}

// Gemma 3 and Phi-3.5 as llama.cpp's converter writes them: the unknown token is a control token.
TEST(GgufTokenizerTest, AControlTokenMayBeTheUnknownOne) {
  const auto entries = [](const std::vector<std::string>& more) {
    std::vector<std::string> all = {
        GgufString("tokenizer.ggml.model", "llama"),
        GgufStrings("tokenizer.ggml.tokens", {"<pad>", "<bos>", "<unk>", "a"}),
        GgufI32s("tokenizer.ggml.token_type", {kControl, kControl, kControl, kNormal}),
        GgufF32s("tokenizer.ggml.scores", {-1000, -1000, -1000, -1}),
        GgufBool("tokenizer.ggml.add_space_prefix", false),
        GgufU32("tokenizer.ggml.bos_token_id", 1)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto tokenizer =
      MakeTokenizer(FilesOf(entries({GgufU32("tokenizer.ggml.unknown_token_id", 2)})));
  EXPECT_THAT(tokenizer->Encode("a<bos>z<unk>"), ElementsAre(3, 1, 2, 2));
  EXPECT_EQ(tokenizer->leading_id(), 1);
  EXPECT_THAT(MakeTokenizer(FilesOf(entries({})))->Encode("az"), ElementsAre(3, 0))
      << "as llama.cpp takes the first one";
  const std::string unknown = "tokenizer.ggml.unknown_token_id";
  EXPECT_THAT(ErrorOf([&] { (void)FilesOf(entries({GgufU32(unknown, 4)})); }),
              HasSubstr("unknown_token_id: 4 is not one of 4 tokens"));
}

TEST(GgufTokenizerTest, BlanksOfUserDefinedTokensAreThoseOfText) {
  const auto encode = [](const std::string& normal) {
    return MakeTokenizer(
               FilesOf(
                   {GgufString("tokenizer.ggml.model", "llama"),
                    GgufStrings("tokenizer.ggml.tokens",
                                {"<unk>", "a", "\xE2\x96\x81", "  ", "    ", normal, "\n\n"}),
                    GgufI32s("tokenizer.ggml.token_type", {kUnknown, kNormal, kNormal, kUserDefined,
                                                           kUserDefined, kNormal, kUserDefined}),
                    GgufF32s("tokenizer.ggml.scores", {0, -1, -2, -1000, -1000, -3, -1000}),
                    GgufBool("tokenizer.ggml.add_space_prefix", false)}))
        ->Encode("a  a     a a\n\na");
  };
  EXPECT_THAT(encode("b"), ElementsAre(1, 3, 1, 4, 2, 1, 2, 1, 6, 1));
  // A normal piece of the same meaning is the one that text becomes.
  EXPECT_THAT(encode("\xE2\x96\x81\xE2\x96\x81"), ElementsAre(1, 5, 1, 4, 2, 1, 2, 1, 6, 1));
}

TEST(GgufTokenizerTest, NoneIsNone) {
  EXPECT_TRUE(FilesOf({}).empty());
  EXPECT_TRUE(FilesOf({GgufString("tokenizer.ggml.model", "none")}).empty());
}

TEST(GgufTokenizerTest, WhatDoesNotFitIsRefusedByName) {
  const auto message = [](const std::string& key, const std::string& entry) {
    return ErrorOf([&] { (void)FilesOf(With(Without(kBpeEntries, key), entry)); });
  };
  const auto replaced = [&](const std::string& key, const std::string& value) {
    return message(key, GgufString(key, value));
  };
  EXPECT_THAT(replaced("tokenizer.ggml.model", "bert"), HasSubstr("\"bert\" is not supported"));
  EXPECT_THAT(replaced("tokenizer.ggml.pre", "odd"),
              HasSubstr("tokenizer.ggml.pre \"odd\" is not supported (gpt-2, "));
  EXPECT_THAT(ErrorOf([] { (void)FilesOf(Without(kBpeEntries, "tokenizer.ggml.pre")); }),
              HasSubstr("\"default\" is not supported"));
  EXPECT_THAT(ErrorOf([] { (void)FilesOf(Without(kBpeEntries, "tokenizer.ggml.merges")); }),
              HasSubstr("tokenizer.ggml.merges: missing"));
  const std::string tokens = "tokenizer.ggml.tokens";
  EXPECT_THAT(message(tokens, GgufStrings(tokens, {"a", "b", "a"})), HasSubstr("9 types for 3"));
  std::vector<std::string> nine(9, "x");
  EXPECT_THAT(message(tokens, GgufStrings(tokens, nine)),
              HasSubstr("tokens 0 and 1 are both \"x\""));
  nine[0] = "";
  EXPECT_THAT(message(tokens, GgufStrings(tokens, nine)), HasSubstr("token 0 has 0 bytes"));
  nine[0] = "\xFF";
  EXPECT_THAT(message(tokens, GgufStrings(tokens, nine)), HasSubstr("token 0 is not UTF-8"));
  const std::string types = "tokenizer.ggml.token_type";
  EXPECT_THAT(message(types, GgufI32s(types, {1, 1, 1, 1, 1, 1, 1, 1, 9})),
              HasSubstr("9 of token 8 is not in 1 to 6"));
  const std::string bos = "tokenizer.ggml.bos_token_id";
  EXPECT_THAT(message(bos, GgufU32(bos, 9)), HasSubstr("bos_token_id: 9 is not one of 9 tokens"));
}

/// What the files of a folder become in a GGUF file, as files again.
std::map<std::string, std::string> ThroughGguf(const std::map<std::string, std::string>& files,
                                               int64_t vocab_size) {
  const TempFolder folder;
  (void)GgufWriter(folder / "t.gguf", TokenizerToGguf(files, vocab_size), {}).Commit();
  return TokenizerFilesFromGguf(GgufReader::Open(folder / "t.gguf"));
}

std::string WriteRefusal(const std::map<std::string, std::string>& files, int64_t vocab_size) {
  return ErrorOf([&] { (void)TokenizerToGguf(files, vocab_size); });
}

TEST(GgufTokenizerWriteTest, BpeComesBackAsItWas) {
  for (const bool adds_bos : {false, true}) {
    const auto files =
        FilesOf(With(With(kBpeEntries, GgufBool("tokenizer.ggml.add_bos_token", adds_bos)),
                     GgufString("tokenizer.chat_template", "{{ \"x\" }}\n")));
    EXPECT_EQ(ThroughGguf(files, 9), files);
    EXPECT_EQ(ThroughGguf(files, 20), files) << "rows without a token are told apart";
  }
}

TEST(GgufTokenizerWriteTest, AChatTemplateOfItsOwnFileGoesAlong) {
  auto files = FilesOf(kBpeEntries);
  files["chat_template.jinja"] = "{{ 1 }}";
  const auto again = ThroughGguf(files, 9);
  EXPECT_EQ(nlohmann::json::parse(again.at("tokenizer_config.json")).at("chat_template"),
            "{{ 1 }}");
}

TEST(GgufTokenizerWriteTest, SentencePieceComesBackAsItWas) {
  SentencePieceModel model =
      ModelOf(SentencePieceAlgorithm::kBpe, true,
              {{"a", -3}, {"b", -4}, {"\xE2\x96\x81", -5}, {"ab", -1}, {"<x>", -2}});
  for (const bool trims : {false, true}) {
    model.remove_extra_whitespaces = trims;
    const std::map<std::string, std::string> files = {
        {"tokenizer.model", ModelBytes(model)},
        {"tokenizer_config.json",
         R"({"add_bos_token": false, "added_tokens_decoder": {"264": {"content": "<new>"},
             "263": {"content": "<x>", "special": true}}})"}};
    const auto tokenizer = MakeTokenizer(files);
    const auto once = ThroughGguf(files, 270);
    const auto again = MakeTokenizer(once);
    EXPECT_EQ(ThroughGguf(once, 270), once);
    for (const char* text : {"ab aab", "  ab  b ", "\xC3\xA4 z", "a<x>b<new>", ""})
      EXPECT_EQ(again->Encode(text), tokenizer->Encode(text)) << text;
    EXPECT_EQ(again->bos_id(), tokenizer->bos_id());
    EXPECT_EQ(again->eos_id(), tokenizer->eos_id());
    EXPECT_EQ(again->leading_id(), -1);
  }
}

TEST(GgufTokenizerWriteTest, RealVocabulariesCutTextAsBefore) {
  PUZZLE_REQUIRE_DATA("tokenizers/gpt2/vocab.json");
  const std::string text = MixedText(20'000);
  std::vector<std::string> written;
  for (const TokenizerSample& sample : TokenizerSamples()) {
    const std::map<std::string, std::string> files = {{"tokenizer.json", sample.json}};
    const auto tokenizer = MakeTokenizer(files);
    try {
      const auto again = MakeTokenizer(ThroughGguf(files, tokenizer->vocab_size()));
      EXPECT_EQ(again->Encode(text), tokenizer->Encode(text)) << sample.name;
      EXPECT_EQ(again->leading_id(), tokenizer->leading_id()) << sample.name;
      written.push_back(sample.name);
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), testing::AnyOf(HasSubstr("none of those that GGUF has a name for"),
                                           HasSubstr("takes spaces along")))
          << sample.name;
    }
  }
  EXPECT_THAT(written, ElementsAre("gpt2", "llama3", "qwen2", "deepseek_v3", "falcon"));
}

TEST(GgufTokenizerWriteTest, BytesBecomeABpeWithoutMerges) {
  const auto bytes = MakeByteTokenizer();
  const auto again = MakeTokenizer(ThroughGguf(bytes->files(), 258));
  std::string text = "Tom saw a cat.\n \t\xC3\xA4\xE2\x82\xAC 12  3";
  EXPECT_EQ(again->Encode(text), bytes->Encode(text));
  EXPECT_EQ(again->Decode(again->Encode(text)), text);
  EXPECT_EQ(again->bos_id(), bytes->bos_id());
  EXPECT_EQ(again->eos_id(), bytes->eos_id());
  EXPECT_EQ(again->leading_id(), bytes->leading_id());
}

TEST(GgufTokenizerWriteTest, NoTokenizerIsNone) {
  EXPECT_TRUE(ThroughGguf({}, 10).empty());
}

TEST(GgufTokenizerWriteTest, WhatGgufCannotSayIsRefused) {
  const auto files = FilesOf(kBpeEntries);
  EXPECT_THAT(WriteRefusal(files, 8), HasSubstr("has id 8, the model 8 rows"));
  const auto with_json = [&](const std::string& pointer, const nlohmann::json& value) {
    auto changed = files;
    auto json = nlohmann::json::parse(files.at("tokenizer.json"));
    json[nlohmann::json::json_pointer(pointer)] = value;
    changed["tokenizer.json"] = json.dump();
    return WriteRefusal(changed, 9);
  };
  EXPECT_THAT(with_json("/added_tokens/0/lstrip", true),
              HasSubstr("\"<|im_start|>\" takes spaces along"));
  EXPECT_THAT(with_json("/pre_tokenizer/pretokenizers/0/individual_digits", false),
              HasSubstr("none of those that GGUF has a name for (gpt-2, smollm, "));
  EXPECT_THAT(with_json("/normalizer", {{"type", "NFC"}}), HasSubstr("GGUF has a name for"));
  EXPECT_THAT(with_json("/model/ignore_merges", true), HasSubstr("GGUF has a name for"));

  const auto pieces = [](SentencePieceAlgorithm algorithm, bool has_bytes) {
    return WriteRefusal(
        {{"tokenizer.model", ModelBytes(ModelOf(algorithm, has_bytes, {{"a", -1}}))}}, 300);
  };
  EXPECT_THAT(pieces(SentencePieceAlgorithm::kUnigram, true), HasSubstr("only BPE models"));
  EXPECT_THAT(pieces(SentencePieceAlgorithm::kBpe, false), HasSubstr("no byte pieces"));
  EXPECT_THAT(WriteRefusal({{"vocab.json", R"({"a": 0})"}, {"merges.txt", ""}}, 1),
              HasSubstr("save_pretrained"));
  EXPECT_THAT(WriteRefusal({{"chat_template.jinja", ""}}, 1), HasSubstr("no tokenizer"));
}

}  // namespace
}  // namespace puzzle
