#include "io/sentencepiece_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <cstring>
#include <string>
#include <unordered_set>

#include "io/error.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

constexpr size_t kMaxModelBytes = 256 << 20;
constexpr size_t kMaxPieces = 1 << 21;
constexpr size_t kMaxPieceBytes = 512;  // each place of a text is compared with all of one

[[noreturn]] void Refuse(const std::string& what) {
  throw Error(fmt::format("tokenizer.model: {}", what));
}

/// Walks over the fields of one protobuf message. The spans that it hands out point into it.
class MessageReader {
 public:
  explicit MessageReader(std::string_view message) : rest_(message) {}

  /// Moves to the next field; false at the end. The field before has to be taken or skipped.
  bool Next() {
    if (rest_.empty()) return false;
    const uint64_t tag = TakeVarint();
    number_ = tag >> 3;
    wire_type_ = tag & 7;
    if (number_ == 0) Malformed();
    return true;
  }

  [[nodiscard]] uint64_t number() const { return number_; }

  uint64_t Varint() {
    Expect(0);
    return TakeVarint();
  }
  bool Bool() { return Varint() != 0; }
  std::string_view Bytes() {
    Expect(2);
    return Take(TakeVarint());
  }
  float Float() {
    Expect(5);
    float value;
    std::memcpy(&value, Take(sizeof(value)).data(), sizeof(value));
    return value;
  }

  void Skip() {
    if (wire_type_ == 0) {
      TakeVarint();
    } else if (wire_type_ == 2) {
      Take(TakeVarint());
    } else if (wire_type_ == 1 || wire_type_ == 5) {
      Take(wire_type_ == 1 ? 8 : 4);
    } else {
      Malformed();
    }
  }

 private:
  static_assert(std::endian::native == std::endian::little, "numbers are little-endian");

  [[noreturn]] static void Malformed() { Refuse("is not a SentencePiece model, or is damaged"); }

  void Expect(uint64_t wire_type) const {
    if (wire_type_ != wire_type) Malformed();
  }

  std::string_view Take(uint64_t count) {
    if (count > rest_.size()) Malformed();
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }

  uint64_t TakeVarint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(Take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    Malformed();
  }

  std::string_view rest_;
  uint64_t number_ = 0;
  uint64_t wire_type_ = 0;
};

// The numbers below are those of sentencepiece_model.proto.

SentencePiece ParsePiece(std::string_view message, size_t id) {
  SentencePiece piece;
  uint64_t type = static_cast<uint64_t>(piece.type);
  for (MessageReader reader(message); reader.Next();) {
    switch (reader.number()) {
      case 1:
        piece.text = reader.Bytes();
        break;
      case 2:
        piece.score = reader.Float();
        break;
      case 3:
        type = reader.Varint();
        break;
      default:
        reader.Skip();
    }
  }
  if (type < 1 || type > 6) Refuse(fmt::format("piece {}: type {} is not in 1 to 6", id, type));
  piece.type = static_cast<PieceType>(type);
  if (piece.text.empty() || piece.text.size() > kMaxPieceBytes) {
    Refuse(fmt::format("piece {}: has {} bytes, expected 1 to {}", id, piece.text.size(),
                       kMaxPieceBytes));
  }
  if (!IsUtf8(piece.text) || piece.text.find('\0') != std::string::npos) {
    Refuse(fmt::format("piece {}: is not valid UTF-8 without NUL", id));
  }
  if (!std::isfinite(piece.score)) {
    Refuse(fmt::format("piece {}: its score is {}, expected a finite number", id, piece.score));
  }
  return piece;
}

void ParseTrainerSpec(std::string_view message, SentencePieceModel& model) {
  for (MessageReader reader(message); reader.Next();) {
    switch (reader.number()) {
      case 3: {
        const uint64_t algorithm = reader.Varint();
        if (algorithm != 1 && algorithm != 2 && algorithm != 4) {
          Refuse(fmt::format("model type {} is not supported, only 1 (unigram), 2 (BPE), 4 (char)",
                             algorithm));
        }
        model.algorithm = static_cast<SentencePieceAlgorithm>(algorithm);
        break;
      }
      case 24:
        model.treat_whitespace_as_suffix = reader.Bool();
        break;
      case 35:
        model.byte_fallback = reader.Bool();
        break;
      case 44:
        model.unk_surface = reader.Bytes();
        break;
      case 46:
        model.bos_piece = reader.Bytes();
        break;
      case 47:
        model.eos_piece = reader.Bytes();
        break;
      default:
        reader.Skip();
    }
  }
}

