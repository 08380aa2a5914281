#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "io/bpe_tokenizer.h"
#include "io/error.h"
#include "io/json_text.h"
#include "io/tokenizer_config.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFile = "tokenizer.json";

[[noreturn]] void Wrong(const std::string& where, const std::string& expected) {
  throw Error(fmt::format("{}: {}: expected {}", kFile, where, expected));
}

std::string TextIn(const Json& object, const char* name, const std::string& where) {
  const Json* value = FindMember(object, name);
  if (value == nullptr) return "";
  if (!value->is_string()) Wrong(where + ": " + name, "a string");
  return *value;
}

bool FlagIn(const Json& object, const char* name, const std::string& where) {
  const Json* value = FindMember(object, name);
  if (value == nullptr) return false;
  if (!value->is_boolean()) Wrong(where + ": " + name, "true or false");
  return *value;
}

int32_t IdFrom(const Json& value, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{1} << 21) {
    Wrong(where, "an id of 0 to 2^21");
  }
  return value.get<int32_t>();
}

std::vector<BpeModel::Token> ReadVocab(const Json& model) {
  const Json* vocab = FindMember(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) Wrong("model: vocab", "an object of ids");
  std::vector<BpeModel::Token> tokens;
  tokens.reserve(vocab->size());
  for (const auto& [text, id] : vocab->items()) {
    tokens.emplace_back(text, IdFrom(id, fmt::format("model: vocab: \"{}\"", text)));
  }
  return tokens;
}

/// "a b" in older files, ["a", "b"] in newer ones.
BpeModel::Merge ReadMerge(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0], merge[1]};
  }
  if (merge.is_string()) {
    const std::string text = merge;
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  }
  Wrong("model: merges", fmt::format("pairs of tokens, found {}", merge.dump()));
}

/// What would change the result and is not done here.
void RefuseOptions(const Json& model) {
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!TextIn(model, name, "model").empty()) {
      throw Error(fmt::format("{}: model: {} is not supported", kFile, name));
    }
  }
  const Json* dropout = FindMember(model, "dropout");
  if (dropout != nullptr && *dropout != 0) {
    throw Error(fmt::format("{}: model: dropout is not supported", kFile));
  }
}

BpeModel ReadModel(const Json& json, bool byte_level) {
  const Json* found = FindMember(json, "model");
  if (found == nullptr || !found->is_object()) Wrong("model", "an object");
  const Json& model = *found;
  const std::string type = TextIn(model, "type", "model");
  if (type != "BPE" && !(type.empty() && model.contains("merges"))) {
    throw Error(fmt::format("{}: model: type \"{}\" is not supported (BPE)", kFile, type));
  }
  RefuseOptions(model);
  const Json* list = FindMember(model, "merges");
  if (list == nullptr || !list->is_array()) Wrong("model: merges", "a list");
  std::vector<BpeModel::Merge> merges;
  merges.reserve(list->size());
  for (const Json& merge : *list) merges.push_back(ReadMerge(merge));
  return BpeModel(ReadVocab(model), merges,
                  {.byte_level = byte_level,
                   .ignore_merges = FlagIn(model, "ignore_merges", "model"),
                   .byte_fallback = FlagIn(model, "byte_fallback", "model"),
                   .fuse_unk = FlagIn(model, "fuse_unk", "model"),
                   .unk_token = TextIn(model, "unk_token", "model")},
                  kFile);
}

std::vector<AddedToken> ReadAddedTokens(const Json& json) {
  std::vector<AddedToken> tokens;
  const Json* list = FindMember(json, "added_tokens");
  if (list == nullptr) return tokens;
  if (!list->is_array()) Wrong("added_tokens", "a list");
  for (const Json& entry : *list) {
    const std::string where = "added_tokens";
    const Json* id = FindMember(entry, "id");
    if (id == nullptr) Wrong(where, "an id in each");
    tokens.push_back({.text = TextIn(entry, "content", where),
                      .id = IdFrom(*id, where + ": id"),
                      .special = FlagIn(entry, "special", where),
                      .single_word = FlagIn(entry, "single_word", where),
                      .lstrip = FlagIn(entry, "lstrip", where),
                      .rstrip = FlagIn(entry, "rstrip", where),
                      .normalized = FlagIn(entry, "normalized", where)});
  }
  return tokens;
}

