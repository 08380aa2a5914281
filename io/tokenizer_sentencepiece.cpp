#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/sentencepiece_model.h"
#include "io/sentencepiece_segmenter.h"
#include "io/tokenizer.h"
#include "io/tokenizer_config.h"
#include "io/tokenizer_limits.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

using Segment = SentencePieceSegmenter::Segment;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string model_bytes, std::map<std::string, std::string> others);

  std::vector<int32_t> Encode(std::string_view text) const override;
  std::string Decode(std::span<const int32_t> ids) const override;

  int32_t vocab_size() const override { return vocab_size_; }
  int32_t bos_id() const override { return bos_id_; }
  int32_t eos_id() const override { return eos_id_; }
  int32_t leading_id() const override { return adds_bos_ ? bos_id_ : -1; }
  std::string_view kind() const override { return "sentencepiece"; }
  const std::map<std::string, std::string>& files() const override { return files_; }

 private:
  [[nodiscard]] int32_t n_pieces() const { return static_cast<int32_t>(model_.pieces.size()); }
  [[nodiscard]] int32_t PieceNamed(std::string_view text) const;
  [[nodiscard]] int32_t SpecialId(const std::string& text, const char* role) const;
  void TakeAdded(std::vector<AddedToken> added);
  /// What is no added token.
  void EncodePlain(std::string_view text, bool has_prefix, std::vector<int32_t>& ids) const;
  /// Takes a user-defined piece or a character off the front of `text`.
  std::string_view TakeFirst(std::string_view& text) const;
  /// `has_prefix`: the model's dummy, where it has one, goes to this text.
  std::string Normalize(std::string_view text, bool has_prefix) const;
  void AppendIds(const Segment& segment, std::vector<int32_t>& ids) const;

  const SentencePieceModel model_;
  const SentencePieceSegmenter segmenter_;
  std::unordered_map<std::string_view, int32_t> piece_ids_;
  std::array<int32_t, 256> byte_ids_ = {};
  AddedTokens added_;  // found in text before the model sees it
  std::unordered_map<int32_t, std::string> added_texts_;
  std::unordered_set<int32_t> special_;
  bool prefixes_all_ = true;  // every text between added tokens gets the dummy, not only the first
  int32_t vocab_size_ = 0;
  int32_t bos_id_ = -1;
  int32_t eos_id_ = -1;
  bool adds_bos_ = true;
  std::map<std::string, std::string> files_;
};

SentencePieceTokenizer::SentencePieceTokenizer(std::string model_bytes,
                                               std::map<std::string, std::string> others)
    : model_(ParseSentencePieceModel(model_bytes)),
      segmenter_(model_),
      vocab_size_(n_pieces()),
      files_(std::move(others)) {
  std::string bos = model_.bos_piece, eos = model_.eos_piece;
  for (int32_t id = 0; id < n_pieces(); ++id) {
    const auto& [text, score, type] = model_.pieces[id];
    piece_ids_.emplace(text, id);
    if (type == PieceType::kByte) byte_ids_[ByteOfPiece(text)] = id;
    if (type == PieceType::kControl && text == bos) bos_id_ = id;
    if (type == PieceType::kControl && text == eos) eos_id_ = id;
  }
  files_["tokenizer.model"] = std::move(model_bytes);
  std::vector<AddedToken> added = ReadTokensBeside(files_);
  for (const std::string& text : ReadSpecialTexts(files_)) {
    const auto same = std::find_if(added.begin(), added.end(),
                                   [&](const AddedToken& token) { return token.text == text; });
    const int32_t id = PieceNamed(text);
    if (same != added.end()) {
      same->special = true;
    } else if (id >= 0) {
      added.push_back({.text = text, .id = id, .special = true});
    }
  }
  TakeAdded(std::move(added));
  ReadSpecialTokens(files_, bos, eos);
  if (bos != model_.bos_piece) bos_id_ = SpecialId(bos, "bos_token");
  if (eos != model_.eos_piece) eos_id_ = SpecialId(eos, "eos_token");
  adds_bos_ = ReadAddBosToken(files_).value_or(true);
  prefixes_all_ = ReadConfigFlag(files_, "legacy").value_or(true);
}

