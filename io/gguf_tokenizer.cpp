#include "io/gguf_tokenizer.h"

#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/gguf_bpe_rules.h"
#include "io/sentencepiece_model.h"
#include "io/tokenizer_limits.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxTokens = 1 << 21;

/// The lists of a GGUF's tokenizer and its special tokens, checked against each other.
class Vocabulary {
 public:
  explicit Vocabulary(const GgufReader& reader) : reader_(reader) {
    const auto* tokens = reader.FindTexts("tokenizer.ggml.tokens");
    if (tokens == nullptr) Fail("tokens", "missing");
    tokens_ = tokens;
    if (tokens->empty() || tokens->size() > kMaxTokens)
      Fail("tokens", fmt::format("{} tokens, expected 1 to {}", tokens->size(), kMaxTokens));
    types_ = reader.FindInts("tokenizer.ggml.token_type");
    if (types_ != nullptr && types_->size() != tokens->size())
      Fail("token_type", fmt::format("{} types for {} tokens", types_->size(), tokens->size()));
    std::unordered_map<std::string_view, size_t> ids;
    for (size_t id = 0; id < tokens->size(); ++id) CheckToken(id, ids);
  }

  [[nodiscard]] size_t size() const { return tokens_->size(); }
  [[nodiscard]] const std::string& text(size_t id) const { return (*tokens_)[id]; }
  [[nodiscard]] PieceType type(size_t id) const {
    return types_ == nullptr ? PieceType::kNormal : static_cast<PieceType>((*types_)[id]);
  }
  /// A special token, "bos" or "eos"; nothing when there is none.
  [[nodiscard]] std::optional<size_t> SpecialId(const char* role) const {
    const std::string key = fmt::format("{}_token_id", role);
    const auto id = reader_.FindInt("tokenizer.ggml." + key);
    // llama.cpp writes 2^32 - 1 for none.
    if (!id || *id == UINT32_MAX) return std::nullopt;
    if (*id < 0 || *id >= static_cast<int64_t>(size()))
      Fail(key.c_str(), fmt::format("{} is not one of {} tokens", *id, size()));
    return static_cast<size_t>(*id);
  }
  /// Its text; empty when there is none.
  [[nodiscard]] std::string Special(const char* role) const {
    const auto id = SpecialId(role);
    return id ? text(*id) : "";
  }
  [[noreturn]] void Fail(const char* key, const std::string& what) const {
    throw Error(fmt::format("{}: tokenizer.ggml.{}: {}", reader_.path(), key, what));
  }

 private:
  void CheckToken(size_t id, std::unordered_map<std::string_view, size_t>& ids) const {
    const std::string& token = text(id);
    if (token.empty() || token.size() > kMaxTokenBytes)
      Fail("tokens", fmt::format("token {} has {} bytes, expected 1 to {}", id, token.size(),
                                 kMaxTokenBytes));
    if (!IsUtf8(token)) Fail("tokens", fmt::format("token {} is not UTF-8", id));
    if (const auto [first, is_new] = ids.emplace(token, id); !is_new)
      Fail("tokens", fmt::format("tokens {} and {} are both \"{}\"", first->second, id, token));
    if (types_ != nullptr && ((*types_)[id] < 1 || (*types_)[id] > 6))
      Fail("token_type", fmt::format("{} of token {} is not in 1 to 6", (*types_)[id], id));
  }

  const GgufReader& reader_;
  const std::vector<std::string>* tokens_ = nullptr;
  const std::vector<int64_t>* types_ = nullptr;
};

bool IsSpecial(PieceType type) {
  return type == PieceType::kControl || type == PieceType::kUnknown;
}

std::string Quoted(const std::string& text) {
  return Json(text).dump();
}