/// The text that a TemplateProcessing puts before the sequence.
std::string BosOfTemplate(const Json* processor) {
  if (processor == nullptr) return "";
  if (const Json* parts = FindMember(*processor, "processors");
      parts != nullptr && parts->is_array()) {
    for (const Json& part : *parts) {
      if (std::string bos = BosOfTemplate(&part); !bos.empty()) return bos;
    }
  }
  const Json* single = FindMember(*processor, "single");
  if (single == nullptr || !single->is_array() || single->empty()) return "";
  const Json* first = FindMember(single->front(), "SpecialToken");
  return first == nullptr ? "" : TextIn(*first, "id", "post_processor");
}

/// Whether a decoder takes the space off that was put before the text.
bool StripsFirstSpace(const Json* decoder) {
  if (decoder == nullptr) return true;
  const std::string type = TextIn(*decoder, "type", "decoder");
  if (type == "Metaspace") return TextIn(*decoder, "prepend_scheme", "decoder") != "never";
  const Json* parts = FindMember(*decoder, "decoders");
  if (type != "Sequence" || parts == nullptr || !parts->is_array()) return false;
  return std::any_of(parts->begin(), parts->end(), [](const Json& part) {
    const std::string own = TextIn(part, "type", "decoder");
    return own == "Strip" || (own == "Metaspace" && StripsFirstSpace(&part));
  });
}

void CheckDecoder(const Json& json, bool byte_level) {
  const Json* decoder = FindMember(json, "decoder");
  const std::string type = decoder == nullptr ? "" : TextIn(*decoder, "type", "decoder");
  const bool fits = byte_level ? type == "ByteLevel" || type.empty()
                               : type == "Sequence" || type == "Metaspace" || type.empty();
  if (!fits) {
    throw Error(
        fmt::format("{}: decoder \"{}\" is not supported with this pre_tokenizer", kFile, type));
  }
}

/// Classes that rebuild the template from their own default, which is to add BOS, when they load.
bool AddsBos(const TokenizerFiles& files, bool template_does) {
  if (const auto said = ReadAddBosToken(files)) return *said;
  std::string name = ReadConfigText(files, "tokenizer_class");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return template_does || name == "LlamaTokenizer" || name == "CodeLlamaTokenizer" ||
         name == "GemmaTokenizer" || name == "CohereTokenizer";
}

}  // namespace

std::shared_ptr<const Tokenizer> TokenizerFromJson(
    const std::map<std::string, std::string>& files) {
  const JsonText text = JsonText::Parse(files.at(kFile), kFile, {.allow_comments = false});
  const Json& json = text.value();
  if (!json.is_object()) throw Error(std::string(kFile) + ": expected an object");
  const auto part = [&](const char* name) {
    const Json* found = FindMember(json, name);
    return found == nullptr ? Json() : *found;
  };
  PreTokenizer pre_tokenizer(part("pre_tokenizer"), kFile);
  Normalizer normalizer(part("normalizer"), kFile);
  CheckDecoder(json, pre_tokenizer.byte_level());
  std::string leading = BosOfTemplate(FindMember(json, "post_processor"));
  std::string bos = leading, eos;
  ReadSpecialTokens(files, bos, eos);
  if (AddsBos(files, !leading.empty())) {
    if (leading.empty()) leading = bos;
  } else {
    leading.clear();
  }
  BpeModel model = ReadModel(json, pre_tokenizer.byte_level());
  return MakeBpeTokenizer({std::move(model), std::move(normalizer), std::move(pre_tokenizer),
                           ReadAddedTokens(json), std::move(bos), std::move(eos),
                           std::move(leading), StripsFirstSpace(FindMember(json, "decoder"))},
                          files, kFile);
}

}  // namespace puzzle
