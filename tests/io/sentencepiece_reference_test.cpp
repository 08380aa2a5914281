// Our SentencePiece against the original, libsentencepiece: ids and texts are equal. The original
// is linked into this test only (io/README.md says why).
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "io/tokenizer.h"
#include "tests/io/sentencepiece_bytes.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using Ids = std::vector<int32_t>;

constexpr size_t kStoryBytes = 512 << 10;

/// A model as the original and as we understand it.
class Pair {
 public:
  explicit Pair(const std::string& bytes) : ours_(MakeSentencePieceTokenizer(bytes)) {
    const auto status = original_.LoadFromSerializedProto(bytes);
    if (!status.ok()) throw Error(status.ToString());
  }

  [[nodiscard]] const Tokenizer& ours() const { return *ours_; }

  /// Both encode `text` to the same ids, and these to the same text again.
  void ExpectEqual(const std::string& text) const {
    std::vector<int> expected;
    ASSERT_TRUE(original_.Encode(text, &expected).ok());
    const Ids ids = ours_->Encode(text);
    const auto [a, b] = std::mismatch(ids.begin(), ids.end(), expected.begin(), expected.end());
    const auto at = a - ids.begin();
    ASSERT_TRUE(ids == expected) << "from token " << at << " on, of " << Excerpt(text) << "\nours "
                                 << Pieces({a, ids.end()}) << "\noriginal "
                                 << Pieces({b, expected.end()});
    ExpectEqual(ids);
  }

  void ExpectEqual(const Ids& ids) const {
    std::string expected;
    ASSERT_TRUE(original_.Decode(ids, &expected).ok());
    ASSERT_TRUE(ours_->Decode(ids) == expected)
        << "ours '" << Excerpt(ours_->Decode(ids)) << "'\noriginal '" << Excerpt(expected)
        << "'\nof " << Pieces(ids);
  }

  void ExpectEqualSpecials() const {
    EXPECT_EQ(ours_->vocab_size(), original_.GetPieceSize());
    EXPECT_EQ(ours_->bos_id(), original_.bos_id());
    EXPECT_EQ(ours_->eos_id(), original_.eos_id());
  }

  [[nodiscard]] const std::string& Piece(int id) const { return original_.IdToPiece(id); }

 private:
  static std::string Excerpt(const std::string& text) { return text.substr(0, 300); }
  std::string Pieces(const Ids& ids) const {
    std::string pieces;
    for (size_t i = 0; i < std::min<size_t>(ids.size(), 20); ++i) {
      pieces += fmt::format("{}'{}' ", ids[i], original_.IdToPiece(ids[i]));
    }
    return pieces;
  }

  std::shared_ptr<const Tokenizer> ours_;
  sentencepiece::SentencePieceProcessor original_;
};

/// Random texts, and random ids.
class Random {
 public:
  explicit Random(uint32_t seed) : bits_(seed) {}

  size_t Below(size_t end) { return bits_() % end; }
  bool Flip() { return Below(2) == 0; }
  const std::string& OneOf(const std::vector<std::string>& texts) {
    return texts[Below(texts.size())];
  }

  /// Pieces, spaces and letters, characters of all planes, and bytes that are no characters.
  std::string Text(const Pair& model) {
    static const std::vector<std::string> kSpecial = {" ",
                                                      "  ",
                                                      "   ",
                                                      "\n",
                                                      "\t",
                                                      "\xE2\x96\x81",
                                                      "\xC2\xA0",
                                                      "\xE2\x80\x83",
                                                      "\xEF\xBB\xBF",
                                                      "\xEF\xBF\xBD",
                                                      "<s>",
                                                      "</s>",
                                                      "<unk>",
                                                      "<0x0A>",
                                                      "a",
                                                      "e",
                                                      "the",
                                                      " ",
                                                      " ",
                                                      "\xED\xA0\x80",
                                                      "\xF4\x90\x80\x80",
                                                      "\xC0\x80",
                                                      "\xE2\x96",
                                                      "\xF0\x9F"};
    std::string text;
    const size_t kind = Below(5);
    for (size_t n = Below(24); n > 0; --n) {
      switch (kind == 4 ? Below(4) : kind) {
        case 0:
          text += model.Piece(static_cast<int>(Below(model.ours().vocab_size())));
          break;
        case 1:
          text += OneOf(kSpecial);
          break;
        case 2:
          AppendCharacter(text);
          break;
        default:
          text += static_cast<char>(Below(256));
      }
      if (Below(4) == 0) text += ' ';
    }
    return text;
  }

  Ids SomeIds(const Pair& model) {
    Ids ids(Below(12));
    for (int32_t& id : ids) id = static_cast<int32_t>(Below(model.ours().vocab_size()));
    return ids;
  }

 private:
  void AppendCharacter(std::string& text) {
    const size_t code = Below(Flip() ? 0x3000 : 0x110000);
    if (code < 0x80) {
      text += static_cast<char>(code);
      return;
    }
    const int trailing = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // surrogates included
    text += static_cast<char>(0xF00 >> trailing | code >> 6 * trailing);
    for (int i = trailing - 1; i >= 0; --i) {
      text += static_cast<char>(0x80 | (code >> 6 * i & 0x3F));
    }
  }

  std::mt19937 bits_;
};

class TrainedModelTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    PUZZLE_REQUIRE_DATA(GetParam());
    model_.emplace(ReadBytes(DataPath(GetParam() + "/tokenizer.model")));
  }
  std::optional<Pair> model_;
};

TEST_P(TrainedModelTest, SpecialIdsAreEqual) {
  model_->ExpectEqualSpecials();
}

