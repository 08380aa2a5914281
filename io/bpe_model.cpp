#include "io/bpe_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <queue>

#include "io/byte_alphabet.h"
#include "io/error.h"
#include "io/tokenizer_limits.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

int32_t FindIn(const std::unordered_map<std::string_view, int32_t>& ids, std::string_view text) {
  const auto found = ids.find(text);
  return found == ids.end() ? -1 : found->second;
}

}  // namespace

BpeModel::BpeModel(const std::vector<Token>& tokens, const std::vector<Merge>& merges,
                   Options options, const std::string& where)
    : options_(std::move(options)) {
  AddTokens(tokens, where);
  AddMerges(merges, where);
  if (options_.unk_token.empty()) return;
  unk_id_ = Find(options_.unk_token);
  if (unk_id_ < 0) {
    throw Error(
        fmt::format("{}: unk_token \"{}\" is not in the vocabulary", where, options_.unk_token));
  }
}

void BpeModel::AddTokens(const std::vector<Token>& tokens, const std::string& where) {
  int32_t largest = -1;
  for (const auto& [text, id] : tokens) {
    if (id < 0 || id > kMaxTokenId) {
      throw Error(fmt::format("{}: token \"{}\" has id {}, expected 0 to {}", where, text, id,
                              kMaxTokenId));
    }
    if (text.empty() || text.size() > kMaxTokenBytes) {
      throw Error(fmt::format("{}: token {} has {} bytes, expected 1 to {}", where, id, text.size(),
                              kMaxTokenBytes));
    }
    largest = std::max(largest, id);
  }
  if (largest < 0) throw Error(where + ": the vocabulary is empty");
  texts_.resize(static_cast<size_t>(largest) + 1);
  if (options_.byte_level) bytes_.resize(texts_.size());
  for (const auto& [text, id] : tokens) {
    if (!texts_[id].empty()) {
      throw Error(
          fmt::format("{}: tokens \"{}\" and \"{}\" share id {}", where, texts_[id], text, id));
    }
    texts_[id] = text;
  }
  for (int32_t id = 0; id <= largest; ++id) {
    if (texts_[id].empty()) continue;
    if (!ids_.emplace(texts_[id], id).second) {
      throw Error(fmt::format("{}: token \"{}\" is there twice", where, texts_[id]));
    }
    if (!options_.byte_level) continue;
    const std::optional<std::string> bytes = BytesFromAlphabet(texts_[id]);
    bytes_[id] = bytes.value_or(texts_[id]);
    if (bytes) by_word_.emplace(bytes_[id], id);
  }
}

void BpeModel::AddMerges(const std::vector<Merge>& merges, const std::string& where) {
  merges_.reserve(merges.size());
  int32_t rank = 0;
  for (const auto& [left, right] : merges) {
    const int32_t left_id = Find(left);
    const int32_t right_id = Find(right);
    const int32_t merged_id = Find(left + right);
    if (left_id < 0 || right_id < 0 || merged_id < 0) {
      throw Error(fmt::format("{}: merge {} of \"{}\" and \"{}\": \"{}\" is not in the vocabulary",
                              where, rank, left, right,
                              left_id < 0    ? left
                              : right_id < 0 ? right
                                             : left + right));
    }
    merges_.insert_or_assign(PairKey(left_id, right_id), Ranked{rank, merged_id});
    ++rank;
  }
}

int32_t BpeModel::Find(std::string_view text) const {
  return FindIn(ids_, text);
}

const BpeModel::Ranked* BpeModel::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BpeModel::Encode(std::string_view word, std::vector<int32_t>& ids) const {
  const auto& words = options_.byte_level ? by_word_ : ids_;
  if (options_.ignore_merges) {
    if (const int32_t id = FindIn(words, word); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  std::vector<Symbol> symbols;
  Split(word, symbols);
  if (symbols.empty()) return;
  MergeAll(symbols);
  for (int32_t at = 0; at >= 0; at = symbols[at].next) ids.push_back(symbols[at].id);
}

/// One symbol for each byte or character, with the ways out for those that are no token.
void BpeModel::Split(std::string_view word, std::vector<Symbol>& symbols) const {
  const auto add = [&](int32_t id) {
    const auto at = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  };
  const auto& words = options_.byte_level ? by_word_ : ids_;
  int64_t n_unknown = 0;  // characters that are still to be said
  const auto flush = [&] {
    for (; n_unknown > 0; n_unknown = options_.fuse_unk ? 0 : n_unknown - 1) add(unk_id_);
  };
  while (!word.empty()) {
    const size_t length = options_.byte_level ? 1 : Utf8Length(word);
    const std::string_view character = word.substr(0, length);
    word.remove_prefix(length);
    if (const int32_t id = FindIn(words, character); id >= 0) {
      flush();
      add(id);
      continue;
    }
    std::vector<int32_t> bytes;
    for (const char c : character) {
      if (!options_.byte_fallback) break;
      const int32_t id = Find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(c)));
      if (id >= 0) bytes.push_back(id);
    }
    if (bytes.size() == length) {
      std::for_each(bytes.begin(), bytes.end(), add);
    } else if (unk_id_ >= 0) {
      ++n_unknown;
    }
  }
  flush();
  if (!symbols.empty()) symbols.back().next = -1;
}

/// The pair of the lowest rank first, of equals the leftmost, until nothing merges: n log n.
void BpeModel::MergeAll(std::vector<Symbol>& symbols) const {
  struct Candidate {
    int32_t rank;
    int32_t at;  // of the left symbol
    int32_t merged_id;

    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](int32_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const Ranked* merge = FindMerge(symbols[left].id, symbols[symbols[left].next].id);
    if (merge != nullptr) queue.push({merge->rank, left, merge->merged_id});
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i) consider(static_cast<int32_t>(i));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.at];
    if (left.next < 0 || left.next == best.at) continue;
    Symbol& right = symbols[left.next];
    // One of the two may have become another token since.
    const Ranked* merge = FindMerge(left.id, right.id);
    if (merge == nullptr || merge->merged_id != best.merged_id) continue;
    const int32_t gone = left.next;
    left.id = best.merged_id;
    left.next = right.next;
    right.next = gone;
    if (left.next >= 0) symbols[left.next].previous = best.at;
    consider(left.previous);
    consider(best.at);
  }
}

}  // namespace puzzle
