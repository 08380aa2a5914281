// Cutting normalised text into the pieces of a SentencePiece model. Immutable, so thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/prefix_index.h"
#include "io/sentencepiece_model.h"

namespace puzzle {

/// U+2581, which stands for a space in pieces.
inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

/// Cuts text as the model's algorithm says.
class SentencePieceSegmenter {
 public:
  /// Part of the text; `id` is that of the unknown piece when it is none.
  struct Segment {
    std::string_view text;
    int32_t id;
  };

  /// REQUIRES: `model` outlives this, unchanged.
  explicit SentencePieceSegmenter(const SentencePieceModel& model);

  /// Appends the segments of `text`, which point into it and together are all of it. Throws Error
  /// when it has 2 GiB or more. REQUIRES: `text` is valid UTF-8.
  void Cut(std::string_view text, std::vector<Segment>& segments) const;

  /// Whether a text may be cut word by word, that is, before each run of space symbols.
  [[nodiscard]] bool may_cut_words() const { return may_cut_words_; }
  /// The pieces that are matched before anything else is done.
  [[nodiscard]] const PrefixIndex& user_defined() const { return user_defined_; }
  [[nodiscard]] int32_t unknown_id() const { return unknown_id_; }

 private:
  class BpeMerger;

  [[nodiscard]] int32_t Find(std::string_view text) const;
  /// What `text` begins with: a user-defined piece, else a character.
  [[nodiscard]] std::string_view First(std::string_view text, bool* is_user_defined) const;
  void CutCharacters(std::string_view text, std::vector<Segment>& segments) const;
  void CutUnigram(std::string_view text, std::vector<Segment>& segments) const;

  const SentencePieceModel& model_;
  std::unordered_map<std::string_view, int32_t> ids_;  // of the pieces that texts are made of
  PrefixIndex prefixes_;                               // the same, for the unigram algorithm
  PrefixIndex user_defined_;
  size_t longest_piece_ = 0;  // in bytes
  int32_t unknown_id_ = -1;
  bool may_cut_words_ = true;
  float lowest_score_ = 0;
  float highest_score_ = 0;
};

}  // namespace puzzle
