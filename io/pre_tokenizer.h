// What tokenizer.json says is done to text before words become tokens: normalising it, and cutting
// it into words. Immutable, so thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/regex.h"

namespace puzzle {

/// The rules of a `normalizer`: NFC, Prepend, Replace, and sequences of them; not more than 64,
/// with texts of up to 256 bytes.
class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  /// Throws Error "where: ..." naming a normalizer that is not known. null is none.
  Normalizer(const nlohmann::ordered_json& json, const std::string& where);

  [[nodiscard]] bool empty() const { return rules_.empty(); }
  /// Throws Error when the rules make more than 64 times as much of the text. REQUIRES: `text` is
  /// valid UTF-8.
  [[nodiscard]] std::string Apply(std::string_view text) const;

 private:
  struct Rule {
    enum class Kind { kNfc, kPrepend, kReplace } kind;
    std::string pattern;  // kReplace
    std::string content;  // kPrepend, kReplace
  };

  void Add(const nlohmann::ordered_json& json, const std::string& where);

  std::vector<Rule> rules_;
};

/// The rules of a `pre_tokenizer`: ByteLevel, Split by a known pattern (split_patterns.h), Digits,
/// Punctuation, Metaspace, and sequences of them.
class PreTokenizer {
 public:
  PreTokenizer() = default;  // one word
  /// Throws Error "where: ..." naming a pre-tokenizer, an option of it or a pattern that is not
  /// known. null is none.
  PreTokenizer(const nlohmann::ordered_json& json, const std::string& where);

  /// Whether words are to be written in the byte alphabet.
  [[nodiscard]] bool byte_level() const { return byte_level_; }
  /// What is cut in the place of `text`: spaces are added and said as the rules want. `is_first`:
  /// nothing of the text came before.
  [[nodiscard]] std::string Prepare(std::string text, bool is_first) const;
  /// Whether Prepare may change a text.
  [[nodiscard]] bool prepares() const { return space_ != " " || prefix_ != Prefix::kNever; }
  /// The words of a prepared text, which point into it.
  [[nodiscard]] std::vector<std::string_view> Words(std::string_view prepared) const;
  /// The same words, but no more of them held than a piece of about so many bytes has: `take` gets
  /// those of one piece after the other. Texts are parted between words only, at a space between
  /// two letters; where there is none, or no word ends, pieces become longer.
  void WordsInPieces(std::string_view prepared, size_t piece_bytes,
                     const std::function<void(const std::vector<std::string_view>&)>& take) const;

 private:
  enum class Prefix { kNever, kFirst, kAlways };

  /// Each match is a word.
  struct Cut {
    std::shared_ptr<const Regex> regex;
    bool keeps_gaps = true;  // what lies between matches is a word too, else it is dropped
    /// Behind ByteLevel, instead of the regex: bytes whose letters in the byte alphabet are
    /// numbers, each or in runs, or three digits.
    enum class Bytes { kNone, kNumber, kNumbers, kThreeDigits } bytes = Bytes::kNone;

    /// REQUIRES: `word` is valid UTF-8, or `bytes` is set.
    [[nodiscard]] std::optional<Regex::Match> Find(std::string_view word, size_t from) const;
    [[nodiscard]] std::optional<Regex::Match> FindBytes(std::string_view word, size_t from) const;
  };

  void Add(const nlohmann::ordered_json& json, const std::string& where);
  void AddByteLevel(const nlohmann::ordered_json& json, const std::string& where);
  void AddBehindByteLevel(const std::string& type, const nlohmann::ordered_json& json,
                          const std::string& where);
  void AddSplit(const nlohmann::ordered_json& json, const std::string& where);
  void AddPunctuation(const nlohmann::ordered_json& json, const std::string& where);
  void AddMetaspace(const nlohmann::ordered_json& json, const std::string& where);
  void RequireNothingCut(const std::string& where, const char* what) const;

  bool byte_level_ = false;
  std::string space_ = " ";  // what a space becomes, and what goes before the text
  Prefix prefix_ = Prefix::kNever;
  std::vector<Cut> cuts_;
};

}  // namespace puzzle
