// What tokenizer.json says is done to text before words become tokens: normalising it, and cutting
// it into words. Immutable, so thread-safe.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/regex.h"

namespace puzzle {

/// The rules of a `normalizer`: NFC, Prepend, Replace, and sequences of them.
class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  /// Throws Error "where: ..." naming a normalizer that is not known. null is none.
  Normalizer(const nlohmann::ordered_json& json, const std::string& where);

  [[nodiscard]] bool empty() const { return rules_.empty(); }
  /// REQUIRES: `text` is valid UTF-8.
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

/// The rules of a `pre_tokenizer`: ByteLevel, Split by a known pattern, Digits, Metaspace, and
/// sequences of them.
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
  /// The words of a prepared text, which point into it.
  [[nodiscard]] std::vector<std::string_view> Words(std::string_view prepared) const;

 private:
  enum class Prefix { kNever, kFirst, kAlways };

  void Add(const nlohmann::ordered_json& json, const std::string& where);
  void AddByteLevel(const nlohmann::ordered_json& json, const std::string& where);
  void AddSplit(const nlohmann::ordered_json& json, const std::string& where);
  void AddMetaspace(const nlohmann::ordered_json& json, const std::string& where);
  void RequireNothingCut(const std::string& where, const char* what) const;

  bool byte_level_ = false;
  std::string space_ = " ";  // what a space becomes, and what goes before the text
  Prefix prefix_ = Prefix::kNever;
  std::vector<std::shared_ptr<const Regex>>
      cuts_;  // each match is a word, and so is what lies between
};

}  // namespace puzzle