int32_t SentencePieceTokenizer::PieceNamed(std::string_view text) const {
  const auto found = piece_ids_.find(text);
  return found == piece_ids_.end() ? -1 : found->second;
}

int32_t SentencePieceTokenizer::SpecialId(const std::string& text, const char* role) const {
  if (text.empty()) return -1;
  for (const auto& [id, own] : added_texts_)
    if (own == text) return id;
  const int32_t id = PieceNamed(text);
  if (id < 0) throw Error(fmt::format("tokenizer_config.json: {} \"{}\" is no token", role, text));
  return id;
}

void SentencePieceTokenizer::TakeAdded(std::vector<AddedToken> added) {
  for (const AddedToken& token : added) {
    const auto fail = [&](const std::string& what) {
      throw Error(fmt::format("tokenizer.model: added token \"{}\" with id {}: {}", token.text,
                              token.id, what));
    };
    if (token.text.empty() || token.text.size() > AddedTokens::kMaxBytes)
      fail(
          fmt::format("has {} bytes, expected 1 to {}", token.text.size(), AddedTokens::kMaxBytes));
    if (token.id < 0 || token.id > kMaxTokenId)
      fail(fmt::format("expected an id of 0 to {}", kMaxTokenId));
    const bool is_piece = token.id < n_pieces();
    if (is_piece ? model_.pieces[token.id].text != token.text : PieceNamed(token.text) >= 0)
      fail("the id or the text is another piece's");
    if (!added_texts_.emplace(token.id, token.text).second) fail("the id is there twice");
    if (token.special) special_.insert(token.id);
    vocab_size_ = std::max(vocab_size_, token.id + 1);
  }
  std::unordered_set<std::string_view> texts;
  for (const AddedToken& token : added)
    if (!texts.insert(token.text).second)
      throw Error(fmt::format("tokenizer.model: added token \"{}\" is there twice", token.text));
  added_ = AddedTokens(std::move(added));
}

std::string_view SentencePieceTokenizer::TakeFirst(std::string_view& text) const {
  size_t length = segmenter_.user_defined().LongestPrefix(text);
  if (length == 0) length = Utf8Length(text);
  const std::string_view first = length == 0 ? kReplacementCharacter : text.substr(0, length);
  text.remove_prefix(std::max<size_t>(length, 1));
  return first;
}

/// Repairs what is not UTF-8, and says spaces as the pieces do.
std::string SentencePieceTokenizer::Normalize(std::string_view text, bool has_prefix) const {
  const bool trims = model_.remove_extra_whitespaces;
  const std::string_view space = model_.escape_whitespaces ? kSpaceSymbol : " ";
  for (std::string_view rest = text; trims && !text.empty(); text = rest) {
    if (TakeFirst(rest) != " ") break;
  }
  std::string normalized;
  if (text.empty()) return normalized;
  normalized.reserve(text.size() + text.size() / 2);
  const bool adds_dummy = model_.add_dummy_prefix && has_prefix;
  if (adds_dummy && !model_.treat_whitespace_as_suffix) normalized += space;

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
  if (adds_dummy && model_.treat_whitespace_as_suffix) normalized += space;
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
  std::vector<int32_t> ids;
  if (added_.tokens().empty()) {
    EncodePlain(text, true, ids);
    return ids;
  }
  const std::string repaired = RepairUtf8(text);
  bool is_first = true;
  for (const AddedTokens::Part& part : added_.Split(repaired)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      EncodePlain(part.text, is_first || prefixes_all_, ids);
    }
    is_first = false;
  }
  return ids;
}

void SentencePieceTokenizer::EncodePlain(std::string_view text, bool has_prefix,
                                         std::vector<int32_t>& ids) const {
  const std::string normalized = Normalize(text, has_prefix);
  std::vector<Segment> segments;
  if (!segmenter_.may_cut_words()) {
    segmenter_.Cut(normalized, segments);
    for (const Segment& segment : segments) AppendIds(segment, ids);
    return;
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
    if (const auto added = added_texts_.find(id); added != added_texts_.end()) {
      flush();
      if (!special_.contains(id)) text += added->second;
      continue;
    }
    if (id >= n_pieces()) continue;  // between pieces and added tokens there are ids of no token
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
