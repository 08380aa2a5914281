#include "io/sentencepiece_segmenter.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <queue>

#include "io/error.h"
#include "io/utf8.h"

// Every tie and every constant here is SentencePiece's: equal texts have to get equal ids.

namespace puzzle {
namespace {

/// Whether a space symbol follows something else than space symbols.
bool HasInnerSpace(std::string_view piece) {
  while (piece.starts_with(kSpaceSymbol)) piece.remove_prefix(kSpaceSymbol.size());
  return piece.find(kSpaceSymbol) != std::string_view::npos;
}

}  // namespace

/// Byte pair encoding: of all adjacent pairs that together are a piece, the one of the best score
/// is merged, the leftmost first. A heap over a linked list makes that n log n.
class SentencePieceSegmenter::BpeMerger {
 public:
  BpeMerger(const SentencePieceSegmenter& owner, std::string_view text) : owner_(owner) {
    while (!text.empty()) {
      bool is_user_defined = false;
      const std::string_view first = owner.First(text, &is_user_defined);
      const auto index = static_cast<int32_t>(symbols_.size());
      symbols_.push_back({first, index - 1, index + 1, is_user_defined});
      text.remove_prefix(first.size());
    }
    symbols_.back().next = -1;
    for (size_t i = 1; i < symbols_.size(); ++i) Offer(static_cast<int32_t>(i) - 1);
  }

  void Run(std::vector<Segment>& segments) {
    while (!pairs_.empty()) {
      const Pair pair = pairs_.top();
      pairs_.pop();
      Merge(pair);
    }
    for (int32_t i = 0; i >= 0; i = symbols_[i].next) Append(symbols_[i].text, segments);
  }

 private:
  struct Symbol {
    std::string_view text;  // empty once it is merged into its left neighbour
    int32_t previous, next;
    bool is_frozen;
  };
  struct Pair {
    float score;
    int32_t left, right;
    size_t size;  // of the two together

    bool operator<(const Pair& other) const {
      return score < other.score || (score == other.score && left > other.left);
    }
  };

  /// Puts symbol `left` and the next one on the heap if they can be merged.
  void Offer(int32_t left) {
    if (left < 0 || symbols_[left].next < 0) return;
    const Symbol& a = symbols_[left];
    const Symbol& b = symbols_[a.next];
    if (a.is_frozen || b.is_frozen) return;
    const std::string_view merged(a.text.data(), a.text.size() + b.text.size());
    if (merged.size() > owner_.longest_piece_) return;
    const auto found = owner_.ids_.find(merged);
    if (found == owner_.ids_.end()) return;
    const SentencePiece& piece = owner_.model_.pieces[found->second];
    pairs_.push({piece.score, left, a.next, merged.size()});
    if (piece.type == PieceType::kUnused) left_sizes_[merged] = a.text.size();
  }

  void Merge(const Pair& pair) {
    Symbol& left = symbols_[pair.left];
    Symbol& right = symbols_[pair.right];
    // One that has since grown or gone: its pairs were offered anew.
    if (left.text.empty() || right.text.empty()) return;
    if (left.text.size() + right.text.size() != pair.size) return;
    left.text = {left.text.data(), pair.size};
    left.next = right.next;
    right.text = {};
    if (left.next >= 0) symbols_[left.next].previous = pair.left;
    Offer(left.previous);
    Offer(pair.left);
  }

  /// Appends a symbol, or what it was merged from where it is an unused piece.
  void Append(std::string_view symbol, std::vector<Segment>& segments) const {
    std::vector<std::string_view> rest = {symbol};
    while (!rest.empty()) {
      const std::string_view text = rest.back();
      rest.pop_back();
      const int32_t id = owner_.Find(text);
      const auto split = owner_.model_.pieces[id].type == PieceType::kUnused
                             ? left_sizes_.find(text)
                             : left_sizes_.end();
      if (split == left_sizes_.end()) {
        segments.push_back({text, id});
      } else {
        rest.push_back(text.substr(split->second));
        rest.push_back(text.substr(0, split->second));
      }
    }
  }

