#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "io/byte_tokenizer_json.h"
#include "io/error.h"
#include "io/gguf_bpe_rules.h"
#include "io/gguf_tokenizer.h"
#include "io/json_text.h"
#include "io/sentencepiece_model.h"
#include "io/tokenizer.h"
#include "io/tokenizer_config.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kBpeFile = "tokenizer.json";
constexpr const char* kPiecesFile = "tokenizer.model";
constexpr double kAddedScore = -1000.0;     // of a token beside a SentencePiece model
constexpr double kPaddingScore = -10000.0;  // of a row of the embedding without a token

/// The tokens of a vocabulary by id; every row of the embedding needs one.
class TokenList {
 public:
  explicit TokenList(int64_t vocab_size)
      : texts_(static_cast<size_t>(vocab_size)),
        types_(texts_.size(), static_cast<int64_t>(PieceType::kUnused)),
        scores_(texts_.size(), kPaddingScore) {}

  void Set(int64_t id, const std::string& text, PieceType type, double score = 0) {
    if (id < 0 || id >= static_cast<int64_t>(texts_.size()))
      throw Error(fmt::format("tokenizer: token \"{}\" has id {}, the model {} rows for them", text,
                              id, texts_.size()));
    const auto at = static_cast<size_t>(id);
    if (!texts_[at].empty() && texts_[at] != text)
      throw Error(
          fmt::format("tokenizer: \"{}\" and \"{}\" both have id {}", texts_[at], text, id));
    texts_[at] = text;
    types_[at] = static_cast<int64_t>(type);
    scores_[at] = score;
  }
  [[nodiscard]] PieceType type(int64_t id) const {
    return static_cast<PieceType>(types_[static_cast<size_t>(id)]);
  }
  [[nodiscard]] double score(int64_t id) const { return scores_[static_cast<size_t>(id)]; }

  /// Fills up the rows that have no token, and appends the lists.
  void AppendTo(GgufMetadata& metadata, bool with_scores) && {
    std::set<std::string_view> seen;
    for (size_t id = 0; id < texts_.size(); ++id) {
      if (texts_[id].empty()) texts_[id] = fmt::format("[PAD{}]", id);
      if (!seen.insert(texts_[id]).second)
        throw Error(fmt::format("tokenizer: token \"{}\" is there twice", texts_[id]));
    }
    metadata.emplace_back("tokenizer.ggml.tokens", std::move(texts_));
    if (with_scores) metadata.emplace_back("tokenizer.ggml.scores", std::move(scores_));
    metadata.emplace_back("tokenizer.ggml.token_type", std::move(types_));
  }

 private:
  std::vector<std::string> texts_;
  std::vector<int64_t> types_;
  std::vector<double> scores_;
};

/// A tokenizer in GGUF finds added tokens as they are written, and nothing else about them.
void RequirePlain(const AddedToken& token) {
  if (token.single_word || token.lstrip || token.rstrip)
    throw Error(fmt::format(
        "tokenizer: added token \"{}\" takes spaces along or is no part of words (lstrip, rstrip, "
        "single_word), which GGUF cannot say",
        token.text));
}

PieceType TypeOf(const AddedToken& token) {
  return token.special ? PieceType::kControl : PieceType::kUserDefined;
}

bool FlagOf(const Json& object, const char* name, bool otherwise) {
  const Json* value = FindMember(object, name);
  return value == nullptr || !value->is_boolean() ? otherwise : value->get<bool>();
}

std::string TextOf(const Json& object, const char* name, const std::string& otherwise = {}) {
  const Json* value = FindMember(object, name);
  return value == nullptr || !value->is_string() ? otherwise : value->get<std::string>();
}

/// The steps of a normalizer or pre-tokenizer, one a line, equal where they do the same.
std::string Steps(const Json& json) {
  if (!json.is_object()) return "";
  const std::string type = TextOf(json, "type");
  if (type == "Sequence") {
    std::string all;
    for (const char* list : {"pretokenizers", "normalizers"})
      if (const Json* parts = FindMember(json, list))
        for (const Json& part : *parts) all += Steps(part);
    return all;
  }
  if (type == "ByteLevel")
    return fmt::format("ByteLevel {} {}\n", FlagOf(json, "add_prefix_space", true),
                       FlagOf(json, "use_regex", true));
  if (type == "Split" && json.contains("pattern"))
    return fmt::format("Split {} {} {}\n", json["pattern"].dump(), TextOf(json, "behavior"),
                       FlagOf(json, "invert", false));
  if (type == "Digits") return fmt::format("Digits {}\n", FlagOf(json, "individual_digits", false));
  if (type == "Punctuation")
    return fmt::format("Punctuation {}\n", TextOf(json, "behavior", "Isolated"));
  return json.dump() + "\n";
}

