// The keys of one architecture in the metadata of a GGUF file. Torch-free; thread-safe (reads
// only).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf.h"

namespace puzzle {

/// "llama.block_count" as "block_count". REQUIRES: the reader outlives this.
class GgufKeys {
 public:
  GgufKeys(const GgufReader& reader, std::string_view architecture);

  [[nodiscard]] std::string Name(const char* key) const;
  // Nothing when the key is absent; Error for a value of another type.
  [[nodiscard]] std::optional<int64_t> FindInt(const char* key) const;
  [[nodiscard]] std::optional<double> FindNumber(const char* key) const;
  [[nodiscard]] std::optional<std::string> FindText(const char* key) const;
  /// An absent key is a failure.
  [[nodiscard]] int64_t Int(const char* key) const;
  /// Whether the key is there and has a list of integers.
  [[nodiscard]] bool IsList(const char* key) const;
  /// One number per layer, or one for all of them; `otherwise` when the key is absent, which is a
  /// failure if that is empty.
  [[nodiscard]] std::vector<int64_t> PerLayer(const char* key, int64_t layers,
                                              const std::vector<int64_t>& otherwise) const;
  /// Throws Error "file: key: what".
  [[noreturn]] void Fail(const char* key, const std::string& what) const;
  [[nodiscard]] const GgufReader& reader() const { return reader_; }

 private:
  const GgufReader& reader_;
  std::string architecture_;
};

}  // namespace puzzle
