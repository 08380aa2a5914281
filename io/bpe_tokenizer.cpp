#include "io/bpe_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/tokenizer_limits.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

/// The byte of a token "<0x0A>".
std::optional<char> FallbackByte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  int byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(byte);
}

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(BpeParts parts, std::map<std::string, std::string> files, const std::string& where);

  std::vector<int32_t> Encode(std::string_view text) const override;
  std::string Decode(std::span<const int32_t> ids) const override;

  int32_t vocab_size() const override { return vocab_size_; }
  int32_t bos_id() const override { return bos_id_; }
  int32_t eos_id() const override { return eos_id_; }
  int32_t leading_id() const override { return leading_id_; }
  std::string_view kind() const override { return "bpe"; }
  const std::map<std::string, std::string>& files() const override { return files_; }

 private:
  void TakeAdded(std::vector<AddedToken> added, const std::string& where);
  int32_t IdOf(const std::string& text, const char* role, const std::string& where) const;
  /// What is no added token, in words, in tokens.
  void EncodePlain(std::string_view text, bool is_first, std::vector<int32_t>& ids) const;
  std::string DecodeBytes(std::span<const int32_t> ids) const;
  std::string DecodeCharacters(std::span<const int32_t> ids) const;

  const BpeModel model_;
  const Normalizer normalizer_;
  const PreTokenizer pre_tokenizer_;
  AddedTokens raw_;         // looked for in the text as it comes
  AddedTokens normalized_;  // looked for in normalised text
  std::unordered_map<int32_t, std::string> added_texts_;
  std::unordered_set<int32_t> special_;
  int32_t vocab_size_ = 0;
  int32_t bos_id_ = -1;
  int32_t eos_id_ = -1;
  int32_t leading_id_ = -1;
  bool strips_first_space_ = true;
  const std::map<std::string, std::string> files_;
};

BpeTokenizer::BpeTokenizer(BpeParts parts, std::map<std::string, std::string> files,
                           const std::string& where)
    : model_(std::move(parts.model)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      vocab_size_(model_.size()),
      strips_first_space_(parts.strips_first_space),
      files_(std::move(files)) {
  TakeAdded(std::move(parts.added), where);
  bos_id_ = IdOf(parts.bos, "bos_token", where);
  eos_id_ = IdOf(parts.eos, "eos_token", where);
  leading_id_ = IdOf(parts.leading, "the token before every text", where);
}

void BpeTokenizer::TakeAdded(std::vector<AddedToken> added, const std::string& where) {
  std::unordered_set<std::string> texts;
  std::vector<AddedToken> raw, normalized;
  for (AddedToken& token : added) {
    if (token.text.empty() || token.id < 0 || token.id > kMaxTokenId) {
      throw Error(
          fmt::format("{}: added token \"{}\" with id {}: expected a text and an id of 0 to "
                      "{}",
                      where, token.text, token.id, kMaxTokenId));
    }
    const int32_t own_id = model_.Find(token.text);
    const bool taken = (own_id >= 0 && own_id != token.id) ||
                       (own_id < 0 && token.id < model_.size() && !model_.TextOf(token.id).empty());
    if (taken || !added_texts_.emplace(token.id, token.text).second ||
        !texts.insert(token.text).second) {
      throw Error(fmt::format("{}: added token \"{}\": id {} or the text is another token's", where,
                              token.text, token.id));
    }
    if (token.special) special_.insert(token.id);
    vocab_size_ = std::max(vocab_size_, token.id + 1);
    if (token.normalized) token.text = normalizer_.Apply(token.text);
    if (token.text.empty() || token.text.size() > AddedTokens::kMaxBytes) {
      throw Error(fmt::format("{}: added token {} has {} bytes, expected 1 to {}", where, token.id,
                              token.text.size(), AddedTokens::kMaxBytes));
    }
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  raw_ = AddedTokens(std::move(raw));
  normalized_ = AddedTokens(std::move(normalized));
}

int32_t BpeTokenizer::IdOf(const std::string& text, const char* role,
                           const std::string& where) const {
  if (text.empty()) return -1;
  for (const auto& [id, added] : added_texts_) {
    if (added == text) return id;
  }
  const int32_t id = model_.Find(text);
  if (id < 0) throw Error(fmt::format("{}: {} \"{}\" is no token", where, role, text));
  return id;
}

std::vector<int32_t> BpeTokenizer::Encode(std::string_view text) const {
  // Documents may be large: what changes nothing makes no copy.
  std::string repaired;
  if (!IsUtf8(text)) text = repaired = RepairUtf8(text);
  std::vector<int32_t> ids;
  bool is_first = true;
  for (const AddedTokens::Part& part : raw_.Split(text)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      std::string changed;
      if (!normalizer_.empty()) changed = normalizer_.Apply(part.text);
      const std::string_view normal = normalizer_.empty() ? part.text : changed;
      for (const AddedTokens::Part& inner : normalized_.Split(normal)) {
        if (inner.id >= 0) {
          ids.push_back(inner.id);
        } else {
          EncodePlain(inner.text, is_first, ids);
        }
        is_first = false;
      }
    }
    is_first = false;
  }
  return ids;
}

void BpeTokenizer::EncodePlain(std::string_view text, bool is_first,
                               std::vector<int32_t>& ids) const {
  constexpr size_t kPieceBytes = 1 << 20;
  constexpr size_t kMaxKnown = 1 << 17;
  std::string prepared;
  if (pre_tokenizer_.prepares())
    text = prepared = pre_tokenizer_.Prepare(std::string(text), is_first);
  // Most words occur again and again: each is encoded once, as long as there are not too many.
  std::unordered_map<std::string_view, std::pair<size_t, size_t>> known;  // range in `ids`
  size_t encoded_bytes = 0;
  const size_t before = ids.size();
  pre_tokenizer_.WordsInPieces(text, kPieceBytes, [&](const auto& words) {
    if (known.size() > kMaxKnown) known.clear();
    for (const std::string_view word : words) {
      const auto [entry, is_new] = known.try_emplace(word);
      const size_t begin = ids.size();
      if (is_new) {
        model_.Encode(word, ids);
        entry->second = {begin, ids.size()};
      } else {
        const auto [first, last] = entry->second;
        ids.resize(begin + last - first);
        std::copy(ids.begin() + static_cast<ptrdiff_t>(first),
                  ids.begin() + static_cast<ptrdiff_t>(last),
                  ids.begin() + static_cast<ptrdiff_t>(begin));
      }
      encoded_bytes += word.size();
    }
    // Room for the rest, if it is like what was seen: growing by doubling takes three times as
    // much.
    if (encoded_bytes > 0 && encoded_bytes < text.size())
      ids.reserve(before + static_cast<size_t>(1.02 * static_cast<double>(ids.size() - before) *
                                               static_cast<double>(text.size()) /
                                               static_cast<double>(encoded_bytes)));
  });
}

std::string BpeTokenizer::Decode(std::span<const int32_t> ids) const {
  std::vector<int32_t> shown;
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size_) {
      throw Error(fmt::format("tokenizer: id {} is not in [0, {})", id, vocab_size_));
    }
    if (!special_.contains(id)) shown.push_back(id);
  }
  return model_.options().byte_level ? DecodeBytes(shown) : DecodeCharacters(shown);
}

