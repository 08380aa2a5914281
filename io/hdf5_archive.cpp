#include "io/hdf5_archive.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/file.h"
#include "io/json_text.h"

// HDF5 lays the file out; the bytes of arrays, which are contiguous, move by positioned reads and
// writes at the offsets it reports. So its mutex is held for microseconds, and threads read and
// write their archives in parallel at the speed of the disk.

namespace puzzle {
namespace {

static_assert(std::endian::native == std::endian::little, "archives hold little-endian bytes");

constexpr uint8_t kFormatVersion = 1;
constexpr const char* kVersionAttribute = "puzzle_archive";
constexpr const char* kDTypeAttribute = "dtype";
/// HDF5's signature and superblock version 3, whose structures all carry checksums: damage to them
/// is noticed rather than followed.
constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n\x03";

/// Held around all HDF5 calls. Also silences the library: its words go into our Errors.
class Hdf5Lock {
 public:
  Hdf5Lock() : lock_(Mutex()) {
    // At exit the library would crash over a file whose close had failed, say on a full disk. It
    // has nothing to do there: files are closed by their owners.
    static const herr_t no_exit_handler = H5dont_atexit();
    (void)no_exit_handler;
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }

 private:
  static std::recursive_mutex& Mutex() {
    static std::recursive_mutex mutex;
    return mutex;
  }
  const std::lock_guard<std::recursive_mutex> lock_;
};

/// Throws what the innermost function of the failed HDF5 call has to say.
[[noreturn]] void ThrowHdf5(const std::string& subject) {
  std::string message = "HDF5 failed";
  const H5E_walk2_t visit = [](unsigned depth, const H5E_error2_t* entry, void* out) -> herr_t {
    if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(out) = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &message);
  throw Error(fmt::format("{}: {}", subject, message));
}

/// Passes a call's result on; negative means that it failed.
template <typename T>
T Check(T result, const std::string& subject) {
  if (result < 0) ThrowHdf5(subject);
  return result;
}

/// Owns an HDF5 identifier. REQUIRES: an Hdf5Lock wherever one is destroyed.
class Id {
 public:
  using CloseFunction = herr_t (*)(hid_t);

  Id(hid_t id, CloseFunction close, const std::string& subject)
      : id_(Check(id, subject)), close_(close) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Id& operator=(Id&&) = delete;
  ~Id() { Close(); }

  [[nodiscard]] hid_t get() const { return id_; }
  herr_t Close() {
    const hid_t id = std::exchange(id_, -1);
    return id < 0 ? 0 : close_(id);
  }

 private:
  hid_t id_;
  CloseFunction close_;
};

/// Element types as HDF5 has them.
hid_t StoredType(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return H5T_IEEE_F32LE;
    case DType::kF64:
      return H5T_IEEE_F64LE;
    case DType::kF16:
    case DType::kBF16:
    case DType::kU16:
      return H5T_STD_U16LE;
    case DType::kI8:
      return H5T_STD_I8LE;
    case DType::kU8:
    case DType::kBool:
      return H5T_STD_U8LE;
    case DType::kI16:
      return H5T_STD_I16LE;
    case DType::kI32:
      return H5T_STD_I32LE;
    case DType::kI64:
      return H5T_STD_I64LE;
  }
  PUZZLE_CHECK(false, "no such DType");
}

/// The types that HDF5's own do not tell apart: an attribute names them.
constexpr DType kNamedTypes[] = {DType::kF16, DType::kBF16, DType::kBool};
constexpr DType kPlainTypes[] = {DType::kF32, DType::kF64, DType::kI8,  DType::kU8,
                                 DType::kI16, DType::kU16, DType::kI32, DType::kI64};

/// HDF5 separates groups by '/' and ends names at NUL, so these are written as %XX.
std::string EscapeName(std::string_view name) {
  PUZZLE_CHECK(!name.empty(), "a name in an archive is not empty");
  if (name == ".") return "%2E";
  std::string link;
  for (const char c : name) {
    if (c == '/' || c == '%' || (c >= 0 && c < ' ')) {
      link += fmt::format("%{:02X}", static_cast<unsigned>(c));
    } else {
      link += c;
    }
  }
  return link;
}

std::string UnescapeName(std::string_view link) {
  std::string name;
  for (size_t i = 0; i < link.size(); ++i) {
    unsigned char code = 0;
    const char* digits = link.data() + i + 1;
    if (link[i] == '%' && i + 2 < link.size() &&
        std::from_chars(digits, digits + 2, code, 16).ptr == digits + 2) {
      name += static_cast<char>(code);
      i += 2;
    } else {
      name += link[i];
    }
  }
  return name;
}

/// Bytes of `rows` rows of an array. REQUIRES: it is not a scalar.
uint64_t RowsBytes(DType dtype, const Shape& shape, int64_t rows) {
  Shape part = shape;
  part.front() = rows;
  return ArrayView{dtype, part}.bytes();
}

Id FileAccess(const std::string& path) {
  Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, path);
  Check(H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), path);
  Check(H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG), path);
  Check(H5Pset_file_locking(access.get(), false, true), path);
  return access;
}