/// A list or object of many entries; libraries take quadratic time to keep their order.
class Entries {
 public:
  void Add(const std::string& entry) {
    if (!text_.empty()) text_ += ',';
    text_ += entry;
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

const GgufBpeRules& RulesFor(const GgufReader& reader) {
  const std::string name = reader.FindText("tokenizer.ggml.pre").value_or("default");
  std::string known;
  for (const GgufBpeRules& rules : AllGgufBpeRules()) {
    for (const std::string_view own : rules.names) {
      if (own == name) return rules;
      known += (known.empty() ? "" : ", ") + std::string(own);
    }
  }
  throw Error(fmt::format("{}: tokenizer.ggml.pre \"{}\" is not supported ({})", reader.path(),
                          name, known));
}

/// <bos> before the text, as tokenizer.json says it.
Json BosTemplate(const std::string& bos, size_t id) {
  const Json token = {{"SpecialToken", {{"id", bos}, {"type_id", 0}}}};
  const auto sequence = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  Json again = token;
  again["SpecialToken"]["type_id"] = 1;
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({token, sequence("A", 0)})},
          {"pair", Json::array({token, sequence("A", 0), again, sequence("B", 1)})},
          {"special_tokens",
           {{bos, {{"id", bos}, {"ids", Json::array({id})}, {"tokens", Json::array({bos})}}}}}};
}

std::string BpeJson(const GgufReader& reader, const Vocabulary& vocabulary,
                    const GgufBpeRules& rules, bool adds_bos) {
  Entries added, vocab, merges;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const PieceType type = vocabulary.type(id);
    if (type == PieceType::kUnused) continue;  // fills the embedding up
    const std::string text = Quoted(vocabulary.text(id));
    vocab.Add(fmt::format("{}:{}", text, id));
    if (type != PieceType::kNormal && type != PieceType::kByte)
      added.Add(fmt::format(R"({{"id":{},"content":{},"single_word":false,"lstrip":false,)"
                            R"("rstrip":false,"normalized":false,"special":{}}})",
                            id, text, IsSpecial(type)));
  }
  const auto* list = reader.FindTexts("tokenizer.ggml.merges");
  if (list == nullptr) vocabulary.Fail("merges", "missing");
  for (const std::string& merge : *list) {
    if (!IsUtf8(merge)) vocabulary.Fail("merges", "a merge is not UTF-8");
    merges.Add(Quoted(merge));
  }
  Json processor = {{"type", "ByteLevel"},
                    {"add_prefix_space", true},
                    {"trim_offsets", false},
                    {"use_regex", true}};
  const std::string bos = vocabulary.Special("bos");
  if (adds_bos && !bos.empty())
    processor = BosTemplate(
        bos, static_cast<size_t>(reader.FindInt("tokenizer.ggml.bos_token_id").value_or(0)));
  return fmt::format(
      R"({{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{}],"normalizer":{},)"
      R"("pre_tokenizer":{},"post_processor":{},"decoder":{{"type":"ByteLevel",)"
      R"("add_prefix_space":true,"trim_offsets":true,"use_regex":true}},"model":{{"type":"BPE",)"
      R"("dropout":null,"unk_token":null,"continuing_subword_prefix":null,)"
      R"("end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":{},)"
      R"("vocab":{{{}}},"merges":[{}]}}}})",
      added.text(), rules.normalizer, rules.pre_tokenizer, processor.dump(), rules.ignore_merges,
      vocab.text(), merges.text());
}

/// Fields of a protobuf message.
class MessageWriter {
 public:
  void Varint(uint64_t number, uint64_t value) {
    Append(number << 3);
    Append(value);
  }
  void Bytes(uint64_t number, const std::string& bytes) {
    Append(number << 3 | 2);
    Append(bytes.size());
    message_ += bytes;
  }
  void Float(uint64_t number, float value) {
    Append(number << 3 | 5);
    char bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    message_.append(bytes, sizeof(bytes));
  }
  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  void Append(uint64_t value) {
    for (; value >= 0x80; value >>= 7) message_ += static_cast<char>(value | 0x80);
    message_ += static_cast<char>(value);
  }

