// GGUF files, the checkpoints of llama.cpp: metadata and tensors in one file, or in several parts.
// Readers are immutable after opening and may be shared by threads (positioned reads). io/README.md
// lists what opening checks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/array.h"

namespace puzzle {

/// A value of the metadata; integers and floats of every width, and arrays of them.
using GgufValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string>>;

class GgufReader {
 public:
  /// `path` is a file, or the first of several parts (NAME-00001-of-00003.gguf), whose others lie
  /// beside it. Reads metadata and the list of tensors only. Throws Error naming file and field for
  /// everything malformed, and the part that is missing.
  static GgufReader Open(const std::string& path);

  GgufReader(GgufReader&&) noexcept;
  GgufReader& operator=(GgufReader&&) noexcept;
  ~GgufReader();

  /// As it was given.
  [[nodiscard]] const std::string& path() const;
  [[nodiscard]] const std::map<std::string, GgufValue>& metadata() const;

  // Of the metadata; nothing when a key is absent. Throw Error "file: key: expected ..." for a
  // value of another type.
  [[nodiscard]] std::optional<bool> FindBool(const std::string& key) const;
  [[nodiscard]] std::optional<int64_t> FindInt(const std::string& key) const;
  /// The shortest decimal that reads back as the float of the file: 1e-05, not 9.99999974e-06.
  [[nodiscard]] std::optional<double> FindNumber(const std::string& key) const;
  [[nodiscard]] std::optional<std::string> FindText(const std::string& key) const;
  [[nodiscard]] const std::vector<std::string>* FindTexts(const std::string& key) const;
  [[nodiscard]] const std::vector<int64_t>* FindInts(const std::string& key) const;
  [[nodiscard]] const std::vector<double>* FindNumbers(const std::string& key) const;

  // Of the tensors. Shapes are row-major, [out, in].
  /// Sorted.
  [[nodiscard]] std::vector<std::string> Names() const;
  [[nodiscard]] bool Has(const std::string& name) const;
  /// Throw Error when there is no such tensor.
  [[nodiscard]] const Shape& ShapeOf(const std::string& name) const;
  [[nodiscard]] std::string_view TypeOf(const std::string& name) const;
  /// The part that holds the tensor, for messages.
  [[nodiscard]] const std::string& FileOf(const std::string& name) const;
  /// Reads in pieces and dequantises (io/ggml_types.h). Throws Error, naming the tensor, for types
  /// that are not read here and for NaN or infinity. REQUIRES: `out` holds as many elements as the
  /// tensor.
  void ReadF32(const std::string& name, std::span<float> out) const;
  /// The same of rows of a matrix from `first` on, as many as `out` holds; of a tensor of more
  /// dimensions, of its first one. REQUIRES: the tensor has them.
  void ReadRowsF32(const std::string& name, int64_t first, std::span<float> out) const;
  /// Whether two tensors have the same type, shape and bytes; reads up to the first that differ.
  [[nodiscard]] bool SameBytes(const std::string& a, const std::string& b) const;

 private:
  friend std::string DigestGguf(const GgufReader& reader);

  GgufReader();
  struct State;
  std::unique_ptr<State> state_;
};

/// The files of a checkpoint: those of all parts for the first of several, else `path`. By name
/// only.
[[nodiscard]] std::vector<std::string> GgufParts(const std::string& path);

/// Whether an ordinary file is there that begins as a GGUF file does.
[[nodiscard]] bool BeginsAsGguf(const std::string& path);
/// Whether `path` names a GGUF file: by its ending, or what is there begins as one.
[[nodiscard]] bool IsGgufPath(const std::string& path);

/// Content digest over metadata and the name, type, shape and bytes of every tensor. Neither the
/// order in the file nor cutting it into parts changes it.
[[nodiscard]] std::string DigestGguf(const GgufReader& reader);

}  // namespace puzzle
