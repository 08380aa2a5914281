#include "io/sentencepiece_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/io/sentencepiece_bytes.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr auto kBpe = SentencePieceAlgorithm::kBpe;

std::string Refusal(const std::string& bytes) {
  return ErrorOf([&] { (void)ParseSentencePieceModel(bytes); });
}

/// A model with one more piece.
std::string With(const SentencePiece& piece) {
  return ModelBytes(ModelOf(kBpe, false, {{"a"}, piece}));
}

TEST(SentencePieceModelTest, EverythingComesBack) {
  SentencePieceModel written = ModelOf(kBpe, true, {{"\xE2\x96\x81", -1.5f}, {"a", -2}});
  written.pieces.push_back({"b", 3, PieceType::kUserDefined});
  written.pieces.push_back({"c", -4, PieceType::kUnused});
  written.treat_whitespace_as_suffix = true;
  written.bos_piece = "<begin>";
  written.eos_piece = "<end>";
  written.unk_surface = "?";
  written.add_dummy_prefix = false;
  written.remove_extra_whitespaces = false;
  written.escape_whitespaces = false;
  const SentencePieceModel read = ParseSentencePieceModel(ModelBytes(written));
  ASSERT_EQ(read.pieces.size(), written.pieces.size());
  for (size_t i = 0; i < read.pieces.size(); ++i) {
    EXPECT_EQ(read.pieces[i].text, written.pieces[i].text);
    EXPECT_EQ(read.pieces[i].score, written.pieces[i].score);
    EXPECT_EQ(read.pieces[i].type, written.pieces[i].type);
  }
  EXPECT_EQ(ModelBytes(read), ModelBytes(written));
}

TEST(SentencePieceModelTest, WhatIsNotSaidHasItsDefault) {
  const SentencePieceModel read = ParseSentencePieceModel(
      PieceBytes({"<unk>", 0, PieceType::kUnknown}) + ProtoField(1, ProtoField(1, "a")));
  EXPECT_EQ(read.pieces[1].score, 0);
  EXPECT_EQ(read.pieces[1].type, PieceType::kNormal);
  EXPECT_EQ(read.algorithm, SentencePieceAlgorithm::kUnigram);
  EXPECT_FALSE(read.byte_fallback);
  EXPECT_EQ(read.unk_surface, " \xE2\x81\x87 ");
  EXPECT_TRUE(read.add_dummy_prefix && read.remove_extra_whitespaces && read.escape_whitespaces);
}

TEST(SentencePieceModelTest, FieldsOfOtherVersionsAreSkipped) {
  const std::string fixed64 = ProtoVarint(99 << 3 | 1) + std::string(8, 'x');
  const std::string extra =
      ProtoField(100, 7) + ProtoField(101, "later") + ProtoFloat(102, 1) + fixed64;
  const std::string bytes = ModelBytes(ModelOf(kBpe, false, {{"a"}})) + extra +
                            ProtoField(2, extra) + ProtoField(3, extra) +
                            ProtoField(1, ProtoField(1, "b") + extra);
  EXPECT_EQ(ParseSentencePieceModel(bytes).pieces.size(), 5u);
}

TEST(SentencePieceModelTest, NoNormalizationRulesAreSupported) {
  const std::string model = ModelBytes(ModelOf(kBpe, false, {{"a"}}));
  const std::string rules = ProtoField(1, "nmt_nfkc") + ProtoField(2, "rules");
  EXPECT_THAT(Refusal(model + ProtoField(3, rules)),
              AllOf(HasSubstr("normalizer 'nmt_nfkc'"), HasSubstr("identity")));
  EXPECT_THAT(Refusal(model + ProtoField(5, rules)), HasSubstr("denormalizer 'nmt_nfkc'"));
  EXPECT_EQ(ParseSentencePieceModel(model + ProtoField(5, "")).pieces.size(), 4u);
}

TEST(SentencePieceModelTest, OtherAlgorithmsAreRefused) {
  const std::string model = ModelBytes(ModelOf(kBpe, false, {{"a"}}));
  for (const uint64_t type : {uint64_t{0}, uint64_t{3}, uint64_t{5}, UINT64_MAX}) {
    EXPECT_THAT(Refusal(model + ProtoField(2, ProtoField(3, type))),
                HasSubstr("model type " + std::to_string(type) + " is not supported"));
  }
}