  std::string message_;
};

/// Whether a blank goes before every text.
bool AddsBlank(const GgufReader& reader) {
  return reader.FindBool("tokenizer.ggml.add_space_prefix").value_or(true);
}

/// Whether blanks behind the token belong to it: in Phi-3, behind all but three of those that
/// stand for something, which files do not say and llama.cpp knows by the model's name.
bool TakesBlanksBehind(const GgufReader& reader, const std::string& token) {
  return reader.FindText("general.architecture") == "phi3" && token != "<unk>" && token != "<s>" &&
         token != "<|endoftext|>";
}

/// One piece of a model stands for what it does not know. Today's converters call that a control
/// token, as all special ones; without a key llama.cpp takes the first.
std::vector<PieceType> PieceTypes(const Vocabulary& vocabulary) {
  std::vector<PieceType> types;
  for (size_t id = 0; id < vocabulary.size(); ++id) types.push_back(vocabulary.type(id));
  if (std::find(types.begin(), types.end(), PieceType::kUnknown) == types.end())
    types[vocabulary.SpecialId("unknown").value_or(0)] = PieceType::kUnknown;
  return types;
}

/// Models say blanks as U+2581, converters those of user-defined tokens (Gemma's runs of blanks) as
/// they are in text. What is found in text before the model sees it stays so, and what would become
/// another token.
std::vector<std::string> PieceTexts(const GgufReader& reader, const Vocabulary& vocabulary) {
  std::unordered_set<std::string_view> taken;
  for (size_t id = 0; id < vocabulary.size(); ++id) taken.insert(vocabulary.text(id));
  std::vector<std::string> texts;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& text = vocabulary.text(id);
    std::string piece;
    for (const char c : text) {
      if (c == ' ') {
        piece += kMetaspace;
      } else {
        piece += c;
      }
    }
    const bool is_said = vocabulary.type(id) == PieceType::kUserDefined && !taken.contains(piece) &&
                         !TakesBlanksBehind(reader, text);
    texts.push_back(is_said ? piece : text);
  }
  return texts;
}

/// A tokenizer.model; the numbers are those of sentencepiece_model.proto.
std::string SentencePieceBytes(const GgufReader& reader, const Vocabulary& vocabulary,
                               SentencePieceAlgorithm algorithm) {
  const auto* scores = reader.FindNumbers("tokenizer.ggml.scores");
  if (scores == nullptr || scores->size() != vocabulary.size())
    vocabulary.Fail("scores",
                    fmt::format("{} scores for {} tokens", scores == nullptr ? 0 : scores->size(),
                                vocabulary.size()));
  const std::vector<PieceType> types = PieceTypes(vocabulary);
  const std::vector<std::string> texts = PieceTexts(reader, vocabulary);
  MessageWriter model;
  bool has_bytes = false;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    MessageWriter piece;
    piece.Bytes(1, texts[id]);
    piece.Float(2, static_cast<float>((*scores)[id]));
    piece.Varint(3, static_cast<uint64_t>(types[id]));
    has_bytes = has_bytes || types[id] == PieceType::kByte;
    model.Bytes(1, piece.message());
  }
  MessageWriter trainer;
  trainer.Varint(3, static_cast<uint64_t>(algorithm));
  trainer.Varint(35, has_bytes ? 1 : 0);
  for (const auto& [number, role] : {std::pair{46, "bos"}, {47, "eos"}})
    if (const std::string text = vocabulary.Special(role); !text.empty())
      trainer.Bytes(static_cast<uint64_t>(number), text);
  MessageWriter normalizer;
  normalizer.Bytes(1, "identity");
  normalizer.Varint(3, AddsBlank(reader) ? 1 : 0);
  normalizer.Varint(
      4, reader.FindBool("tokenizer.ggml.remove_extra_whitespaces").value_or(false) ? 1 : 0);
  normalizer.Varint(5, 1);
  model.Bytes(2, trainer.message());
  model.Bytes(3, normalizer.message());
  return model.message();
}