/// An open archive. REQUIRES: an Hdf5Lock wherever one is created or destroyed.
struct Handles {
  Id file;
  Id attributes;
  Id arrays;
};

// ---- writing ----

/// Properties of whatever is created: without times, so that equal archives are equal files.
Id CreationProperties(hid_t property_class, const std::string& path) {
  Id properties(H5Pcreate(property_class), H5Pclose, path);
  Check(H5Pset_obj_track_times(properties.get(), false), path);
  return properties;
}

Handles CreateArchive(const std::string& path) {
  const Id access = FileAccess(path);
  const Id file_properties = CreationProperties(H5P_FILE_CREATE, path);
  const Id group_properties = CreationProperties(H5P_GROUP_CREATE, path);
  Id file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, file_properties.get(), access.get()), H5Fclose,
          path);
  const auto create_group = [&](const char* name) {
    return Id(H5Gcreate2(file.get(), name, H5P_DEFAULT, group_properties.get(), H5P_DEFAULT),
              H5Gclose, path);
  };
  Id attributes = create_group("attributes");
  Id arrays = create_group("arrays");
  return {std::move(file), std::move(attributes), std::move(arrays)};
}

void WriteHdf5Attribute(hid_t object, const char* name, hid_t type, const void* value,
                        const std::string& subject) {
  const Id space(H5Screate(H5S_SCALAR), H5Sclose, subject);
  const Id attribute(H5Acreate2(object, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                     H5Aclose, subject);
  Check(H5Awrite(attribute.get(), type, value), subject);
}

Id StringType(size_t bytes, const std::string& subject) {
  Id type(H5Tcopy(H5T_C_S1), H5Tclose, subject);
  Check(H5Tset_size(type.get(), bytes), subject);
  return type;
}

class Hdf5Writer final : public ArchiveWriter {
 public:
  explicit Hdf5Writer(const std::string& path) : path_(path), bytes_(path), handles_(Open(path)) {}

  ~Hdf5Writer() override {
    const Hdf5Lock lock;
    handles_.reset();
  }

  void SetAttribute(std::string_view name, const nlohmann::json& value) override {
    std::string text;
    try {
      text = CanonicalJson(value);
    } catch (const Error& e) {
      throw WithContext(Subject("attribute", name), e);
    }
    Put(handles().attributes, Subject("attribute", name), name,
        {DType::kU8, {static_cast<int64_t>(text.size())}, text.data()});
  }

  void Write(std::string_view name, const ArrayView& array) override {
    Put(handles().arrays, Subject("array", name), name, array);
  }

  void Create(std::string_view name, DType dtype, const Shape& shape) override {
    PUZZLE_CHECK(!shape.empty(), "a streamed array has rows");
    const uint64_t offset = Allocate(handles().arrays, Subject("array", name), name, dtype, shape);
    streams_.emplace(name, Stream{dtype, shape, offset});
  }

  void Append(std::string_view name, const ArrayView& rows) override {
    const auto found = streams_.find(name);
    PUZZLE_CHECK(found != streams_.end(), "Append without Create");
    Stream& stream = found->second;
    PUZZLE_CHECK(rows.dtype == stream.dtype && rows.shape.size() == stream.shape.size() &&
                     std::equal(rows.shape.begin() + 1, rows.shape.end(), stream.shape.begin() + 1),
                 "rows of another type or shape");
    PUZZLE_CHECK(rows.shape[0] <= stream.shape[0] - stream.rows, "more rows than were announced");
    bytes_.WriteAt(stream.offset + RowsBytes(stream.dtype, stream.shape, stream.rows), rows.data,
                   rows.bytes());
    stream.rows += rows.shape[0];
  }

  void Close() override {
    for (const auto& [name, stream] : streams_) {
      if (stream.rows != stream.shape[0]) {
        throw Error(fmt::format("{}: closed with {} of {} rows", Subject("array", name),
                                stream.rows, stream.shape[0]));
      }
    }
    bytes_.Close();
    const Hdf5Lock lock;
    WriteHdf5Attribute(handles().file.get(), kVersionAttribute, H5T_STD_U8LE, &kFormatVersion,
                       path_);
    Check(handles().file.Close(), path_);
    handles_.reset();
  }

 private:
  /// An array begun with Create.
  struct Stream {
    DType dtype;
    Shape shape;
    uint64_t offset;
    int64_t rows = 0;  // appended so far
  };

  static Handles Open(const std::string& path) {
    const Hdf5Lock lock;
    return CreateArchive(path);
  }

  Handles& handles() {
    PUZZLE_CHECK(handles_.has_value(), "use of a closed archive");
    return *handles_;
  }

  std::string Subject(const char* what, std::string_view name) const {
    return fmt::format("{}: {} '{}'", path_, what, name);
  }

  /// Creates a dataset and returns where in the file its bytes belong.
  uint64_t Allocate(const Id& group, const std::string& subject, std::string_view name, DType dtype,
                    const Shape& shape) {
    const std::vector<hsize_t> dims(shape.begin(), shape.end());
    const bool empty = NumElements(shape) == 0;
    const Hdf5Lock lock;
    const Id space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose,
                   subject);
    const Id links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, subject);
    Check(H5Pset_char_encoding(links.get(), H5T_CSET_UTF8), subject);
    const Id properties = CreationProperties(H5P_DATASET_CREATE, subject);
    Check(H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY), subject);
    Check(H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER), subject);
    const Id dataset(H5Dcreate2(group.get(), EscapeName(name).c_str(), StoredType(dtype),
                                space.get(), links.get(), properties.get(), H5P_DEFAULT),
                     H5Dclose, subject);
    if (std::ranges::find(kNamedTypes, dtype) != std::end(kNamedTypes)) {
      const std::string type_name(DTypeName(dtype));
      const Id type = StringType(type_name.size(), subject);
      WriteHdf5Attribute(dataset.get(), kDTypeAttribute, type.get(), type_name.data(), subject);
    }
    return empty ? 0 : H5Dget_offset(dataset.get());
  }

  void Put(const Id& group, const std::string& subject, std::string_view name,
           const ArrayView& array) {
    const uint64_t offset = Allocate(group, subject, name, array.dtype, array.shape);
    bytes_.WriteAt(offset, array.data, array.bytes());
  }

  const std::string path_;
  OutputFile bytes_;
  std::optional<Handles> handles_;
  std::map<std::string, Stream, std::less<>> streams_;
};

