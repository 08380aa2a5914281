// Models into GGUF files; model/files/open_checkpoint.h reads them. Thread-safe (no shared state).
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "io/ggml_types.h"
#include "model/files/stored_parts.h"
#include "model/weights.h"

namespace puzzle {

struct GgufOptions {
  const GgmlType* type = nullptr;  // of matrices; vectors and learned positions are F32
  std::string name = {};           // general.name; empty: none
  std::map<std::string, std::string> tokenizer_files = {};  // name -> bytes; may be empty
  StoredTypes types = {};  // of the matrices of some parts, in place of `type`
};

/// Bytes of a file that was not written.
struct GgufSizes {
  uint64_t file = 0;
  std::map<std::string, uint64_t> parts;  // by name, with the vectors that lie beside the matrices
};
/// Throws Error as SaveGguf, but for values. What no part accounts for (metadata, tokenizer, norms,
/// zeros that llama.cpp needs) does not depend on the types, if `types` names one.
[[nodiscard]] GgufSizes SizesInGguf(const ModelWeights& model, const GgufOptions& options);

/// Writes a model in the form of model/files/gguf_form.h, its tokenizer and chat template inside;
/// returns the bytes of the file. A few rows, or one tensor, are copied and converted at a time.
/// The file appears whole or not at all. Throws Error, before anything is written, for what GGUF
/// has no word for, for a type whose blocks do not divide the rows of a matrix, and for types of
/// parts that are not there; and for values that are too large for the type.
uint64_t SaveGguf(const std::string& path, const ModelWeights& model, const GgufOptions& options);

}  // namespace puzzle