/// nullptr when GGUF has no name for the rules of a tokenizer.json.
const GgufBpeRules* FindRules(const Json& json) {
  const auto part = [&](const char* name) {
    const Json* found = FindMember(json, name);
    return found == nullptr ? Json() : *found;
  };
  const std::string normalizer = Steps(part("normalizer"));
  const std::string pre_tokenizer = Steps(part("pre_tokenizer"));
  const bool ignores_merges = FlagOf(part("model"), "ignore_merges", false);
  for (const GgufBpeRules& rules : AllGgufBpeRules())
    if (Steps(Json::parse(rules.normalizer)) == normalizer &&
        Steps(Json::parse(rules.pre_tokenizer)) == pre_tokenizer &&
        rules.ignore_merges == ignores_merges)
      return &rules;
  return nullptr;
}

[[noreturn]] void ThrowUnknownRules() {
  std::string known;
  for (const GgufBpeRules& rules : AllGgufBpeRules())
    known += (known.empty() ? "" : ", ") + std::string(rules.names.front());
  throw Error(
      fmt::format("{}: its normalizer, pre_tokenizer and ignore_merges together are none of those "
                  "that GGUF has "
                  "a name for ({})",
                  kBpeFile, known));
}

/// "a b", as in older files.
std::string MergeText(const Json& merge) {
  if (merge.is_string()) return merge;
  return merge[0].get<std::string>() + " " + merge[1].get<std::string>();
}

/// REQUIRES: `json` is that of a tokenizer that was accepted.
void AppendBpe(const Json& json, const GgufBpeRules& rules, TokenList tokens,
               GgufMetadata& metadata) {
  const Json& model = json["model"];
  for (const auto& [text, id] : model["vocab"].items())
    tokens.Set(id.get<int64_t>(), text, PieceType::kNormal);
  if (const Json* added = FindMember(json, "added_tokens"))
    for (const Json& entry : *added) {
      const AddedToken token = {.text = TextOf(entry, "content"),
                                .id = entry["id"].get<int32_t>(),
                                .special = FlagOf(entry, "special", false),
                                .single_word = FlagOf(entry, "single_word", false),
                                .lstrip = FlagOf(entry, "lstrip", false),
                                .rstrip = FlagOf(entry, "rstrip", false)};
      RequirePlain(token);
      tokens.Set(token.id, token.text, TypeOf(token));
    }
  std::vector<std::string> merges;
  merges.reserve(model["merges"].size());
  for (const Json& merge : model["merges"]) merges.push_back(MergeText(merge));
  metadata.emplace_back("tokenizer.ggml.model", std::string("gpt2"));
  metadata.emplace_back("tokenizer.ggml.pre", std::string(rules.names.front()));
  std::move(tokens).AppendTo(metadata, /*with_scores=*/false);
  metadata.emplace_back("tokenizer.ggml.merges", std::move(merges));
}

void RequireSayable(const SentencePieceModel& model) {
  const auto refuse = [](const char* what) {
    throw Error(fmt::format("{}: {}", kPiecesFile, what));
  };
  if (model.algorithm != SentencePieceAlgorithm::kBpe)
    refuse("only BPE models can be written as GGUF; this one cuts text in another way");
  if (!model.byte_fallback)
    refuse("has no byte pieces, without which llama.cpp cannot read every text");
  if (model.treat_whitespace_as_suffix || !model.escape_whitespaces)
    refuse("its rules for white space (suffix, not escaped) have no word in GGUF");
}

void AppendPieces(const TokenizerFiles& files, TokenList tokens, GgufMetadata& metadata) {
  const SentencePieceModel model = ParseSentencePieceModel(files.at(kPiecesFile));
  RequireSayable(model);
  std::set<std::string> special;
  for (const std::string& text : ReadSpecialTexts(files)) special.insert(text);
  int64_t unknown = -1;
  const auto n_pieces = static_cast<int64_t>(model.pieces.size());
  for (int64_t id = 0; id < n_pieces; ++id) {
    const auto& [text, score, type] = model.pieces[static_cast<size_t>(id)];
    if (type == PieceType::kUnknown) unknown = id;
    const bool becomes_control = type == PieceType::kNormal && special.contains(text);
    tokens.Set(id, text, becomes_control ? PieceType::kControl : type, static_cast<double>(score));
  }
  for (const AddedToken& token : ReadTokensBeside(files)) {
    RequirePlain(token);
    const bool is_piece = token.id < n_pieces;
    const PieceType before = is_piece ? tokens.type(token.id) : PieceType::kUnused;
    const bool keeps_type = before == PieceType::kUnknown || before == PieceType::kControl ||
                            before == PieceType::kByte;
    const bool is_special = token.special || special.contains(token.text);
    tokens.Set(token.id, token.text,
               keeps_type   ? before
               : is_special ? PieceType::kControl
                            : PieceType::kUserDefined,
               is_piece ? tokens.score(token.id) : kAddedScore);
  }
  metadata.emplace_back("tokenizer.ggml.model", std::string("llama"));
  metadata.emplace_back("tokenizer.ggml.pre", std::string("default"));
  std::move(tokens).AppendTo(metadata, /*with_scores=*/true);
  metadata.emplace_back("tokenizer.ggml.add_space_prefix", model.add_dummy_prefix);
  metadata.emplace_back("tokenizer.ggml.remove_extra_whitespaces", model.remove_extra_whitespaces);
  if (unknown >= 0) metadata.emplace_back("tokenizer.ggml.unknown_token_id", unknown);
}

