// Writes `tokenizer.model` files for the tests, sound and otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/sentencepiece_model.h"

namespace puzzle {

inline std::string ProtoVarint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

/// Protobuf fields: a number, bytes, a float.
inline std::string ProtoField(uint64_t number, uint64_t value) {
  return ProtoVarint(number << 3) + ProtoVarint(value);
}
inline std::string ProtoField(uint64_t number, const std::string& bytes) {
  return ProtoVarint(number << 3 | 2) + ProtoVarint(bytes.size()) + bytes;
}
inline std::string ProtoFloat(uint64_t number, float value) {
  return ProtoVarint(number << 3 | 5) +
         std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline std::string PieceBytes(const SentencePiece& piece) {
  return ProtoField(1, ProtoField(1, piece.text) + ProtoFloat(2, piece.score) +
                           ProtoField(3, static_cast<uint64_t>(piece.type)));
}

inline std::string ModelBytes(const SentencePieceModel& model) {
  std::string bytes;
  for (const SentencePiece& piece : model.pieces) bytes += PieceBytes(piece);
  bytes +=
      ProtoField(2, ProtoField(3, static_cast<uint64_t>(model.algorithm)) +
                        ProtoField(24, model.treat_whitespace_as_suffix) +
                        ProtoField(35, model.byte_fallback) + ProtoField(44, model.unk_surface) +
                        ProtoField(46, model.bos_piece) + ProtoField(47, model.eos_piece));
  bytes += ProtoField(3, ProtoField(1, "identity") + ProtoField(3, model.add_dummy_prefix) +
                             ProtoField(4, model.remove_extra_whitespaces) +
                             ProtoField(5, model.escape_whitespaces));
  return bytes;
}

/// A model of these pieces behind the usual three, and the bytes if it falls back to them.
inline SentencePieceModel ModelOf(SentencePieceAlgorithm algorithm, bool byte_fallback,
                                  const std::vector<SentencePiece>& pieces) {
  SentencePieceModel model;
  model.algorithm = algorithm;
  model.byte_fallback = byte_fallback;
  model.pieces = {{"<unk>", 0, PieceType::kUnknown},
                  {"<s>", 0, PieceType::kControl},
                  {"</s>", 0, PieceType::kControl}};
  for (int byte = 0; byte < (byte_fallback ? 256 : 0); ++byte) {
    const char* const digits = "0123456789ABCDEF";
    const std::string text = {'<', '0', 'x', digits[byte / 16], digits[byte % 16], '>'};
    model.pieces.push_back({text, 0, PieceType::kByte});
  }
  model.pieces.insert(model.pieces.end(), pieces.begin(), pieces.end());
  return model;
}

}  // namespace puzzle