std::string BpeTokenizer::DecodeBytes(std::span<const int32_t> ids) const {
  std::string bytes;
  for (const int32_t id : ids) {
    const auto added = added_texts_.find(id);
    if (added != added_texts_.end()) {
      bytes += added->second;
    } else if (id < model_.size()) {  // between model and added tokens there are ids of no token
      bytes += model_.BytesOf(id);
    }
  }
  return RepairUtf8(bytes);
}

/// Spaces are written as U+2581, bytes as <0x0A>, and mostly one space goes before the text.
std::string BpeTokenizer::DecodeCharacters(std::span<const int32_t> ids) const {
  std::string text, bytes;
  const auto flush = [&] {
    if (IsUtf8(bytes)) {
      text += bytes;
    } else {
      for (size_t i = 0; i < bytes.size(); ++i) text += kReplacementCharacter;
    }
    bytes.clear();
  };
  for (const int32_t id : ids) {
    const auto added = added_texts_.find(id);
    if (added == added_texts_.end() && id >= model_.size()) continue;  // the id of no token
    std::string_view token = added != added_texts_.end() ? added->second : model_.TextOf(id);
    if (const auto byte = FallbackByte(token)) {
      bytes += *byte;
      continue;
    }
    flush();
    while (!token.empty()) {
      const size_t plain = std::min(token.find(kMetaspace), token.size());
      text += token.substr(0, plain);
      token.remove_prefix(plain);
      if (token.empty()) break;
      text += ' ';
      token.remove_prefix(kMetaspace.size());
    }
  }
  flush();
  if (strips_first_space_ && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

}  // namespace

std::shared_ptr<const Tokenizer> MakeBpeTokenizer(BpeParts parts,
                                                  std::map<std::string, std::string> files,
                                                  const std::string& where) {
  return std::make_shared<BpeTokenizer>(std::move(parts), std::move(files), where);
}

}  // namespace puzzle
