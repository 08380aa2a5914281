#include "io/pre_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/split_patterns.h"
#include "io/tokenizer_limits.h"
#include "io/unicode_nfc.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxRules = 64;       // of a normalizer
constexpr size_t kMaxRuleBytes = 256;  // of what one puts in
constexpr size_t kMaxGrowth = 64;      // of a text, by all of them

std::string TypeOf(const Json& json, const std::string& where) {
  if (!json.is_object() || !json.contains("type") || !json["type"].is_string()) {
    throw Error(where + ": expected an object with a type");
  }
  return json["type"];
}

bool Flag(const Json& json, const char* name, bool otherwise, const std::string& where) {
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return otherwise;
  if (!found->is_boolean()) throw Error(fmt::format("{}: {}: expected true or false", where, name));
  return *found;
}

std::string Text(const Json& json, const char* name, std::string_view otherwise,
                 const std::string& where) {
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return std::string(otherwise);
  if (!found->is_string()) throw Error(fmt::format("{}: {}: expected a string", where, name));
  return *found;
}

/// {"String": "..."}: the pattern of a Replace.
std::string LiteralPattern(const Json& json, const std::string& where) {
  const auto pattern = json.find("pattern");
  const std::string text = pattern != json.end() && pattern->is_object()
                               ? Text(*pattern, "String", "", where)
                               : std::string();
  if (text.empty()) throw Error(where + ": Replace: only patterns of the form {\"String\": ...}");
  return text;
}

/// The parts of a Sequence.
const Json& PartsOf(const Json& json, const char* name, const std::string& where) {
  const auto parts = json.find(name);
  if (parts == json.end() || !parts->is_array()) {
    throw Error(fmt::format("{}: Sequence: expected a list {}", where, name));
  }
  return *parts;
}

std::string Replaced(std::string_view text, std::string_view pattern, std::string_view content,
                     size_t limit) {
  std::string result;
  for (size_t at = 0;;) {
    const size_t found = text.find(pattern, at);
    result += text.substr(at, found - at);
    if (found == std::string_view::npos) return result;
    result += content;
    if (result.size() > limit) return result;
    at = found + pattern.size();
  }
}

// The last space in `text`, written as `space`, between two ASCII letters. No rule of ours looks
// farther there than to the letter behind: runs of letters and of blanks end, and nothing else
// touches them. So the words before it are those of the whole text.
std::optional<size_t> LastSafeSpace(std::string_view text, std::string_view space) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  for (size_t at = text.rfind(space); at != std::string_view::npos && at > 0;
       at = text.rfind(space, at - 1)) {
    const size_t behind = at + space.size();
    if (behind < text.size() && is_letter(text[at - 1]) && is_letter(text[behind])) return at;
  }
  return std::nullopt;
}

// The first `size` bytes of a text without a part of a character.
std::string_view Head(std::string_view text, size_t size) {
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

}  // namespace

Normalizer::Normalizer(const Json& json, const std::string& where) {
  if (!json.is_null()) Add(json, where + ": normalizer");
}

void Normalizer::Add(const Json& json, const std::string& where) {
  const std::string type = TypeOf(json, where);
  if (type == "Sequence") {
    for (const Json& part : PartsOf(json, "normalizers", where)) Add(part, where);
  } else if (rules_.size() == kMaxRules) {
    throw Error(fmt::format("{}: more than {} rules", where, kMaxRules));
  } else if (type == "NFC") {
    rules_.push_back({Rule::Kind::kNfc, "", ""});
  } else if (type == "Prepend") {
    rules_.push_back({Rule::Kind::kPrepend, "", Text(json, "prepend", "", where)});
  } else if (type == "Replace") {
    rules_.push_back(
        {Rule::Kind::kReplace, LiteralPattern(json, where), Text(json, "content", "", where)});
  } else {
    throw Error(
        fmt::format("{}: \"{}\" is not supported (NFC, Prepend, Replace, Sequence)", where, type));
  }
  if (!rules_.empty() && rules_.back().content.size() > kMaxRuleBytes) {
    throw Error(fmt::format("{}: {} puts in {} bytes, at most {} are accepted", where, type,
                            rules_.back().content.size(), kMaxRuleBytes));
  }
}

std::string Normalizer::Apply(std::string_view text) const {
  std::string result(text);
  const size_t limit = kMaxGrowth * (text.size() + kMaxRuleBytes);
  for (const Rule& rule : rules_) {
    if (rule.kind == Rule::Kind::kNfc) {
      result = ToNfc(result);
    } else if (rule.kind == Rule::Kind::kReplace) {
      result = Replaced(result, rule.pattern, rule.content, limit);
    } else if (!result.empty()) {
      result.insert(0, rule.content);
    }
    if (result.size() > limit) {
      throw Error(fmt::format("tokenizer: its normalizer makes more than {} bytes of {}", limit,
                              text.size()));
    }
  }
  return result;
}

