// Any text as a tokenizer.json (and, behind a NUL, a tokenizer_config.json): refused with an Error,
// or it encodes a text to ids of its vocabulary, and decodes every id there is.
#include "io/tokenizer.h"

#include <numeric>

#include "io/error.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace puzzle;
  const std::string input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), input.size());
  std::map<std::string, std::string> files = {{"tokenizer.json", input.substr(0, end)}};
  if (end < input.size()) files["tokenizer_config.json"] = input.substr(end + 1);
  try {
    const auto tokenizer = MakeTokenizer(files);
    const std::string text = "Ab ab's 12345 \xC3\xA9\xE2\x96\x81<s>  \r\n\xFF.";
    for (const int32_t id : tokenizer->Encode(text))
      PUZZLE_CHECK(id >= 0 && id < tokenizer->vocab_size(), "an id that is none");
    std::vector<int32_t> ids(static_cast<size_t>(std::min(tokenizer->vocab_size(), 1000)));
    std::iota(ids.begin(), ids.end(), tokenizer->vocab_size() - static_cast<int32_t>(ids.size()));
    (void)tokenizer->Decode(ids);
    for (const int32_t id : {tokenizer->bos_id(), tokenizer->eos_id(), tokenizer->leading_id()})
      PUZZLE_CHECK(id >= -1 && id < tokenizer->vocab_size(), "a special id that is none");
  } catch (const Error&) {  // refused
  }
  return 0;
}

namespace puzzle::fuzz {

std::vector<std::string> Seeds() {
  const std::string model =
      R"("model":{"type":"BPE","unk_token":"c","fuse_unk":true,"byte_fallback":true,)"
      R"("vocab":{"a":0,"b":1,"ab":2,"c":3,"▁":4,"Ġ":5},"merges":["a b",["Ġ","a"]]}})";
  const std::string added =
      R"({"added_tokens":[{"id":6,"content":"<s>","special":true,"lstrip":true,"rstrip":true,)"
      R"("single_word":true,"normalized":true}],)";
  const std::string bytes = R"("decoder":{"type":"ByteLevel"},"pre_tokenizer":)";
  const std::string config =
      R"({"bos_token":"<s>","eos_token":{"content":"a"},"add_bos_token":true})";
  return {
      added + bytes + R"({"type":"ByteLevel","add_prefix_space":true,"use_regex":true},)" + model,
      added + bytes +
          R"({"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated",)"
          R"("pattern":{"Regex":"\\p{N}{1,3}|\\s+$|[\r\n]"}},{"type":"Punctuation"},)"
          R"({"type":"ByteLevel","use_regex":false,"add_prefix_space":false},)"
          R"({"type":"Digits"}]},)" +
          model + std::string(1, '\0') + config,
      added +
          R"("normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Prepend",)"
          R"("prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},)"
          R"("decoder":{"type":"Sequence","decoders":[{"type":"Strip"}]},)"
          R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}]},)" +
          model,
      added + R"("pre_tokenizer":{"type":"Metaspace","prepend_scheme":"first","split":true},)" +
          model};
}

std::vector<std::string> Words() {
  return {"\"type\"",
          "\"Sequence\"",
          "\"Split\"",
          "\"Digits\"",
          "\"Punctuation\"",
          "\"behavior\"",
          "\"Removed\"",
          "\"invert\"",
          "\"MergedWithPrevious\"",
          "{\"String\":\" \"}",
          "\"pattern\"",
          "\"Regex\"",
          "\"Replace\"",
          "\"content\"",
          "\"merges\"",
          "\"vocab\"",
          "\"id\"",
          "2097152",
          "2097153",
          "-1",
          "null",
          "true",
          "{",
          "}",
          "[",
          "]",
          ",",
          "<0x41>",
          "\\u0000",
          "\xFF",
          std::string(1, '\0')};
}

}  // namespace puzzle::fuzz
