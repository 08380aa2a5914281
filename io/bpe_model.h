// Byte-pair encoding: words become tokens by merging neighbours. Immutable, so thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace puzzle {

/// Token texts and ranked merges.
class BpeModel {
 public:
  using Token = std::pair<std::string, int32_t>;
  using Merge = std::pair<std::string, std::string>;

  struct Options {
    bool byte_level = false;     // texts are written in the byte alphabet; words are bytes
    bool ignore_merges = false;  // a word that is a token becomes that token
    bool byte_fallback = false;  // unknown characters become <0xNN> tokens
    bool fuse_unk = false;       // neighbouring unknown characters become one token
    std::string unk_token = {};  // empty: unknown characters vanish
  };

  /// Throws Error "where: ..." naming the token for ids that are negative, above 2^21 or used
  /// twice, texts that are empty, longer than 64 KiB or there twice, merges of or into texts that
  /// are not there, and an unk_token that is not.
  BpeModel(const std::vector<Token>& tokens, const std::vector<Merge>& merges, Options options,
           const std::string& where);
  BpeModel(BpeModel&&) = default;  // a copy's maps would point into the original
  BpeModel& operator=(BpeModel&&) = default;

  /// Appends the ids of `word`.
  void Encode(std::string_view word, std::vector<int32_t>& ids) const;

  [[nodiscard]] const Options& options() const { return options_; }
  /// One more than the largest id.
  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(texts_.size()); }
  /// As in the file, empty where there is no token. REQUIRES: id in [0, size()).
  [[nodiscard]] const std::string& TextOf(int32_t id) const { return texts_[id]; }
  /// The bytes that the token stands for; its text if it is written with other characters.
  [[nodiscard]] const std::string& BytesOf(int32_t id) const {
    return options_.byte_level ? bytes_[id] : texts_[id];
  }
  /// The id of a text as in the file; -1 when there is none.
  [[nodiscard]] int32_t Find(std::string_view text) const;

 private:
  /// A token of a word that is being merged; a list whose links are positions.
  struct Symbol {
    int32_t id;
    int32_t previous;
    int32_t next;  // -1: the last; its own position: merged into the one before
  };
  struct Ranked {
    int32_t rank;
    int32_t merged_id;
  };

  void AddTokens(const std::vector<Token>& tokens, const std::string& where);
  void AddMerges(const std::vector<Merge>& merges, const std::string& where);
  void Split(std::string_view word, std::vector<Symbol>& symbols) const;
  void MergeAll(std::vector<Symbol>& symbols) const;
  [[nodiscard]] const Ranked* FindMerge(int32_t left, int32_t right) const;

  Options options_;
  std::vector<std::string> texts_;                         // by id
  std::vector<std::string> bytes_;                         // by id, of a byte-level model
  std::unordered_map<std::string_view, int32_t> ids_;      // by text
  std::unordered_map<std::string_view, int32_t> by_word_;  // by bytes, of a byte-level model
  std::unordered_map<uint64_t, Ranked> merges_;            // by left id, right id
  int32_t unk_id_ = -1;
};

}  // namespace puzzle