  const SentencePieceSegmenter& owner_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Pair> pairs_;
  std::unordered_map<std::string_view, size_t> left_sizes_;  // of unused pieces
};

SentencePieceSegmenter::SentencePieceSegmenter(const SentencePieceModel& model) : model_(model) {
  std::vector<PrefixIndex::Entry> all;
  std::vector<PrefixIndex::Entry> user_defined;
  lowest_score_ = std::numeric_limits<float>::max();
  highest_score_ = std::numeric_limits<float>::min();
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const SentencePiece& piece = model.pieces[i];
    const auto id = static_cast<int32_t>(i);
    if (piece.type == PieceType::kUnknown) unknown_id_ = id;
    if (piece.type == PieceType::kNormal) {
      lowest_score_ = std::min(lowest_score_, piece.score);
      highest_score_ = std::max(highest_score_, piece.score);
    }
    if (piece.type == PieceType::kUserDefined) user_defined.emplace_back(piece.text, id);
    if (piece.type != PieceType::kNormal && piece.type != PieceType::kUserDefined &&
        piece.type != PieceType::kUnused) {
      continue;  // never found in a text
    }
    all.emplace_back(piece.text, id);
    longest_piece_ = std::max(longest_piece_, piece.text.size());
    // How an unused piece is split is remembered for the whole text.
    if (HasInnerSpace(piece.text) || piece.type == PieceType::kUnused) may_cut_words_ = false;
  }
  // Sums of scores are rounded, so that what came before matters a little.
  if (model.algorithm == SentencePieceAlgorithm::kUnigram) may_cut_words_ = false;
  ids_.insert(all.begin(), all.end());
  user_defined_ = PrefixIndex(std::move(user_defined));
  if (model.algorithm == SentencePieceAlgorithm::kUnigram) prefixes_ = PrefixIndex(std::move(all));
}

void SentencePieceSegmenter::Cut(std::string_view text, std::vector<Segment>& segments) const {
  if (text.empty()) return;
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw Error(fmt::format("tokenizer.model: a text of {} bytes is too long", text.size()));
  }
  switch (model_.algorithm) {
    case SentencePieceAlgorithm::kBpe:
      return BpeMerger(*this, text).Run(segments);
    case SentencePieceAlgorithm::kChar:
      return CutCharacters(text, segments);
    case SentencePieceAlgorithm::kUnigram:
      return CutUnigram(text, segments);
  }
}

int32_t SentencePieceSegmenter::Find(std::string_view text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? unknown_id_ : found->second;
}

std::string_view SentencePieceSegmenter::First(std::string_view text, bool* is_user_defined) const {
  const size_t length = user_defined_.LongestPrefix(text);
  *is_user_defined = length > 0;
  return text.substr(0, length > 0 ? length : Utf8Length(text));
}

void SentencePieceSegmenter::CutCharacters(std::string_view text,
                                           std::vector<Segment>& segments) const {
  while (!text.empty()) {
    bool ignored = false;
    const std::string_view first = First(text, &ignored);
    segments.push_back({first, Find(first)});
    text.remove_prefix(first.size());
  }
}

/// The path of the best sum of scores, by dynamic programming over the ends of pieces.
void SentencePieceSegmenter::CutUnigram(std::string_view text,
                                        std::vector<Segment>& segments) const {
  struct Arrival {
    float score = 0;
    int32_t start = -1;  // of the last piece
    int32_t id = -1;
  };
  constexpr float kUnknownPenalty = 10;
  std::vector<Arrival> best(text.size() + 1);
  // SentencePiece adds in double precision, except here, and keeps sums in single precision; which
  // of two orders of the same pieces wins depends on that.
  const float unknown_score = lowest_score_ - kUnknownPenalty;
  const auto arrive = [&](size_t end, double score, size_t start, int32_t id) {
    if (best[end].start >= 0 && score <= best[end].score) return;
    best[end] = {static_cast<float>(score), static_cast<int32_t>(start), id};
  };
  for (size_t start = 0, character; start < text.size(); start += character) {
    character = Utf8Length(text.substr(start));
    bool knows_character = false;
    const float so_far = best[start].score;
    prefixes_.ForEachPrefix(text.substr(start), [&](int32_t id, size_t length) {
      const SentencePiece& piece = model_.pieces[id];
      if (piece.type == PieceType::kUnused) return;
      // A user-defined piece gains so much that it always is on the path.
      const double score = piece.type == PieceType::kUserDefined
                               ? static_cast<float>(length) * highest_score_ - 0.1
                               : piece.score;
      arrive(start + length, score + so_far, start, id);
      knows_character |= length == character;
    });
    if (!knows_character) arrive(start + character, unknown_score + so_far, start, unknown_id_);
  }
  const size_t first = segments.size();
  for (size_t end = text.size(); end > 0; end = static_cast<size_t>(best[end].start)) {
    const auto start = static_cast<size_t>(best[end].start);
    segments.push_back({text.substr(start, end - start), best[end].id});
  }
  std::reverse(segments.begin() + static_cast<ptrdiff_t>(first), segments.end());
}

}  // namespace puzzle
