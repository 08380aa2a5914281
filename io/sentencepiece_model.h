// What a SentencePiece `tokenizer.model` says. Everything here is thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace puzzle {

/// How a piece is used; the numbers are those of the file, and of GGUF.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// How a text is cut into pieces; the numbers are those of the file.
enum class SentencePieceAlgorithm : uint8_t { kUnigram = 1, kBpe = 2, kChar = 4 };

struct SentencePiece {
  std::string text;  // not empty, valid UTF-8, without NUL
  float score = 0;   // finite
  PieceType type = PieceType::kNormal;
};

/// A model; the id of a piece is its index. No two pieces have the same text, exactly one is of
/// type kUnknown, and the 256 byte pieces are all there or none of them, see `byte_fallback`.
struct SentencePieceModel {
  std::vector<SentencePiece> pieces;
  SentencePieceAlgorithm algorithm = SentencePieceAlgorithm::kUnigram;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  std::string unk_surface = " \xE2\x81\x87 ";
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// The value of a byte piece, whose text is "<0x00>" to "<0xFF>"; -1 for other texts.
[[nodiscard]] int ByteOfPiece(std::string_view text);

/// Reads the bytes of a `tokenizer.model`. Throws Error when they are damaged, or ask for what is
/// not supported here: the algorithm WORD, and normalisation rules (any but "identity").
[[nodiscard]] SentencePieceModel ParseSentencePieceModel(std::string_view bytes);

}  // namespace puzzle
