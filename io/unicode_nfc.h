// Unicode's canonical composition, by utf8proc: tokenizers of the Qwen family want it. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace puzzle {

/// `text` in normalisation form C. Throws Error when memory is short. REQUIRES: valid UTF-8.
[[nodiscard]] std::string ToNfc(std::string_view text);

}  // namespace puzzle
