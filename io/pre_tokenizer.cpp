#include "io/pre_tokenizer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/unicode_nfc.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581

/// Patterns of the families we know; any other is refused, as matching it could take for ever.
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kKnownPatterns[] = {
    kGpt2,
    // Llama 3
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    // Qwen 2 and 3
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
};

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

std::string Replaced(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string result;
  for (size_t at = 0;;) {
    const size_t found = text.find(pattern, at);
    result += text.substr(at, found - at);
    if (found == std::string_view::npos) return result;
    result += content;
    at = found + pattern.size();
  }
}

}  // namespace

Normalizer::Normalizer(const Json& json, const std::string& where) {
  if (!json.is_null()) Add(json, where + ": normalizer");
}

void Normalizer::Add(const Json& json, const std::string& where) {
  const std::string type = TypeOf(json, where);
  if (type == "Sequence") {
    for (const Json& part : PartsOf(json, "normalizers", where)) Add(part, where);
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
}

std::string Normalizer::Apply(std::string_view text) const {
  std::string result(text);
  for (const Rule& rule : rules_) {
    if (rule.kind == Rule::Kind::kNfc) {
      result = ToNfc(result);
    } else if (rule.kind == Rule::Kind::kReplace) {
      result = Replaced(result, rule.pattern, rule.content);
    } else if (!result.empty()) {
      result.insert(0, rule.content);
    }
  }
  return result;
}

PreTokenizer::PreTokenizer(const Json& json, const std::string& where) {
  if (!json.is_null()) Add(json, where + ": pre_tokenizer");
}

void PreTokenizer::Add(const Json& json, const std::string& where) {
  const std::string type = TypeOf(json, where);
  if (byte_level_) throw Error(fmt::format("{}: {} behind ByteLevel", where, type));
  if (type == "Sequence") {
    for (const Json& part : PartsOf(json, "pretokenizers", where)) Add(part, where);
  } else if (type == "ByteLevel") {
    AddByteLevel(json, where);
  } else if (type == "Split") {
    AddSplit(json, where);
  } else if (type == "Digits") {
    const bool single = Flag(json, "individual_digits", false, where);
    cuts_.push_back(std::make_shared<const Regex>(single ? "\\p{N}" : "\\p{N}+"));
  } else if (type == "Metaspace") {
    AddMetaspace(json, where);
  } else {
    throw Error(
        fmt::format("{}: \"{}\" is not supported (ByteLevel, Split, Digits, Metaspace, Sequence)",
                    where, type));
  }
}

void PreTokenizer::AddByteLevel(const Json& json, const std::string& where) {
  if (Flag(json, "add_prefix_space", true, where)) {
    RequireNothingCut(where, "ByteLevel's add_prefix_space");
    prefix_ = Prefix::kAlways;
  }
  if (Flag(json, "use_regex", true, where)) cuts_.push_back(std::make_shared<const Regex>(kGpt2));
  byte_level_ = true;
}

void PreTokenizer::AddSplit(const Json& json, const std::string& where) {
  const auto pattern = json.find("pattern");
  const std::string regex = pattern != json.end() && pattern->is_object()
                                ? Text(*pattern, "Regex", "", where)
                                : std::string();
  const std::string behavior = Text(json, "behavior", "", where);
  if (behavior != "Isolated" || Flag(json, "invert", false, where)) {
    throw Error(
        fmt::format("{}: Split with behavior \"{}\" is not supported (Isolated, invert "
                    "false)",
                    where, behavior));
  }
  for (const std::string_view known : kKnownPatterns) {
    if (regex != known) continue;
    cuts_.push_back(std::make_shared<const Regex>(known));
    return;
  }
  throw Error(
      fmt::format("{}: Split by an unknown pattern \"{}\" (known: GPT-2's, Llama 3's, "
                  "Qwen 2's)",
                  where, regex));
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
    cuts_.push_back(std::make_shared<const Regex>("\xE2\x96\x81[^\xE2\x96\x81]*"));
  }
}

void PreTokenizer::RequireNothingCut(const std::string& where, const char* what) const {
  if (!cuts_.empty())
    throw Error(fmt::format("{}: {} behind a Split is not supported", where, what));
}

std::string PreTokenizer::Prepare(std::string text, bool is_first) const {
  if (space_ != " ") text = Replaced(text, " ", space_);
  const bool adds = prefix_ == Prefix::kAlways || (prefix_ == Prefix::kFirst && is_first);
  if (adds && !text.starts_with(space_)) text.insert(0, space_);
  return text;
}

std::vector<std::string_view> PreTokenizer::Words(std::string_view prepared) const {
  std::vector<std::string_view> words = {prepared};
  for (const auto& regex : cuts_) {
    std::vector<std::string_view> shorter;
    for (const std::string_view word : words) {
      size_t done = 0;
      while (const auto match = regex->Find(word, done)) {
        if (match->end == match->begin) break;  // no pattern of ours matches nothing
        if (match->begin > done) shorter.push_back(word.substr(done, match->begin - done));
        shorter.push_back(word.substr(match->begin, match->end - match->begin));
        done = match->end;
      }
      if (done < word.size()) shorter.push_back(word.substr(done));
    }
    words = std::move(shorter);
  }
  return words;
}

}  // namespace puzzle
