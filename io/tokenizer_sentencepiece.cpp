#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/sentencepiece_model.h"
#include "io/sentencepiece_segmenter.h"
#include "io/tokenizer.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

using Segment = SentencePieceSegmenter::Segment;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string model_bytes, std::map<std::string, std::string> others)
      : model_(ParseSentencePieceModel(model_bytes)),
        segmenter_(model_),
        files_(std::move(others)) {
    for (int32_t id = 0; id < vocab_size(); ++id) {
      const auto& [text, score, type] = model_.pieces[id];
      if (type == PieceType::kByte) byte_ids_[ByteOfPiece(text)] = id;
      if (type == PieceType::kControl && text == model_.bos_piece) bos_id_ = id;
      if (type == PieceType::kControl && text == model_.eos_piece) eos_id_ = id;
    }
    files_["tokenizer.model"] = std::move(model_bytes);
  }

  std::vector<int32_t> Encode(std::string_view text) const override;
  std::string Decode(std::span<const int32_t> ids) const override;

  int32_t vocab_size() const override { return static_cast<int32_t>(model_.pieces.size()); }
  int32_t bos_id() const override { return bos_id_; }
  int32_t eos_id() const override { return eos_id_; }
  std::string_view kind() const override { return "sentencepiece"; }
  const std::map<std::string, std::string>& files() const override { return files_; }

 private:
  /// Takes a user-defined piece or a character off the front of `text`.
  std::string_view TakeFirst(std::string_view& text) const;
  std::string Normalize(std::string_view text) const;
  void AppendIds(const Segment& segment, std::vector<int32_t>& ids) const;

  const SentencePieceModel model_;
  const SentencePieceSegmenter segmenter_;
  std::array<int32_t, 256> byte_ids_ = {};
  int32_t bos_id_ = -1;
  int32_t eos_id_ = -1;
  std::map<std::string, std::string> files_;
};

std::string_view SentencePieceTokenizer::TakeFirst(std::string_view& text) const {
  size_t length = segmenter_.user_defined().LongestPrefix(text);
  if (length == 0) length = Utf8Length(text);
  const std::string_view first = length == 0 ? kReplacementCharacter : text.substr(0, length);
  text.remove_prefix(std::max<size_t>(length, 1));
  return first;
}

/// Repairs what is not UTF-8, and says spaces as the pieces do.
std::string SentencePieceTokenizer::Normalize(std::string_view text) const {
  const bool trims = model_.remove_extra_whitespaces;
  const std::string_view space = model_.escape_whitespaces ? kSpaceSymbol : " ";
  for (std::string_view rest = text; trims && !text.empty(); text = rest) {
    if (TakeFirst(rest) != " ") break;
  }
  std::string normalized;
  if (text.empty()) return normalized;
  normalized.reserve(text.size() + text.size() / 2);
  if (model_.add_dummy_prefix && !model_.treat_whitespace_as_suffix) normalized += space;

  bool after_space = trims;
  while (!text.empty()) {
    std::string_view taken = TakeFirst(text);
    while (after_space && taken.starts_with(' ')) taken.remove_prefix(1);
    if (taken.empty()) continue;
    for (const char c : taken) {
      if (c == ' ') {
        normalized += space;
      } else {
        normalized += c;
      }
    }
    after_space = trims && taken.ends_with(' ');
  }
  while (trims && normalized.ends_with(space)) normalized.erase(normalized.size() - space.size());
  if (model_.add_dummy_prefix && model_.treat_whitespace_as_suffix) normalized += space;
  return normalized;
}

/// Unknown segments become bytes, or else a run of them one id.
void SentencePieceTokenizer::AppendIds(const Segment& segment, std::vector<int32_t>& ids) const {
  if (segment.id != segmenter_.unknown_id()) {
    ids.push_back(segment.id);
  } else if (model_.byte_fallback) {
    for (const char c : segment.text) ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
  } else if (ids.empty() || ids.back() != segment.id) {
    ids.push_back(segment.id);
  }
}

std::vector<int32_t> SentencePieceTokenizer::Encode(std::string_view text) const {
  const std::string normalized = Normalize(text);
  std::vector<int32_t> ids;
  std::vector<Segment> segments;
  if (!segmenter_.may_cut_words()) {
    segmenter_.Cut(normalized, segments);
    for (const Segment& segment : segments) AppendIds(segment, ids);
    return ids;
  }
  // Most words occur again and again: each is cut once.
  std::unordered_map<std::string_view, std::pair<size_t, size_t>> known;  // range in `segments`
  for (std::string_view rest = normalized; !rest.empty();) {
    size_t end = 0;
    while (rest.substr(end).starts_with(kSpaceSymbol)) end += kSpaceSymbol.size();
    end = std::min(rest.find(kSpaceSymbol, end), rest.size());
    const auto [word, is_new] = known.try_emplace(rest.substr(0, end));
    if (is_new) {
      const size_t begin = segments.size();
      segmenter_.Cut(word->first, segments);
      word->second = {begin, segments.size()};
    }
    for (size_t i = word->second.first; i < word->second.second; ++i) AppendIds(segments[i], ids);
    rest.remove_prefix(end);
  }
  return ids;
}

std::string SentencePieceTokenizer::Decode(std::span<const int32_t> ids) const {
  std::string text;
  std::string bytes;  // of a run of byte pieces
  const auto flush = [&] {
    for (std::string_view rest = bytes; !rest.empty();) {
      const size_t length = Utf8Length(rest);
      text += length == 0 ? kReplacementCharacter : rest.substr(0, length);
      rest.remove_prefix(std::max<size_t>(length, 1));
    }
    bytes.clear();
  };
  const bool strips_all = model_.remove_extra_whitespaces;
  bool strips = strips_all || model_.add_dummy_prefix;
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      throw Error(fmt::format("tokenizer.model: id {} is not in [0, {})", id, vocab_size()));
    }
    const SentencePiece& piece = model_.pieces[id];
    if (piece.type == PieceType::kByte) {
      bytes += static_cast<char>(ByteOfPiece(piece.text));
      continue;
    }
    flush();
    if (piece.type == PieceType::kControl) continue;
    if (piece.type == PieceType::kUnknown) {
      text += model_.unk_surface;
      continue;
    }
    std::string_view rest = piece.text;
    strips = strips && text.empty();
    if (strips && rest.starts_with(kSpaceSymbol)) {
      rest.remove_prefix(kSpaceSymbol.size());
      strips = strips_all;  // else only the dummy
    }
    while (!rest.empty()) {
      const size_t plain = std::min(rest.find(kSpaceSymbol), rest.size());
      text += rest.substr(0, plain);
      rest.remove_prefix(plain);
      if (rest.empty()) break;
      text += ' ';
      rest.remove_prefix(kSpaceSymbol.size());
    }
  }
  flush();
  return text;
}

}  // namespace

std::shared_ptr<const Tokenizer> MakeSentencePieceTokenizer(
    std::string model_bytes, std::map<std::string, std::string> others) {
  return std::make_shared<SentencePieceTokenizer>(std::move(model_bytes), std::move(others));
}

}  // namespace puzzle