/// As it is, whatever language it is written in; empty: none.
std::string ChatTemplateText(const TokenizerFiles& files) {
  if (const auto file = files.find("chat_template.jinja"); file != files.end()) return file->second;
  const JsonText config = ParseTokenizerFile(files, kTokenizerConfigFile);
  const Json* found = FindMember(config.value(), "chat_template");
  if (found == nullptr) return "";
  if (found->is_string()) return *found;
  if (found->is_array())
    for (const Json& entry : *found)
      if (TextOf(entry, "name") == "default") return TextOf(entry, "template");
  return "";
}

void AppendModel(const TokenizerFiles& files, const Tokenizer& tokenizer, TokenList tokens,
                 GgufMetadata& metadata) {
  if (!files.contains(kBpeFile)) {
    if (files.contains(kPiecesFile)) return AppendPieces(files, std::move(tokens), metadata);
    throw Error(
        "vocab.json: GGUF needs the rules of a tokenizer.json; save the tokenizer with a current "
        "transformers (save_pretrained), which writes one");
  }
  const JsonText text = JsonText::Parse(files.at(kBpeFile), kBpeFile, {.allow_comments = false});
  if (const GgufBpeRules* rules = FindRules(text.value()))
    return AppendBpe(text.value(), *rules, std::move(tokens), metadata);
  if (!files.contains(kPiecesFile)) ThrowUnknownRules();
  // Of a SentencePiece model in both forms GGUF takes the model itself.
  TokenizerFiles others = files;
  others.erase(kBpeFile);
  if (const auto pieces = MakeTokenizer(others); pieces->vocab_size() != tokenizer.vocab_size())
    throw Error(fmt::format("{} has {} ids, {} {}: which of them the model knows is not clear",
                            kBpeFile, tokenizer.vocab_size(), kPiecesFile, pieces->vocab_size()));
  AppendPieces(others, std::move(tokens), metadata);
}

}  // namespace

GgufMetadata TokenizerToGguf(const std::map<std::string, std::string>& files, int64_t vocab_size) {
  GgufMetadata metadata;
  if (files.empty()) {
    metadata.emplace_back("tokenizer.ggml.model", std::string("none"));
    return metadata;
  }
  const auto tokenizer = MakeTokenizer(files);  // says what is malformed
  AppendModel(TokenizerFilesForOthers(files), *tokenizer, TokenList(vocab_size), metadata);
  const int32_t leading = tokenizer->leading_id();
  if (leading >= 0 && leading != tokenizer->bos_id())
    throw Error(
        fmt::format("tokenizer: begins texts with token {}, which is not its BOS; GGUF "
                    "cannot say that",
                    leading));
  for (const auto& [key, id] : {std::pair{"tokenizer.ggml.bos_token_id", tokenizer->bos_id()},
                                {"tokenizer.ggml.eos_token_id", tokenizer->eos_id()}})
    if (id >= 0) metadata.emplace_back(key, int64_t{id});
  metadata.emplace_back("tokenizer.ggml.add_bos_token", leading >= 0);
  if (const auto adds_eos = ReadConfigFlag(files, "add_eos_token"))
    metadata.emplace_back("tokenizer.ggml.add_eos_token", *adds_eos);
  if (std::string chat = ChatTemplateText(files); !chat.empty())
    metadata.emplace_back("tokenizer.chat_template", std::move(chat));
  return metadata;
}

std::string WhatGgufTokenizerLoses(const std::map<std::string, std::string>& files) {
  if (files.empty() || MakeTokenizer(files)->kind() != "sentencepiece") return "";
  if (!ParseSentencePieceModel(files.at(kPiecesFile)).remove_extra_whitespaces) return "";
  return "the tokenizer drops spaces at the ends of a text and all but one of several; llama.cpp "
         "keeps them, so that such texts have other ids there";
}

}  // namespace puzzle