PreTokenizer::PreTokenizer(const Json& json, const std::string& where) {
  if (!json.is_null()) Add(json, where + ": pre_tokenizer");
}

void PreTokenizer::Add(const Json& json, const std::string& where) {
  const std::string type = TypeOf(json, where);
  if (type == "Sequence") {
    for (const Json& part : PartsOf(json, "pretokenizers", where)) Add(part, where);
  } else if (byte_level_) {
    AddBehindByteLevel(type, json, where);
  } else if (type == "ByteLevel") {
    AddByteLevel(json, where);
  } else if (type == "Split") {
    AddSplit(json, where);
  } else if (type == "Digits") {
    const bool single = Flag(json, "individual_digits", false, where);
    cuts_.push_back({std::make_shared<const Regex>(single ? "\\p{N}" : "\\p{N}+")});
  } else if (type == "Punctuation") {
    AddPunctuation(json, where);
  } else if (type == "Metaspace") {
    AddMetaspace(json, where);
  } else {
    throw Error(
        fmt::format("{}: \"{}\" is not supported (ByteLevel, Split, Digits, Punctuation, "
                    "Metaspace, Sequence)",
                    where, type));
  }
}

void PreTokenizer::AddByteLevel(const Json& json, const std::string& where) {
  if (Flag(json, "add_prefix_space", true, where)) {
    RequireNothingCut(where, "ByteLevel's add_prefix_space");
    prefix_ = Prefix::kAlways;
  }
  if (Flag(json, "use_regex", true, where)) {
    cuts_.push_back({std::make_shared<const Regex>(kGpt2Pattern)});
  }
  byte_level_ = true;
}

/// What comes behind ByteLevel sees bytes as letters of its alphabet: Falcon cuts numbers there.
void PreTokenizer::AddBehindByteLevel(const std::string& type, const Json& json,
                                      const std::string& where) {
  const auto pattern = json.find("pattern");
  const bool is_three_digits = type == "Split" && pattern != json.end() && pattern->is_object() &&
                               Text(*pattern, "Regex", "", where) == "[0-9][0-9][0-9]" &&
                               Text(json, "behavior", "", where) == "Isolated" &&
                               !Flag(json, "invert", false, where);
  if (type == "Digits") {
    const bool single = Flag(json, "individual_digits", false, where);
    cuts_.push_back({nullptr, true, single ? Cut::Bytes::kNumber : Cut::Bytes::kNumbers});
  } else if (is_three_digits) {
    cuts_.push_back({nullptr, true, Cut::Bytes::kThreeDigits});
  } else {
    throw Error(fmt::format("{}: {} behind ByteLevel is not supported", where, type));
  }
}

void PreTokenizer::AddSplit(const Json& json, const std::string& where) {
  const auto pattern = json.find("pattern");
  const bool has_pattern = pattern != json.end() && pattern->is_object();
  const std::string behavior = Text(json, "behavior", "", where);
  const bool inverts = Flag(json, "invert", false, where);
  // Gemma's: each word ends with the space behind it.
  if (has_pattern && Text(*pattern, "String", "", where) == " " &&
      behavior == "MergedWithPrevious" && !inverts) {
    cuts_.push_back({std::make_shared<const Regex>("[^ ]* ")});
    return;
  }
  const bool keeps_gaps = behavior == "Isolated" && !inverts;
  const bool drops_gaps = behavior == "Removed" && inverts;
  if (!keeps_gaps && !drops_gaps) {
    throw Error(
        fmt::format("{}: Split with behavior \"{}\" and invert {} is not supported "
                    "(Isolated and false, Removed and true)",
                    where, behavior, inverts));
  }
  const std::string regex = has_pattern ? Text(*pattern, "Regex", "", where) : std::string();
  cuts_.push_back({std::make_shared<const Regex>(CheckedPattern(regex, where)), keeps_gaps});
}

void PreTokenizer::AddPunctuation(const Json& json, const std::string& where) {
  const std::string behavior = Text(json, "behavior", "Isolated", where);
  if (behavior != "Isolated" && behavior != "Contiguous") {
    throw Error(
        fmt::format("{}: Punctuation with behavior \"{}\" is not supported (Isolated, Contiguous)",
                    where, behavior));
  }
  const std::string one = R"([\p{P}$+<=>\^`|~])";  // Unicode's, and all of ASCII's
  cuts_.push_back({std::make_shared<const Regex>(behavior == "Isolated" ? one : one + "+")});
}