// ---- reading ----

Handles OpenArchive(const std::string& path) {
  const Id access = FileAccess(path);
  Id file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose, path);
  Id attributes(H5Gopen2(file.get(), "attributes", H5P_DEFAULT), H5Gclose, path);
  Id arrays(H5Gopen2(file.get(), "arrays", H5P_DEFAULT), H5Gclose, path);
  return {std::move(file), std::move(attributes), std::move(arrays)};
}

/// The only element of an attribute, converted to `type`; its size is the caller's to know.
void ReadHdf5Attribute(hid_t object, const char* name, hid_t type, void* value,
                       const std::string& subject) {
  const Id attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, subject);
  const Id space(H5Aget_space(attribute.get()), H5Sclose, subject);
  if (H5Sget_simple_extent_npoints(space.get()) != 1) {
    throw Error(fmt::format("{}: HDF5 attribute '{}' is not a scalar", subject, name));
  }
  Check(H5Aread(attribute.get(), type, value), subject);
}

/// Where an array lies in its file.
struct Extent {
  ArrayInfo info;
  uint64_t offset = 0;
};

DType ReadDType(const Id& dataset, const std::string& subject) {
  const Id type(H5Dget_type(dataset.get()), H5Tclose, subject);
  const auto stored_as = [&](DType dtype) {
    return Check(H5Tequal(type.get(), StoredType(dtype)), subject) > 0;
  };
  if (Check(H5Aexists(dataset.get(), kDTypeAttribute), subject) > 0) {
    char name[8] = {};
    const Id name_type = StringType(sizeof(name), subject);
    ReadHdf5Attribute(dataset.get(), kDTypeAttribute, name_type.get(), name, subject);
    for (const DType dtype : kNamedTypes) {
      if (DTypeName(dtype) == name && stored_as(dtype)) return dtype;
    }
  } else {
    for (const DType dtype : kPlainTypes) {
      if (stored_as(dtype)) return dtype;
    }
  }
  throw Error(subject + ": unknown element type");
}