TEST(SentencePieceModelTest, PiecesThatCannotBeAreRefused) {
  const SentencePieceModel bytes = ModelOf(kBpe, true, {{"a"}});
  SentencePieceModel no_unknown = ModelOf(kBpe, false, {{"a"}});
  no_unknown.pieces.erase(no_unknown.pieces.begin());
  SentencePieceModel one_byte_short = bytes;
  one_byte_short.pieces.erase(one_byte_short.pieces.begin() + 100);
  SentencePieceModel no_fallback = bytes;
  no_fallback.byte_fallback = false;

  const struct {
    std::string bytes, why;
  } cases[] = {
      {With({""}), "piece 4: has 0 bytes"},
      {With({std::string(513, 'x')}), "piece 4: has 513 bytes, expected 1 to 512"},
      {With({"\xFF"}), "piece 4: is not valid UTF-8"},
      {With({"\xC0\x80"}), "piece 4: is not valid UTF-8"},
      {With({"\xED\xA0\x80"}), "piece 4: is not valid UTF-8"},
      {With({std::string("x\0", 2)}), "without NUL"},
      {With({"x", std::nanf("")}), "piece 4: its score is nan"},
      {With({"x", std::numeric_limits<float>::infinity()}), "piece 4: its score is inf"},
      {With({"x", 0, static_cast<PieceType>(0)}), "piece 4: type 0 is not in 1 to 6"},
      {With({"x", 0, static_cast<PieceType>(7)}), "piece 4: type 7 is not in 1 to 6"},
      {With({"a"}), "has piece 'a' twice"},
      {With({"<s>"}), "has piece '<s>' twice"},
      {With({"x", 0, PieceType::kUnknown}), "has 2 pieces of type unknown"},
      {With({"<0x0A>", 0, PieceType::kByte}), "has 1 byte pieces, expected 0"},
      {With({"<0x0a>", 0, PieceType::kByte}), "'<0x0a>' is no byte piece"},
      {ModelBytes(no_unknown), "has 0 pieces of type unknown"},
      {ModelBytes(one_byte_short), "has 255 byte pieces, expected 256"},
      {ModelBytes(no_fallback), "has 256 byte pieces, expected 0"},
      {ProtoField(2, ""), "has no pieces"},
  };
  for (const auto& [model, why] : cases) {
    EXPECT_THAT(Refusal(model), AllOf(HasSubstr("tokenizer.model: "), HasSubstr(why)));
  }
}

TEST(SentencePieceModelTest, TooManyPiecesAreRefused) {
  std::string bytes;
  const std::string piece = ProtoField(1, ProtoField(1, "a"));
  for (int i = 0; i <= 1 << 21; ++i) bytes += piece;
  EXPECT_THAT(Refusal(bytes), HasSubstr("more than 2097152 pieces"));
}

TEST(SentencePieceModelTest, WhatIsNoProtobufIsRefused) {
  const std::string model = ModelBytes(ModelOf(kBpe, false, {{"a"}}));
  const std::string longer_than_the_file = ProtoVarint(1 << 3 | 2) + ProtoVarint(UINT64_MAX);
  for (const std::string& tail : {
           std::string("\xFF"),               // cut inside of a tag
           std::string(10, '\xFF') + "\x01",  // a number of more than 64 bits
           std::string("\x0B"),
           std::string("\x0C"),
           std::string("\x0E"),
           std::string("\x0F"),
           std::string(2, '\0'),  // field 0
           std::string("\x0A"),
           std::string("\x0A\x05"
                       "a"),
           longer_than_the_file,
           ProtoField(1, 1),
           ProtoField(2, 1),
           ProtoFloat(3, 1),                                      // not as bytes
           ProtoField(1, ProtoField(1, "x") + ProtoField(2, 1)),  // the score not as float
           ProtoField(2, ProtoField(35, "")),
           ProtoField(2, "\x18"),
           ProtoField(3, "\x12\x7F"),
       }) {
    EXPECT_THAT(Refusal(model + tail), HasSubstr("is not a SentencePiece model, or is damaged"));
  }
  EXPECT_THAT(Refusal(""), HasSubstr("has 0 bytes"));
}

TEST(SentencePieceModelTest, CutAnywhereItIsAModelOrAnError) {
  const std::string whole = ModelBytes(ModelOf(kBpe, true, {{"a"}, {"b"}, {"ab", 1}}));
  for (size_t size = 0; size < whole.size(); ++size) {
    try {
      (void)ParseSentencePieceModel(whole.substr(0, size));
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("tokenizer.model"));
    }
  }
}

}  // namespace
}  // namespace puzzle
