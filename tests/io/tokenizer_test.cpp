#include "io/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Key;

using Ids = std::vector<int32_t>;

TEST(ByteTokenizerTest, IdsAreTheBytes) {
  const auto tokenizer = MakeByteTokenizer();
  EXPECT_THAT(tokenizer->Encode(std::string_view("A\xFF\0z", 4)), ElementsAre(65, 255, 0, 122));
  EXPECT_THAT(tokenizer->Encode(""), ElementsAre());
  EXPECT_EQ(tokenizer->vocab_size(), 258);
  EXPECT_EQ(tokenizer->bos_id(), 256);
  EXPECT_EQ(tokenizer->eos_id(), 257);
  EXPECT_EQ(tokenizer->kind(), "byte");
}

TEST(ByteTokenizerTest, AllBytesComeBackAndControlIdsAreDropped) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const auto tokenizer = MakeByteTokenizer();
  Ids ids = tokenizer->Encode(bytes);
  ids.insert(ids.begin(), 256);
  ids.push_back(257);
  EXPECT_EQ(tokenizer->Decode(ids), bytes);
}

TEST(ByteTokenizerTest, IdsOutsideAreErrors) {
  EXPECT_THAT(ErrorOf([] { (void)MakeByteTokenizer()->Decode(Ids{258}); }), HasSubstr("id 258"));
  EXPECT_THAT(ErrorOf([] { (void)MakeByteTokenizer()->Decode(Ids{-1}); }), HasSubstr("id -1"));
}

TEST(TokenizerTest, FolderIsSearchedForItsFiles) {
  const TempFolder folder;
  EXPECT_THAT(ErrorOf([&] { (void)LoadTokenizer(folder.path()); }),
              AllOf(HasSubstr(folder.path()), HasSubstr("tokenizer.model"),
                    HasSubstr("byte_tokenizer.json")));
  EXPECT_EQ(FindTokenizer(folder.path()), nullptr);
  const auto made = MakeByteTokenizer();
  EXPECT_THAT(made->files(), ElementsAre(Key("byte_tokenizer.json")));
  for (const auto& [name, bytes] : made->files()) WriteBytes(folder / name, bytes);
  EXPECT_EQ(LoadTokenizer(folder.path())->kind(), "byte");
  EXPECT_EQ(FindTokenizer(folder.path())->kind(), "byte");
  WriteBytes(folder / "tokenizer.json", "for others");
  EXPECT_EQ(LoadTokenizer(folder.path())->kind(), "byte");
  std::filesystem::remove(folder / "byte_tokenizer.json");
  WriteBytes(folder / "tokenizer.model", "is not asked");
  EXPECT_THAT(ErrorOf([&] { (void)LoadTokenizer(folder.path()); }), HasSubstr("tokenizer.json"));
}

TEST(TokenizerTest, OtherByteTokenizersAreRefused) {
  for (const std::string text : {"", "{}", R"({"kind": "byte", "version": 2})"}) {
    EXPECT_THAT(ErrorOf([&] {
                  (void)MakeTokenizer({{"byte_tokenizer.json", text}});
                }),
                HasSubstr("byte_tokenizer.json"));
  }
}

TEST(SentencePieceTest, WhatIsNoModelIsAnError) {
  for (const std::string& bytes : {std::string(), std::string("hello"), std::string(1000, '\0'),
                                   std::string(1000, '\xFF'), std::string("\x0A\x00", 2)}) {
    EXPECT_THAT(ErrorOf([&] { (void)MakeSentencePieceTokenizer(bytes); }),
                HasSubstr("tokenizer.model"));
  }
}

/// Trained models and what they make of a passage.
class GoldenTokenizerTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTokenizerTest, PassageHasItsIdsAndComesBack) {
  PUZZLE_REQUIRE_DATA("golden/" + GetParam() + ".json");
  const auto golden = nlohmann::json::parse(ReadBytes(DataPath("golden/" + GetParam() + ".json")));
  const auto tokenizer = LoadTokenizer(DataPath("models/" + GetParam()));
  const std::string passage = golden["passage"];