Shape ReadShape(const Id& dataset, const std::string& subject) {
  const Id space(H5Dget_space(dataset.get()), H5Sclose, subject);
  if (H5Sget_simple_extent_type(space.get()) == H5S_NULL) throw Error(subject + ": has no shape");
  const int rank = Check(H5Sget_simple_extent_ndims(space.get()), subject);
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  Check(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), subject);
  return {dims.begin(), dims.end()};
}

Extent ReadExtent(const Id& group, const std::string& link, uint64_t file_size,
                  const std::string& subject) {
  const Id dataset(H5Dopen2(group.get(), link.c_str(), H5P_DEFAULT), H5Dclose, subject);
  const Id properties(H5Dget_create_plist(dataset.get()), H5Pclose, subject);
  if (H5Pget_layout(properties.get()) != H5D_CONTIGUOUS ||
      H5Pget_external_count(properties.get()) != 0) {
    throw Error(subject + ": not stored contiguously");
  }
  Extent extent{{ReadDType(dataset, subject), ReadShape(dataset, subject)}};
  const uint64_t bytes = ArrayView{extent.info.dtype, extent.info.shape}.bytes();
  if (bytes == 0) return extent;
  extent.offset = H5Dget_offset(dataset.get());
  if (extent.offset == HADDR_UNDEF || extent.offset > file_size ||
      bytes > file_size - extent.offset) {
    throw Error(fmt::format("{}: {} bytes at {} are outside the file of {} bytes", subject, bytes,
                            extent.offset, file_size));
  }
  return extent;
}

class Hdf5Reader final : public ArchiveReader {
 public:
  explicit Hdf5Reader(const std::string& path) : bytes_(path), handles_(Open(bytes_)) {}

  ~Hdf5Reader() override {
    const Hdf5Lock lock;
    handles_.reset();
  }

  bool HasAttribute(std::string_view name) const override {
    return Exists(handles_->attributes, name);
  }

