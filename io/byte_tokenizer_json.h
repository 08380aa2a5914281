// The byte tokenizer in the words of other programs. Thread-safe (pure functions).
#pragma once

#include <map>
#include <string>

namespace puzzle {

/// The files of a tokenizer so that others read it as well: as they are, and beside the
/// byte_tokenizer.json that only we know a tokenizer.json and tokenizer_config.json with the same
/// ids.
[[nodiscard]] std::map<std::string, std::string> TokenizerFilesForOthers(
    std::map<std::string, std::string> files);

}  // namespace puzzle