/// `added_tokens_decoder`: the tokens that are found in text before anything else.
Json AddedTokensDecoder(const GgufReader& reader, const Vocabulary& vocabulary) {
  Json table = Json::object();
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& text = vocabulary.text(id);
    const bool takes_blanks = TakesBlanksBehind(reader, text);
    const bool is_found = IsSpecial(vocabulary.type(id)) ||
                          (takes_blanks && vocabulary.type(id) == PieceType::kUserDefined);
    if (is_found)
      table.push_back({std::to_string(id),
                       {{"content", text},
                        {"lstrip", false},
                        {"normalized", false},
                        {"rstrip", takes_blanks},
                        {"single_word", false},
                        {"special", IsSpecial(vocabulary.type(id))}}});
  }
  return table;
}

std::string ConfigJson(const GgufReader& reader, const Vocabulary& vocabulary, bool adds_bos,
                       bool is_sentencepiece) {
  Json config;
  config["tokenizer_class"] = is_sentencepiece ? "LlamaTokenizer" : "PreTrainedTokenizerFast";
  config["add_bos_token"] = adds_bos;
  if (const auto adds_eos = reader.FindBool("tokenizer.ggml.add_eos_token"))
    config["add_eos_token"] = *adds_eos;
  for (const auto& [role, field] : {std::pair{"bos", "bos_token"},
                                    {"eos", "eos_token"},
                                    {"unknown", "unk_token"},
                                    {"padding", "pad_token"}})
    if (const std::string text = vocabulary.Special(role); !text.empty()) config[field] = text;
  config["clean_up_tokenization_spaces"] = false;
  if (const auto chat = reader.FindText("tokenizer.chat_template")) {
    if (!IsUtf8(*chat)) throw Error(reader.path() + ": tokenizer.chat_template: is not UTF-8");
    config["chat_template"] = *chat;
  }
  // The class puts a blank in front of texts by itself, whatever the model says.
  if (is_sentencepiece && !AddsBlank(reader)) config["add_prefix_space"] = false;
  if (is_sentencepiece) config["added_tokens_decoder"] = AddedTokensDecoder(reader, vocabulary);
  return config.dump(2) + "\n";
}

}  // namespace

std::map<std::string, std::string> TokenizerFilesFromGguf(const GgufReader& reader) {
  const std::string model = reader.FindText("tokenizer.ggml.model").value_or("none");
  if (model == "none" || model == "no_vocab") return {};
  if (model != "gpt2" && model != "llama" && model != "t5")
    throw Error(fmt::format("{}: tokenizer.ggml.model \"{}\" is not supported (gpt2, llama, t5)",
                            reader.path(), model));
  const Vocabulary vocabulary(reader);
  const bool is_sentencepiece = model != "gpt2";
  if (reader.metadata().count("tokenizer.ggml.precompiled_charsmap") != 0)
    vocabulary.Fail("precompiled_charsmap", "rules of normalisation are not supported");
  const auto says_bos = reader.FindBool("tokenizer.ggml.add_bos_token");
  std::map<std::string, std::string> files;
  bool adds_bos = says_bos.value_or(true);
  if (is_sentencepiece) {
    files["tokenizer.model"] = SentencePieceBytes(
        reader, vocabulary,
        model == "t5" ? SentencePieceAlgorithm::kUnigram : SentencePieceAlgorithm::kBpe);
  } else {
    const GgufBpeRules& rules = RulesFor(reader);
    adds_bos = says_bos.value_or(rules.adds_bos);
    files["tokenizer.json"] = BpeJson(reader, vocabulary, rules, adds_bos);
  }
  files["tokenizer_config.json"] = ConfigJson(reader, vocabulary, adds_bos, is_sentencepiece);
  return files;
}

}  // namespace puzzle