  nlohmann::json Attribute(std::string_view name) const override {
    const std::string subject = Subject("attribute", name);
    const Extent extent = Find(handles_->attributes, subject, name);
    if (extent.info.dtype != DType::kU8) throw Error(subject + ": is not text");
    std::string text(static_cast<size_t>(NumElements(extent.info.shape)), '\0');
    bytes_.ReadAt(extent.offset, text.data(), text.size());
    nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) throw Error(subject + ": is not JSON");
    return value;
  }

  std::vector<std::string> AttributeNames() const override { return Names(handles_->attributes); }

  std::vector<std::string> ArrayNames() const override { return Names(handles_->arrays); }

  bool HasArray(std::string_view name) const override { return Exists(handles_->arrays, name); }

  ArrayInfo Info(std::string_view name) const override { return FindArray(name).info; }

  void Read(std::string_view name, void* out) const override {
    const Extent extent = FindArray(name);
    bytes_.ReadAt(extent.offset, out, ArrayView{extent.info.dtype, extent.info.shape}.bytes());
  }

  void ReadRows(std::string_view name, int64_t first, int64_t count, void* out) const override {
    const auto [info, offset] = FindArray(name);
    const int64_t rows = info.shape.empty() ? 0 : info.shape.front();
    if (first < 0 || count < 0 || first > rows || count > rows - first) {
      throw Error(fmt::format("{}: no rows [{}, {}) in shape {}", Subject("array", name), first,
                              first + count, ShapeString(info.shape)));
    }
    bytes_.ReadAt(offset + RowsBytes(info.dtype, info.shape, first), out,
                  RowsBytes(info.dtype, info.shape, count));
  }

 private:
  static Handles Open(const InputFile& bytes) {
    const std::string& path = bytes.path();
    std::string signature(kSignature.size(), '\0');
    bytes.ReadAt(0, signature.data(), std::min<uint64_t>(signature.size(), bytes.size()));
    if (signature != kSignature) throw Error(path + ": not an archive");
    const Hdf5Lock lock;
    Handles handles = OpenArchive(path);
    uint8_t version = 0;
    ReadHdf5Attribute(handles.file.get(), kVersionAttribute, H5T_NATIVE_UINT8, &version, path);
    if (version != kFormatVersion) {
      throw Error(fmt::format("{}: archive format {}, expected {}", path, version, kFormatVersion));
    }
    return handles;
  }

  std::string Subject(const char* what, std::string_view name) const {
    return fmt::format("{}: {} '{}'", bytes_.path(), what, name);
  }

  bool Exists(const Id& group, std::string_view name) const {
    const Hdf5Lock lock;
    return Check(H5Lexists(group.get(), EscapeName(name).c_str(), H5P_DEFAULT), bytes_.path()) > 0;
  }

  std::vector<std::string> Names(const Id& group) const {
    std::vector<std::string> names;
    const H5L_iterate_t visit = [](hid_t, const char* link, const H5L_info_t*, void* out) {
      static_cast<std::vector<std::string>*>(out)->push_back(UnescapeName(link));
      return herr_t{0};
    };
    const Hdf5Lock lock;
    Check(H5Literate(group.get(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, visit, &names),
          bytes_.path());
    std::ranges::sort(names);
    return names;
  }

  Extent Find(const Id& group, const std::string& subject, std::string_view name) const {
    const Hdf5Lock lock;
    if (!Exists(group, name)) throw Error(subject + ": does not exist");
    return ReadExtent(group, EscapeName(name), bytes_.size(), subject);
  }

  /// Remembers extents, so that reading rows again and again costs no HDF5 call.
  Extent FindArray(std::string_view name) const {
    const Hdf5Lock lock;
    const auto known = extents_.find(name);
    if (known != extents_.end()) return known->second;
    return extents_.emplace(name, Find(handles_->arrays, Subject("array", name), name))
        .first->second;
  }

  const InputFile bytes_;
  std::optional<Handles> handles_;
  mutable std::map<std::string, Extent, std::less<>> extents_;
};

}  // namespace

ArchiveFormat Hdf5Format() {
  return {
      [](const std::string& path) { return std::make_unique<Hdf5Writer>(path); },
      [](const std::string& path) { return std::make_shared<Hdf5Reader>(path); },
  };
}

}  // namespace puzzle
