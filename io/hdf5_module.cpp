// The module behind io/hdf5_archive.h.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

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

std::span<const float> ValuesOf(const ArrayView& array) {
  return {static_cast<const float*>(array.data), static_cast<size_t>(NumElements(array.shape))};
}

// Numbers that are exact in bf16, such as weights that were rounded to it, are half zeros: those
// are left out. What an archive says, and its digest, stay the same.

/// Whether it is worth it: f32, of a size that matters, of which no lower half has a bit set.
bool HasEmptyHalves(const ArrayView& array) {
  constexpr size_t kFewElements = 1024;
  if (array.dtype != DType::kF32 || array.bytes() < kFewElements * sizeof(float)) return false;
  // In parts, most of which are not looked at where the answer is no.
  constexpr size_t kPart = 1 << 14;
  const std::span<const float> values = ValuesOf(array);
  for (size_t begin = 0; begin < values.size(); begin += kPart) {
    uint32_t bits = 0;
    for (const float value : values.subspan(begin, std::min(kPart, values.size() - begin)))
      bits |= std::bit_cast<uint32_t>(value);
    if ((bits & 0xFFFF) != 0) return false;
  }
  return true;
}

/// Elements that pass through memory at a time.
constexpr size_t kHalvesAtOnce = 1 << 17;

void WriteHalved(OutputFile& file, uint64_t offset, std::span<const float> values) {
  std::vector<uint16_t> halves(std::min(kHalvesAtOnce, values.size()));
  for (size_t begin = 0; begin < values.size(); begin += halves.size()) {
    const auto part = values.subspan(begin, std::min(halves.size(), values.size() - begin));
    std::ranges::transform(part, halves.begin(), [](float value) {
      return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    });
    file.WriteAt(offset + begin * sizeof(uint16_t), halves.data(), part.size() * sizeof(uint16_t));
  }
}

void ReadHalved(const InputFile& file, uint64_t offset, std::span<float> values) {
  std::vector<uint16_t> halves(std::min(kHalvesAtOnce, values.size()));
  for (size_t begin = 0; begin < values.size(); begin += halves.size()) {
    const auto part = values.subspan(begin, std::min(halves.size(), values.size() - begin));
    file.ReadAt(offset + begin * sizeof(uint16_t), halves.data(), part.size() * sizeof(uint16_t));
    std::transform(halves.begin(), halves.begin() + std::ssize(part), part.begin(),
                   [](uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); });
  }
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
    streams_.emplace(name, Stream{file_.Allocate(Section::kArrays, name, {dtype, shape})});
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
    const bool halved = HasEmptyHalves(array);
    const Extent extent = file_.Allocate(section, name, {array.dtype, array.shape}, halved);
    if (halved)
      WriteHalved(bytes_, extent.offset, ValuesOf(array));
    else
      bytes_.WriteAt(extent.offset, array.data, array.bytes());
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
    const Extent extent = Find(name);
    ReadInto(extent, extent.offset, NumElements(extent.info.shape), out);
  }

  void ReadRows(std::string_view name, int64_t first, int64_t count, void* out) const override {
    const Extent extent = Find(name);
    const ArrayInfo& info = extent.info;
    const int64_t rows = info.shape.empty() ? -1 : info.shape.front();
    if (first < 0 || count < 0 || first > rows || count > rows - first) {
      throw Error(fmt::format("{}: no {} rows from row {} on in shape {}",
                              Subject(bytes_.path(), Section::kArrays, name), count, first,
                              ShapeString(info.shape)));
    }
    Shape wanted = info.shape;
    wanted.front() = count;
    ReadInto(extent, extent.offset + RowsBytes(extent.InFile(), first), NumElements(wanted), out);
  }

 private:
  /// `count` elements of an array from `offset` of the file on.
  void ReadInto(const Extent& extent, uint64_t offset, int64_t count, void* out) const {
    const auto elements = static_cast<size_t>(count);
    if (extent.halved)
      ReadHalved(bytes_, offset, {static_cast<float*>(out), elements});
    else
      bytes_.ReadAt(offset, out, elements * ElementSize(extent.info.dtype));
  }

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
