// An archive is one immutable file of named attributes (JSON values) and named arrays. This is the
// interface; io/hdf5_archive.h is the format on disk. One archive object belongs to one thread at a
// time; different archives may be used from different threads.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/array.h"

namespace puzzle {

/// Writes one archive. Nothing is readable before Close() returned. Every failure throws Error
/// naming the file.
class ArchiveWriter {
 public:
  virtual ~ArchiveWriter() = default;

  /// Stores a JSON value (scalar, array or object) under `name`. REQUIRES: `name` is new.
  virtual void SetAttribute(std::string_view name, const nlohmann::json& value) = 0;
  /// Stores a whole array. REQUIRES: `name` is new. Names may contain '/'.
  virtual void Write(std::string_view name, const ArrayView& array) = 0;
  /// Begins an array of `shape` whose rows (first dimension) arrive in order through Append.
  virtual void Create(std::string_view name, DType dtype, const Shape& shape) = 0;
  /// Appends `rows` to an array begun with Create. REQUIRES: same dtype and trailing dimensions.
  virtual void Append(std::string_view name, const ArrayView& rows) = 0;
  /// Flushes and closes. Throws if a created array lacks rows. Without Close the file is garbage
  /// and the caller removes it.
  virtual void Close() = 0;
};

/// Reads one archive. Every failure (missing name, wrong type, short file) throws Error.
class ArchiveReader {
 public:
  virtual ~ArchiveReader() = default;

  [[nodiscard]] virtual bool HasAttribute(std::string_view name) const = 0;
  [[nodiscard]] virtual nlohmann::json Attribute(std::string_view name) const = 0;
  [[nodiscard]] virtual std::vector<std::string> AttributeNames() const = 0;
  /// Names of all arrays, sorted.
  [[nodiscard]] virtual std::vector<std::string> ArrayNames() const = 0;
  [[nodiscard]] virtual bool HasArray(std::string_view name) const = 0;
  [[nodiscard]] virtual ArrayInfo Info(std::string_view name) const = 0;
  /// Reads the whole array into `out`, which holds Info(name) elements.
  virtual void Read(std::string_view name, void* out) const = 0;
  /// Reads rows [first, first + count) of the first dimension.
  virtual void ReadRows(std::string_view name, int64_t first, int64_t count, void* out) const = 0;
};

/// How archives reach the disk; lets the store stay ignorant of HDF5.
struct ArchiveFormat {
  std::function<std::unique_ptr<ArchiveWriter>(const std::string& path)> create;
  std::function<std::shared_ptr<ArchiveReader>(const std::string& path)> open;
};

/// Passes everything on to `inner` and fingerprints it on the way: the digest covers every
/// attribute and every array's name, dtype, shape and bytes, and does not depend on the order in
/// which names were written nor on the file format.
class DigestingWriter final : public ArchiveWriter {
 public:
  explicit DigestingWriter(std::unique_ptr<ArchiveWriter> inner);
  ~DigestingWriter() override;

  void SetAttribute(std::string_view name, const nlohmann::json& value) override;
  void Write(std::string_view name, const ArrayView& array) override;
  void Create(std::string_view name, DType dtype, const Shape& shape) override;
  void Append(std::string_view name, const ArrayView& rows) override;
  void Close() override;

  /// Content digest, 64 hex digits. REQUIRES: Close() was called.
  [[nodiscard]] std::string digest() const;
  /// Sum of the array bytes written.
  [[nodiscard]] uint64_t bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The digest that DigestingWriter would have computed for this archive. Reads all of it, in
/// bounded memory.
[[nodiscard]] std::string DigestArchive(const ArchiveReader& reader);

/// Writes everything in `from` to `to`, in bounded memory; does not close it.
void CopyArchive(const ArchiveReader& from, ArchiveWriter& to);

}  // namespace puzzle
