// Which rules of a byte-level tokenizer.json a GGUF file can name. Part of gguf_tokenizer.h;
// thread-safe (constant tables).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace puzzle {

/// What `tokenizer.ggml.pre` stands for, as the models' own tokenizer.json says it.
struct GgufBpeRules {
  std::vector<std::string_view> names;
  std::string normalizer;
  std::string pre_tokenizer;
  bool ignore_merges;
  bool adds_bos;  // unless add_bos_token says otherwise
};

[[nodiscard]] const std::vector<GgufBpeRules>& AllGgufBpeRules();

}  // namespace puzzle
