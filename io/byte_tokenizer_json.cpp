#include "io/byte_tokenizer_json.h"

#include <nlohmann/json.hpp>

#include "io/byte_alphabet.h"
#include "io/tokenizer.h"

namespace puzzle {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kBeginName = "<|begin_of_bytes|>";
constexpr const char* kEndName = "<|end_of_bytes|>";

Json SpecialToken(int32_t id, const char* text) {
  return {{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

/// A BPE without merges, so that it does not matter how texts are cut into words.
Json TokenizerJson(const Tokenizer& tokenizer) {
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte)
    vocab[LetterOfByte(static_cast<unsigned char>(byte))] = byte;
  const Json begin = {{"SpecialToken", {{"id", kBeginName}, {"type_id", 0}}}};
  const auto text = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  Json json = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  json["added_tokens"] = Json::array(
      {SpecialToken(tokenizer.bos_id(), kBeginName), SpecialToken(tokenizer.eos_id(), kEndName)});
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = byte_level;
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", Json::array({begin, text("A", 0)})},
      {"pair", Json::array({begin, text("A", 0), begin, text("B", 1)})},
      {"special_tokens",
       {{kBeginName,
         {{"id", kBeginName}, {"ids", {tokenizer.bos_id()}}, {"tokens", {kBeginName}}}}}}};
  json["decoder"] = byte_level;
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", false},
                   {"vocab", std::move(vocab)},
                   {"merges", Json::array()}};
  return json;
}

}  // namespace

std::map<std::string, std::string> TokenizerFilesForOthers(
    std::map<std::string, std::string> files) {
  if (files.empty()) return files;
  const auto tokenizer = MakeTokenizer(files);
  if (tokenizer->kind() != "byte") return files;
  files["tokenizer.json"] = TokenizerJson(*tokenizer).dump(1) + "\n";
  const Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"bos_token", kBeginName},
                       {"eos_token", kEndName},
                       {"clean_up_tokenization_spaces", false}};
  files["tokenizer_config.json"] = config.dump(1) + "\n";
  return files;
}

}  // namespace puzzle
