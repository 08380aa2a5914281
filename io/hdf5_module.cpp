// The module behind io/hdf5_archive.h.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/archive.h"
#include "io/error.h"
#include "io/file.h"
#include "io/hdf5_file.h"
#include "io/json_text.h"

// HDF5 only lays the file out; bytes move by positioned reads and writes at the offsets it reports.
// So its mutex is held for microseconds, and threads read and write their archives in parallel at
// the speed of the disk.

namespace puzzle {
namespace {

static_assert(std::endian::native == std::endian::little, "archives hold little-endian bytes");

/// "path: array 'name'", for messages.
std::string Subject(const std::string& path, Section section, std::string_view name) {
  return fmt::format("{}: {} '{}'", path, section == Section::kArrays ? "array" : "attribute",
                     name);
}

/// Bytes of `rows` rows of an array. REQUIRES: it is not a scalar.
uint64_t RowsBytes(const ArrayInfo& info, int64_t rows) {
  Shape shape = info.shape;
  shape.front() = rows;
  return ArrayView{info.dtype, shape}.bytes();
}

class Hdf5Writer final : public ArchiveWriter {
 public:
  explicit Hdf5Writer(const std::string& path)
      : path_(path), bytes_(path), file_(Hdf5File::Create(path)) {}

  void SetAttribute(std::string_view name, const nlohmann::json& value) override {
    std::string text;
    try {
      text = CanonicalJson(value);
    } catch (const Error& e) {
      throw WithContext(Subject(path_, Section::kAttributes, name), e);
    }
    Put(Section::kAttributes, name, {DType::kU8, {static_cast<int64_t>(text.size())}, text.data()});
  }

  void Write(std::string_view name, const ArrayView& array) override {
    Put(Section::kArrays, name, array);
  }

  void Create(std::string_view name, DType dtype, const Shape& shape) override {
    PUZZLE_CHECK(!shape.empty(), "a streamed array has rows");
    const uint64_t offset = file_.Allocate(Section::kArrays, name, dtype, shape);
    streams_.emplace(name, Stream{{{dtype, shape}, offset}});
  }

  void Append(std::string_view name, const ArrayView& rows) override {
    const auto found = streams_.find(name);
    PUZZLE_CHECK(found != streams_.end(), "Append without Create");
    Stream& stream = found->second;
    const auto& [dtype, shape] = stream.extent.info;
    PUZZLE_CHECK(rows.dtype == dtype && rows.shape.size() == shape.size() &&
                     std::equal(rows.shape.begin() + 1, rows.shape.end(), shape.begin() + 1),
                 "rows of another type or shape");
    PUZZLE_CHECK(rows.shape[0] <= shape[0] - stream.rows, "more rows than were announced");
    bytes_.WriteAt(stream.extent.offset + RowsBytes(stream.extent.info, stream.rows), rows.data,
                   rows.bytes());
    stream.rows += rows.shape[0];
  }

  void Close() override {
    for (const auto& [name, stream] : streams_) {
      const int64_t rows = stream.extent.info.shape[0];
      if (stream.rows != rows) {
        throw Error(fmt::format("{}: closed with {} of {} rows",
                                Subject(path_, Section::kArrays, name), stream.rows, rows));
      }
    }
    bytes_.Close();
    file_.Commit();
  }

 private:
  /// An array begun with Create.
  struct Stream {
    Extent extent;
    int64_t rows = 0;  // appended so far
  };

  void Put(Section section, std::string_view name, const ArrayView& array) {
    const uint64_t offset = file_.Allocate(section, name, array.dtype, array.shape);
    bytes_.WriteAt(offset, array.data, array.bytes());
  }

  const std::string path_;
  OutputFile bytes_;
  Hdf5File file_;
  std::map<std::string, Stream, std::less<>> streams_;
};

class Hdf5Reader final : public ArchiveReader {
 public:
  explicit Hdf5Reader(const std::string& path) : bytes_(path), file_(Hdf5File::Open(bytes_)) {}

  bool HasAttribute(std::string_view name) const override {
    return file_.Has(Section::kAttributes, name);
  }

  nlohmann::json Attribute(std::string_view name) const override {
    const std::string subject = Subject(bytes_.path(), Section::kAttributes, name);
    const Extent extent = file_.Find(Section::kAttributes, name);
    if (extent.info.dtype != DType::kU8) throw Error(subject + ": is not text");
    std::string text(static_cast<size_t>(NumElements(extent.info.shape)), '\0');
    bytes_.ReadAt(extent.offset, text.data(), text.size());
    constexpr int kMaxDepth = 200;
    if (!IsNestedWithin(text, kMaxDepth)) throw Error(subject + ": is nested too deep");
    nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) throw Error(subject + ": is not JSON");
    return value;
  }

  std::vector<std::string> AttributeNames() const override {
    return file_.Names(Section::kAttributes);
  }

  std::vector<std::string> ArrayNames() const override { return file_.Names(Section::kArrays); }

  bool HasArray(std::string_view name) const override { return file_.Has(Section::kArrays, name); }

  ArrayInfo Info(std::string_view name) const override { return Find(name).info; }

  void Read(std::string_view name, void* out) const override {
    const auto [info, offset] = Find(name);
    bytes_.ReadAt(offset, out, ArrayView{info.dtype, info.shape}.bytes());
  }

  void ReadRows(std::string_view name, int64_t first, int64_t count, void* out) const override {
    const auto [info, offset] = Find(name);
    const int64_t rows = info.shape.empty() ? -1 : info.shape.front();
    if (first < 0 || count < 0 || first > rows || count > rows - first) {
      throw Error(fmt::format("{}: no {} rows from row {} on in shape {}",
                              Subject(bytes_.path(), Section::kArrays, name), count, first,
                              ShapeString(info.shape)));
    }
    bytes_.ReadAt(offset + RowsBytes(info, first), out, RowsBytes(info, count));
  }

 private:
  /// Remembers extents, so that reading rows again and again costs no HDF5 call.
  Extent Find(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    const auto known = extents_.find(name);
    if (known != extents_.end()) return known->second;
    return extents_.emplace(name, file_.Find(Section::kArrays, name)).first->second;
  }

  const InputFile bytes_;
  const Hdf5File file_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Extent, std::less<>> extents_;  // guarded by mutex_
};

}  // namespace

// What Hdf5Format loads: the module's one entry.
extern "C" void PuzzleHdf5Format(ArchiveFormat* format) {
  *format = {
      [](const std::string& path) { return std::make_unique<Hdf5Writer>(path); },
      [](const std::string& path) { return std::make_shared<Hdf5Reader>(path); },
  };
}

}  // namespace puzzle