void PreTokenizer::AddMetaspace(const Json& json, const std::string& where) {
  RequireNothingCut(where, "Metaspace");
  space_ = Text(json, "replacement", kMetaspace, where);
  if (space_ != kMetaspace) {
    throw Error(
        fmt::format("{}: Metaspace with replacement \"{}\" is not supported", where, space_));
  }
  const bool adds = Flag(json, "add_prefix_space", true, where);  // before prepend_scheme was there
  const std::string scheme = Text(json, "prepend_scheme", adds ? "always" : "never", where);
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    throw Error(
        fmt::format("{}: Metaspace with prepend_scheme \"{}\" is not supported", where, scheme));
  }
  prefix_ = scheme == "always"  ? Prefix::kAlways
            : scheme == "first" ? Prefix::kFirst
                                : Prefix::kNever;
  if (Flag(json, "split", true, where)) {
    cuts_.push_back({std::make_shared<const Regex>("\xE2\x96\x81[^\xE2\x96\x81]*")});
  }
}

void PreTokenizer::RequireNothingCut(const std::string& where, const char* what) const {
  if (!cuts_.empty())
    throw Error(fmt::format("{}: {} behind a Split is not supported", where, what));
}

std::optional<Regex::Match> PreTokenizer::Cut::Find(std::string_view word, size_t from) const {
  return regex != nullptr ? regex->Find(word, from) : FindBytes(word, from);
}

std::optional<Regex::Match> PreTokenizer::Cut::FindBytes(std::string_view word, size_t from) const {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  // The letters of these bytes are superscripts and fractions.
  const auto is_number = [&](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return is_digit(c) || byte == 0xB2 || byte == 0xB3 || byte == 0xB9 ||
           (byte >= 0xBC && byte <= 0xBE);
  };
  if (bytes == Bytes::kThreeDigits) {
    size_t run = 0;
    for (size_t at = from; at < word.size(); ++at) {
      run = is_digit(word[at]) ? run + 1 : 0;
      if (run == 3) return Regex::Match{at - 2, at + 1};
    }
    return std::nullopt;
  }
  size_t begin = from;
  while (begin < word.size() && !is_number(word[begin])) ++begin;
  if (begin == word.size()) return std::nullopt;
  size_t end = begin + 1;
  while (bytes == Bytes::kNumbers && end < word.size() && is_number(word[end])) ++end;
  return Regex::Match{begin, end};
}

std::string PreTokenizer::Prepare(std::string text, bool is_first) const {
  if (space_ != " ") text = Replaced(text, " ", space_, std::numeric_limits<size_t>::max());
  const bool adds = prefix_ == Prefix::kAlways || (prefix_ == Prefix::kFirst && is_first);
  if (adds && !text.starts_with(space_)) text.insert(0, space_);
  return text;
}

std::vector<std::string_view> PreTokenizer::Words(std::string_view prepared) const {
  std::vector<std::string_view> words = {prepared};
  for (const Cut& cut : cuts_) {
    std::vector<std::string_view> shorter;
    for (const std::string_view word : words) {
      size_t done = 0;
      while (const auto match = cut.Find(word, done)) {
        if (match->end == match->begin) break;  // no pattern of ours matches nothing
        if (cut.keeps_gaps && match->begin > done)
          shorter.push_back(word.substr(done, match->begin - done));
        shorter.push_back(word.substr(match->begin, match->end - match->begin));
        done = match->end;
      }
      if (cut.keeps_gaps && done < word.size()) shorter.push_back(word.substr(done));
    }
    words = std::move(shorter);
  }
  return words;
}

void PreTokenizer::WordsInPieces(
    std::string_view prepared, size_t piece_bytes,
    const std::function<void(const std::vector<std::string_view>&)>& take) const {
  size_t size = std::max<size_t>(piece_bytes, 1);
  while (size < prepared.size() && !cuts_.empty()) {
    const std::string_view piece = Head(prepared, size);
    const auto space = LastSafeSpace(piece, space_);
    if (!space) {
      size *= 2;
      continue;
    }
    // A word ends before the space, or behind it where spaces belong to the word before.
    const char* const first = piece.data() + *space;
    std::vector<std::string_view> words = Words(piece);
    const auto begins_behind = [&](std::string_view word) { return word.data() >= first; };
    const auto next = std::find_if(words.begin(), words.end(), begins_behind);
    const bool is_parted = next != words.end() && next->data() <= first + space_.size();
    if (!is_parted || next->data() == prepared.data()) {
      size *= 2;
      continue;
    }
    const auto done = static_cast<size_t>(next->data() - prepared.data());
    words.erase(next, words.end());
    take(words);
    prepared.remove_prefix(done);
    size = std::max<size_t>(piece_bytes, 1);
  }
  take(Words(prepared));
}

}  // namespace puzzle