  Ids ids = tokenizer->Encode(passage);
  ids.insert(ids.begin(), tokenizer->bos_id());
  EXPECT_EQ(ids, golden["passage_ids"].get<Ids>());
  EXPECT_EQ(tokenizer->Decode(ids), passage);
  ids.push_back(tokenizer->eos_id());
  EXPECT_EQ(tokenizer->Decode(ids), passage);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTokenizerTest,
                         testing::Values("babyllama105", "stories260K", "stories3M"),
                         [](const auto& info) { return info.param; });

TEST(SentencePieceTest, CharacterModelMapsNewlineToUnknown) {
  PUZZLE_REQUIRE_DATA("models/babyllama105");
  const auto tokenizer = LoadTokenizer(DataPath("models/babyllama105"));
  EXPECT_EQ(tokenizer->vocab_size(), 105);
  EXPECT_EQ(tokenizer->Encode("a\nb")[2], 0);
}

TEST(SentencePieceTest, AgreesWithLlamaCppOnItsTestStrings) {
  PUZZLE_REQUIRE_DATA("tokenizers/llama2/tokenizer.model");
  PUZZLE_REQUIRE_DATA("tokenizers/ggml-vocab");
  const auto tokenizer = LoadTokenizer(DataPath("tokenizers/llama2"));
  EXPECT_EQ(tokenizer->vocab_size(), 32000);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);

  const std::string stem = DataPath("tokenizers/ggml-vocab/ggml-vocab-llama-spm.gguf");
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::string texts = ReadBytes(stem + ".inp");
  std::istringstream lines(ReadBytes(stem + ".out"));
  int n_texts = 0;
  for (size_t end; (end = texts.find(separator)) != std::string::npos; ++n_texts) {
    const std::string text = texts.substr(0, end);
    texts.erase(0, end + separator.size());
    std::string line;
    std::getline(lines, line);
    std::istringstream numbers(line);
    EXPECT_EQ(tokenizer->Encode(text), Ids(std::istream_iterator<int32_t>(numbers), {})) << text;
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text)), text);
  }
  EXPECT_EQ(n_texts, 46);
}

TEST(SentencePieceTest, ModelIsItsOwnFile) {
  PUZZLE_REQUIRE_DATA("models/stories260K");
  const auto tokenizer = LoadTokenizer(DataPath("models/stories260K"));
  EXPECT_EQ(tokenizer->kind(), "sentencepiece");
  EXPECT_EQ(tokenizer->files().at("tokenizer.model"),
            ReadBytes(DataPath("models/stories260K/tokenizer.model")));
  EXPECT_EQ(MakeTokenizer(tokenizer->files())->Encode("Once upon"), tokenizer->Encode("Once upon"));
}

TEST(SentencePieceTest, IdsOutsideAreErrors) {
  PUZZLE_REQUIRE_DATA("models/stories260K");
  const auto tokenizer = LoadTokenizer(DataPath("models/stories260K"));
  EXPECT_THAT(ErrorOf([&] { (void)tokenizer->Decode(Ids{512}); }), HasSubstr("id 512"));
  EXPECT_THAT(ErrorOf([&] { (void)tokenizer->Decode(Ids{-1}); }), HasSubstr("id -1"));
}

/// Cut, overwritten, or with bits flipped.
std::string Damaged(std::string bytes, std::mt19937& random) {
  const auto kind = random() % 3;
  if (kind == 0) bytes.resize(random() % bytes.size());
  for (auto n = (kind == 0 ? 0 : 1) + random() % 3; n > 0 && !bytes.empty(); --n) {
    char& byte = bytes[random() % bytes.size()];
    byte = static_cast<char>(kind == 1 ? random() : byte ^ 1 << random() % 8);
  }
  return bytes;
}

TEST(SentencePieceTest, DamagedModelsNeverCrash) {
  PUZZLE_REQUIRE_DATA("models");
  std::mt19937 random(13);
  int n_loaded = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string model = i % 2 == 0 ? "models/babyllama105" : "models/stories260K";
    try {
      const auto tokenizer = MakeSentencePieceTokenizer(
          Damaged(ReadBytes(DataPath(model + "/tokenizer.model")), random));
      ++n_loaded;
      (void)tokenizer->Decode(tokenizer->Encode("Once upon a time,\n\xFF there was"));
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("tokenizer.model"));
    }
  }
  EXPECT_GT(n_loaded, 100);
  EXPECT_LT(n_loaded, 3900);
}

}  // namespace
}  // namespace puzzle
