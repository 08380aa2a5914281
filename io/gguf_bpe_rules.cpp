#include "io/gguf_bpe_rules.h"

#include <nlohmann/json.hpp>

#include "io/split_patterns.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kByteLevel =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
constexpr const char* kDigitsAndByteLevel =
    R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]})";
constexpr const char* kFalcon =
    R"({"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},)"
    R"({"type":"Digits","individual_digits":false},)"
    R"({"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated","invert":false}]})";

/// A Split by each of the patterns, then bytes.
std::string SplitsAndBytes(const std::vector<std::string_view>& patterns) {
  Json parts = Json::array();
  for (const std::string_view pattern : patterns)
    parts.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  parts.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return Json{{"type", "Sequence"}, {"pretokenizers", parts}}.dump();
}

}  // namespace

const std::vector<GgufBpeRules>& AllGgufBpeRules() {
  static const std::vector<GgufBpeRules> rules = {
      {{"gpt-2", "phi-2"}, "null", kByteLevel, false, false},
      {{"smollm", "starcoder", "refact"}, "null", kDigitsAndByteLevel, false, false},
      {{"llama-bpe", "llama3", "llama-v3"}, "null", SplitsAndBytes({kLlama3Pattern}), true, true},
      {{"dbrx"}, "null", SplitsAndBytes({kLlama3Pattern}), false, false},  // Phi-4
      {{"qwen2"}, R"({"type":"NFC"})", SplitsAndBytes({kQwen2Pattern}), false, false},
      {{"tekken"}, "null", SplitsAndBytes({kTekkenPattern}), true, true},
      {{"gpt-4o"}, "null", SplitsAndBytes({kO200kPattern}), false, false},
      {{"deepseek-v3"},
       "null",
       SplitsAndBytes({R"(\p{N}{1,3})", kCjkPattern, kDeepSeekV3Pattern}),
       false,
       false},
      {{"falcon"}, "null", kFalcon, false, false},
  };
  return rules;
}

}  // namespace puzzle
