// Texts that a model writes: several prompts at once, each ending where it ends. Belongs to one
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizer.h"
#include "model/decode/decoder.h"
#include "model/decode/sampler.h"

namespace puzzle::decode {

struct WritingOptions {
  int64_t tokens = 128;                 // at most, of each text
  SamplingOptions sampling = {};        // prompt i draws with seed + i
  std::vector<std::string> stops = {};  // a text ends before the first of them
};

/// Why a text ended.
enum class TextEnd {
  kTokens,   // it has as many as were asked for
  kEos,      // the model said so, or began the next document
  kStop,     // a stop string came
  kContext,  // the decoder has no more room
};
/// "tokens", "eos", "stop", "context".
[[nodiscard]] std::string_view TextEndName(TextEnd end);

struct WrittenText {
  std::string text;          // without the prompt; U+FFFD for bytes that are no UTF-8
  std::vector<int32_t> ids;  // an EOS or BOS that ended it included
  TextEnd end = TextEnd::kTokens;
};

/// Called with a prompt's number and text that follows what was passed before: whole characters,
/// and nothing that may still become a stop string.
using TextListener = std::function<void(int64_t prompt, std::string_view piece)>;

/// Continues every prompt, as many at a time as the decoder has sequences; what a sequence has read
/// already, if a prompt begins with it, is not read again. `poll` is called before every step and
/// may throw. Throws Error, before anything is read, for an empty prompt, one that there is no room
/// for, ids outside the vocabulary, and empty stop strings.
[[nodiscard]] std::vector<WrittenText> WriteTexts(Decoder& decoder, const Tokenizer& tokenizer,
                                                  std::span<const std::vector<int32_t>> prompts,
                                                  const WritingOptions& options,
                                                  const TextListener& listener = {},
                                                  const std::function<void()>& poll = {});

}  // namespace puzzle::decode
