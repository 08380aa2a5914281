#include "io/tokenizer_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSpecialMap = "special_tokens_map.json";
constexpr const char* kAdded = "added_tokens.json";

bool Flag(const Json& json, const char* name) {
  const Json* found = FindMember(json, name);
  return found != nullptr && found->is_boolean() && found->get<bool>();
}

/// The text of a special token, which is a string or an object with `content`; null is none.
std::optional<std::string> SpecialText(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end()) return std::nullopt;
  if (found->is_string()) return *found;
  const Json* content = FindMember(*found, "content");
  return content != nullptr && content->is_string() ? content->get<std::string>() : "";
}

/// {"50256": {"content": ..., "special": ...}}.
void ReadDecoderTable(const Json& config, std::vector<AddedToken>& tokens) {
  const Json* table = FindMember(config, "added_tokens_decoder");
  if (table == nullptr || !table->is_object()) return;
  for (const auto& [key, entry] : table->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const Json* content = FindMember(entry, "content");
    if (error != std::errc() || end != key.data() + key.size() || content == nullptr ||
        !content->is_string()) {
      throw Error(fmt::format("{}: added_tokens_decoder: \"{}\": expected an id with content",
                              kTokenizerConfigFile, key));
    }
    tokens.push_back({.text = *content,
                      .id = id,
                      .special = Flag(entry, "special"),
                      .single_word = Flag(entry, "single_word"),
                      .lstrip = Flag(entry, "lstrip"),
                      .rstrip = Flag(entry, "rstrip"),
                      .normalized = Flag(entry, "normalized")});
  }
}

}  // namespace

const Json* FindMember(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

JsonText ParseTokenizerFile(const TokenizerFiles& files, const char* name) {
  const auto file = files.find(name);
  JsonText text =
      JsonText::Parse(file == files.end() ? "{}" : file->second, name, {.allow_comments = false});
  if (!text.value().is_object()) throw Error(std::string(name) + ": expected an object");
  return text;
}

void ReadSpecialTokens(const TokenizerFiles& files, std::string& bos, std::string& eos) {
  for (const char* name : {kSpecialMap, kTokenizerConfigFile}) {
    const JsonText text = ParseTokenizerFile(files, name);
    if (auto found = SpecialText(text.value(), "bos_token")) bos = *found;
    if (auto found = SpecialText(text.value(), "eos_token")) eos = *found;
  }
}

std::optional<bool> ReadConfigFlag(const TokenizerFiles& files, const char* name) {
  const JsonText text = ParseTokenizerFile(files, kTokenizerConfigFile);
  const Json* value = FindMember(text.value(), name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean())
    throw Error(fmt::format("{}: {}: expected true or false", kTokenizerConfigFile, name));
  return value->get<bool>();
}

std::optional<bool> ReadAddBosToken(const TokenizerFiles& files) {
  return ReadConfigFlag(files, "add_bos_token");
}

std::string ReadConfigText(const TokenizerFiles& files, const char* name) {
  const JsonText text = ParseTokenizerFile(files, kTokenizerConfigFile);
  const Json* value = FindMember(text.value(), name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

std::vector<AddedToken> ReadTokensBeside(const TokenizerFiles& files) {
  std::vector<AddedToken> tokens;
  ReadDecoderTable(ParseTokenizerFile(files, kTokenizerConfigFile).value(), tokens);
  const size_t listed = tokens.size();
  const JsonText added = ParseTokenizerFile(files, kAdded);
  for (const auto& [text, id] : added.value().items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{1} << 21)
      throw Error(fmt::format("{}: \"{}\": expected an id of 0 to 2^21", kAdded, text));
    const auto end = tokens.begin() + static_cast<ptrdiff_t>(listed);
    if (std::none_of(tokens.begin(), end, [&](const AddedToken& t) { return t.text == text; }))
      tokens.push_back({.text = text, .id = id.get<int32_t>()});
  }
  return tokens;
}

std::vector<std::string> ReadSpecialTexts(const TokenizerFiles& files) {
  std::vector<std::string> texts;
  const auto add = [&](const std::optional<std::string>& text) {
    if (text && !text->empty()) texts.push_back(*text);
  };
  for (const char* name : {kSpecialMap, kTokenizerConfigFile}) {
    const JsonText text = ParseTokenizerFile(files, name);
    for (const char* role : {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token",
                             "cls_token", "mask_token"})
      add(SpecialText(text.value(), role));
    const Json* more = FindMember(text.value(), "additional_special_tokens");
    if (more == nullptr || !more->is_array()) continue;
    for (const Json& token : *more) add(SpecialText(Json{{"t", token}}, "t"));
  }
  return texts;
}

}  // namespace puzzle