/// Also reads the denormalizer's, of which only the rules matter: there must be none.
void ParseNormalizerSpec(std::string_view message, const char* which, SentencePieceModel& model) {
  std::string_view name = "unnamed";
  bool has_rules = false;
  for (MessageReader reader(message); reader.Next();) {
    switch (reader.number()) {
      case 1:
        name = reader.Bytes();
        break;
      case 2:
        has_rules = !reader.Bytes().empty();
        break;
      case 3:
        model.add_dummy_prefix = reader.Bool();
        break;
      case 4:
        model.remove_extra_whitespaces = reader.Bool();
        break;
      case 5:
        model.escape_whitespaces = reader.Bool();
        break;
      default:
        reader.Skip();
    }
  }
  if (has_rules) {
    Refuse(fmt::format("{} '{}' is not supported, only 'identity'", which,
                       IsUtf8(name) ? name : "unnamed"));
  }
}

/// A line of base64, a space, a number.
bool LooksLikeTiktoken(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, std::min(bytes.find('\n'), bytes.size()));
  const size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos || space + 1 == line.size()) return false;
  const auto is_base64 = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '+' || c == '/' || c == '=';
  };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return std::all_of(line.begin(), line.begin() + static_cast<ptrdiff_t>(space), is_base64) &&
         std::all_of(line.begin() + static_cast<ptrdiff_t>(space) + 1, line.end(), is_digit);
}

void CheckPieces(const SentencePieceModel& model) {
  if (model.pieces.empty()) Refuse("has no pieces");
  std::unordered_set<std::string_view> texts;
  size_t unknowns = 0;
  size_t bytes = 0;
  for (const SentencePiece& piece : model.pieces) {
    if (!texts.insert(piece.text).second) Refuse(fmt::format("has piece '{}' twice", piece.text));
    unknowns += piece.type == PieceType::kUnknown;
    if (piece.type != PieceType::kByte) continue;
    ++bytes;
    if (ByteOfPiece(piece.text) < 0) Refuse(fmt::format("'{}' is no byte piece", piece.text));
  }
  if (unknowns != 1) Refuse(fmt::format("has {} pieces of type unknown, expected 1", unknowns));
  if (bytes != (model.byte_fallback ? 256 : 0)) {
    Refuse(fmt::format("has {} byte pieces, expected {}", bytes, model.byte_fallback ? 256 : 0));
  }
}

}  // namespace

int ByteOfPiece(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && (c < 'A' || c > 'F')) return -1;
    value = value * 16 + (is_digit ? c - '0' : c - 'A' + 10);
  }
  return value;
}

SentencePieceModel ParseSentencePieceModel(std::string_view bytes) {
  if (LooksLikeTiktoken(bytes)) {
    Refuse("is a tiktoken file (lines of base64), not SentencePiece; a tokenizer.json is needed");
  }
  if (bytes.empty() || bytes.size() > kMaxModelBytes) {
    Refuse(fmt::format("has {} bytes, expected 1 to {}", bytes.size(), kMaxModelBytes));
  }
  SentencePieceModel model;
  SentencePieceModel ignored;  // what a denormalizer says about spaces
  for (MessageReader reader(bytes); reader.Next();) {
    switch (reader.number()) {
      case 1:
        if (model.pieces.size() == kMaxPieces) {
          Refuse(fmt::format("has more than {} pieces", kMaxPieces));
        }
        model.pieces.push_back(ParsePiece(reader.Bytes(), model.pieces.size()));
        break;
      case 2:
        ParseTrainerSpec(reader.Bytes(), model);
        break;
      case 3:
        ParseNormalizerSpec(reader.Bytes(), "normalizer", model);
        break;
      case 5:
        ParseNormalizerSpec(reader.Bytes(), "denormalizer", ignored);
        break;
      default:
        reader.Skip();
    }
  }
  if (model.bos_piece.empty()) model.bos_piece = SentencePieceModel().bos_piece;
  if (model.eos_piece.empty()) model.eos_piece = SentencePieceModel().eos_piece;
  CheckPieces(model);
  return model;
}

}  // namespace puzzle