TEST_P(TrainedModelTest, StoriesAreEqual) {
  PUZZLE_REQUIRE_DATA("text/tinystories_v2_b.txt");
  model_->ExpectEqual(ReadBytes(DataPath("text/tinystories_v2_b.txt")).substr(0, kStoryBytes));
}

/// The same pieces, put together in the other ways.
TEST_P(TrainedModelTest, StoriesAreEqualUnderOtherAlgorithms) {
  PUZZLE_REQUIRE_DATA("text/tinystories_v2_b.txt");
  const std::string text = ReadBytes(DataPath("text/tinystories_v2_b.txt")).substr(0, kStoryBytes);
  SentencePieceModel model =
      ParseSentencePieceModel(ReadBytes(DataPath(GetParam() + "/tokenizer.model")));
  for (const auto algorithm : {SentencePieceAlgorithm::kUnigram, SentencePieceAlgorithm::kChar}) {
    model.algorithm = algorithm;
    Pair(ModelBytes(model)).ExpectEqual(text);
  }
}

TEST_P(TrainedModelTest, RandomTextsAreEqual) {
  Random random(1);
  for (int i = 0; i < 5000 && !HasFatalFailure(); ++i) model_->ExpectEqual(random.Text(*model_));
}

TEST_P(TrainedModelTest, RandomIdsAreEqual) {
  Random random(2);
  for (int i = 0; i < 5000 && !HasFatalFailure(); ++i) model_->ExpectEqual(random.SomeIds(*model_));
}

/// One word of 200,000 characters, which nothing cuts.
TEST_P(TrainedModelTest, LongWordsAreEqual) {
  Random random(3);
  std::string word;
  for (int i = 0; i < 200'000; ++i) word += "aeionst."[random.Below(8)];
  model_->ExpectEqual(word);
  model_->ExpectEqual(std::string(50'000, 'a'));
  model_->ExpectEqual(std::string(50'000, ' ') + "a" + std::string(50'000, ' '));
}

INSTANTIATE_TEST_SUITE_P(Models, TrainedModelTest,
                         testing::Values("models/babyllama105", "models/stories260K",
                                         "models/stories3M", "tokenizers/llama2"),
                         [](const auto& info) {
                           return info.param.substr(info.param.find('/') + 1);
                         });

/// Models nobody trained, of few letters, so that everything meets everything.
SentencePieceModel RandomModel(SentencePieceAlgorithm algorithm, Random& random) {
  static const std::vector<std::string> kLetters = {"a", "b", "\xE2\x96\x81", "\xC3\xA9", "a"};
  static const std::vector<std::string> kSpaced = {"a b", " ", "  ", " a", "b "};
  const bool has_ties = random.Flip();
  const bool has_special_types = random.Flip();
  std::vector<std::string> texts;
  for (size_t n = 2 + random.Below(30); n > 0; --n) {
    std::string text;
    for (size_t letters = 1 + random.Below(4); letters > 0; --letters)
      text += random.OneOf(kLetters);
    if (has_special_types && random.Below(8) == 0) text = random.OneOf(kSpaced);
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  }
  std::vector<SentencePiece> pieces;
  for (const std::string& text : texts) {
    SentencePiece piece = {text};
    const auto steps = static_cast<float>(random.Below(has_ties ? 4 : 100'000));
    piece.score = has_ties ? -steps : -steps * 1e-4f;
    if (has_special_types && random.Below(4) == 0) piece.type = PieceType::kUnused;
    const bool has_space = text.find(' ') != std::string::npos;
    if (has_special_types && (has_space || random.Below(6) == 0)) {
      piece.type = PieceType::kUserDefined;
    }
    pieces.push_back(piece);
  }
  SentencePieceModel model = ModelOf(algorithm, random.Flip(), pieces);
  model.add_dummy_prefix = random.Flip();
  model.remove_extra_whitespaces = random.Flip();
  model.escape_whitespaces = random.Below(4) != 0;
  model.treat_whitespace_as_suffix = random.Below(4) == 0;
  if (random.Flip()) model.unk_surface = "?";
  if (random.Below(4) == 0) model.bos_piece = "<begin>";
  return model;
}

class RandomModelTest : public testing::TestWithParam<SentencePieceAlgorithm> {};

TEST_P(RandomModelTest, TextsAndIdsAreEqual) {
  Random random(4);
  static const std::vector<std::string> kParts = {"a", "b",    " ",  "\xC3\xA9", "\xE2\x96\x81",
                                                  "x", "\xFF", "\n", "ab",       "a"};
  for (int i = 0; i < 400 && !HasFatalFailure(); ++i) {
    const SentencePieceModel model = RandomModel(GetParam(), random);
    SCOPED_TRACE(fmt::format("model {}: dummy {} trims {} escapes {} suffix {} bytes {}", i,
                             model.add_dummy_prefix, model.remove_extra_whitespaces,
                             model.escape_whitespaces, model.treat_whitespace_as_suffix,
                             model.byte_fallback));
    const Pair pair(ModelBytes(model));
    pair.ExpectEqualSpecials();
    for (int j = 0; j < 60 && !HasFatalFailure(); ++j) {
      std::string text;
      for (size_t n = random.Below(20); n > 0; --n) text += random.OneOf(kParts);
      pair.ExpectEqual(text);
      pair.ExpectEqual(random.SomeIds(pair));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Algorithms, RandomModelTest,
                         testing::Values(SentencePieceAlgorithm::kUnigram,
                                         SentencePieceAlgorithm::kBpe,
                                         SentencePieceAlgorithm::kChar),
                         [](const auto& info) {
                           return info.param == SentencePieceAlgorithm::kUnigram ? "Unigram"
                                  : info.param == SentencePieceAlgorithm::kBpe   ? "Bpe"
                                                                                 : "Char";
                         });

}  // namespace
}  // namespace puzzle
