#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "io/bpe_tokenizer.h"
#include "io/error.h"
#include "io/tokenizer_config.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kVocab = "vocab.json";
constexpr const char* kMerges = "merges.txt";

std::vector<BpeModel::Token> ReadIds(const Json& json, const char* file) {
  std::vector<BpeModel::Token> tokens;
  for (const auto& [text, id] : json.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{1} << 21) {
      throw Error(fmt::format("{}: \"{}\": expected an id of 0 to 2^21", file, text));
    }
    tokens.emplace_back(text, id.get<int32_t>());
  }
  return tokens;
}

/// A pair a line; the first line may tell a version.
std::vector<BpeModel::Merge> ReadMerges(std::string_view text) {
  std::vector<BpeModel::Merge> merges;
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.ends_with('\r')) pair.remove_suffix(1);
    if (pair.empty() || (line == 1 && pair.starts_with("#version"))) continue;
    const size_t space = pair.find(' ');
    if (space == std::string_view::npos || pair.find(' ', space + 1) != std::string_view::npos) {
      throw Error(fmt::format("{}:{}: expected two tokens with a space between, found \"{}\"",
                              kMerges, line, pair));
    }
    merges.emplace_back(pair.substr(0, space), pair.substr(space + 1));
  }
  return merges;
}

bool IsAmong(const std::vector<AddedToken>& tokens, const std::string& text) {
  return std::any_of(tokens.begin(), tokens.end(),
                     [&](const AddedToken& token) { return token.text == text; });
}

/// Rules that the files do not tell; the class does.
struct Rules {
  const char* normalizer;
  const char* pre_tokenizer;
};

Rules RulesOf(const Json& config) {
  const auto found = config.find("tokenizer_class");
  std::string name = found != config.end() && found->is_string() ? *found : "GPT2Tokenizer";
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  if (name == "GPT2Tokenizer") {
    const auto adds_space = config.find("add_prefix_space");
    return {"null", adds_space != config.end() && *adds_space == true
                        ? R"({"type": "ByteLevel", "add_prefix_space": true})"
                        : R"({"type": "ByteLevel", "add_prefix_space": false})"};
  }
  if (name == "Qwen2Tokenizer") {
    return {R"({"type": "NFC"})",
            R"({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "behavior": "Isolated", "pattern": {"Regex":
                 "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
                {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})"};
  }
  throw Error(fmt::format(
      "{}: tokenizer_class \"{}\": without a tokenizer.json only GPT2Tokenizer and Qwen2Tokenizer "
      "are supported",
      kTokenizerConfigFile, name));
}

}  // namespace

std::shared_ptr<const Tokenizer> TokenizerFromVocabAndMerges(
    const std::map<std::string, std::string>& files) {
  const JsonText config = ParseTokenizerFile(files, kTokenizerConfigFile);
  const Rules rules = RulesOf(config.value());
  BpeModel model(ReadIds(ParseTokenizerFile(files, kVocab).value(), kVocab),
                 ReadMerges(files.at(kMerges)), {.byte_level = true}, kVocab);
  std::vector<AddedToken> added = ReadTokensBeside(files);
  // GPT-2's own files name no special token; there it is this one.
  constexpr const char* kEndOfText = "<|endoftext|>";
  std::string bos = model.Find(kEndOfText) >= 0 ? kEndOfText : "";
  std::string eos = bos;
  ReadSpecialTokens(files, bos, eos);
  const std::string leading = ReadAddBosToken(files).value_or(false) ? bos : "";
  for (const std::string& text : {bos, eos}) {
    if (const int32_t id = model.Find(text); id >= 0 && !IsAmong(added, text)) {
      added.push_back({.text = text, .id = id, .special = true});
    }
  }
  return MakeBpeTokenizer(
      {std::move(model), Normalizer(Json::parse(rules.normalizer), kTokenizerConfigFile),
       PreTokenizer(Json::parse(rules.pre_tokenizer), kTokenizerConfigFile), std::move(added),
       std::move(bos), std::move(eos), leading},
      files, kVocab);
}

}  // namespace puzzle
