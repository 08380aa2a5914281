#include "io/hdf5_file.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <mutex>
#include <utility>

#include "io/error.h"

namespace puzzle {
namespace {

constexpr uint8_t kFormatVersion = 1;
constexpr const char* kVersionAttribute = "puzzle_archive";
constexpr const char* kDTypeAttribute = "dtype";
constexpr size_t kDTypeBytes = 8;  // room for every name in kNamedTypes, and for
constexpr std::string_view kHalved = "f32/16";
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

/// HDF5 gives everything that it knows of a failed call of the system ("file write failed: time =
/// ..., errno = 28, error message = 'No space left on device', buf = 0x..."): what failed, and why.
std::string SystemFailure(const std::string& text) {
  constexpr std::string_view kReason = "error message = '";
  const size_t reason = text.find(kReason), what = text.find(':');
  if (reason == std::string::npos || what == std::string::npos) return text;
  const size_t begin = reason + kReason.size();
  return text.substr(0, what) + ": " + text.substr(begin, text.find('\'', begin) - begin);
}

/// Throws what the innermost function of the failed HDF5 call has to say.
[[noreturn]] void ThrowHdf5(const std::string& subject) {
  std::string message = "HDF5 failed";
  const H5E_walk2_t visit = [](unsigned depth, const H5E_error2_t* entry, void* out) -> herr_t {
    if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(out) = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &message);
  throw Error(fmt::format("{}: {}", subject, SystemFailure(message)));
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

Id FileAccess(const std::string& path) {
  Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, path);
  Check(H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), path);
  Check(H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG), path);
  Check(H5Pset_file_locking(access.get(), false, true), path);
  return access;
}

/// Properties of whatever is created: without times, so that equal archives are equal files.
Id CreationProperties(hid_t property_class, const std::string& path) {
  Id properties(H5Pcreate(property_class), H5Pclose, path);
  Check(H5Pset_obj_track_times(properties.get(), false), path);
  return properties;
}

Id StringType(size_t bytes, const std::string& subject) {
  Id type(H5Tcopy(H5T_C_S1), H5Tclose, subject);
  Check(H5Tset_size(type.get(), bytes), subject);
  return type;
}

void WriteScalar(const Id& object, const char* name, hid_t type, const void* value,
                 const std::string& subject) {
  const Id space(H5Screate(H5S_SCALAR), H5Sclose, subject);
  const Id attribute(H5Acreate2(object.get(), name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                     H5Aclose, subject);
  Check(H5Awrite(attribute.get(), type, value), subject);
}

/// Reads the only element of an attribute, converted to `type`.
void ReadScalar(const Id& object, const char* name, hid_t type, void* value,
                const std::string& subject) {
  const Id attribute(H5Aopen(object.get(), name, H5P_DEFAULT), H5Aclose, subject);
  const Id space(H5Aget_space(attribute.get()), H5Sclose, subject);
  if (H5Sget_simple_extent_npoints(space.get()) != 1) {
    throw Error(fmt::format("{}: HDF5 attribute '{}' is not a scalar", subject, name));
  }
  Check(H5Aread(attribute.get(), type, value), subject);
}

/// Archives of ours have neither soft nor external links, which would lead to other places, other
/// files and pipes that nobody writes to.
void RefuseLink(H5L_type_t type, const std::string& subject) {
  if (type != H5L_TYPE_HARD) throw Error(subject + ": is a link to somewhere else; not an archive");
}

void RefuseLink(const Id& group, const std::string& name, const std::string& subject) {
  H5L_info_t info{};
  Check(H5Lget_info(group.get(), name.c_str(), &info, H5P_DEFAULT), subject);
  RefuseLink(info.type, subject);
}

/// Sets type and `halved` of `extent`.
void ReadType(const Id& dataset, const std::string& subject, Extent& extent) {
  const Id type(H5Dget_type(dataset.get()), H5Tclose, subject);
  const auto stored_as = [&](DType dtype) {
    return Check(H5Tequal(type.get(), StoredType(dtype)), subject) > 0;
  };
  if (Check(H5Aexists(dataset.get(), kDTypeAttribute), subject) > 0) {
    char name[kDTypeBytes + 1] = {};  // others may fill all of it
    const Id name_type = StringType(kDTypeBytes, subject);
    ReadScalar(dataset, kDTypeAttribute, name_type.get(), name, subject);
    extent.halved = kHalved == name && stored_as(DType::kU16);
    if (extent.halved) return;
    for (const DType dtype : kNamedTypes) {
      extent.info.dtype = dtype;
      if (DTypeName(dtype) == name && stored_as(dtype)) return;
    }
  } else {
    for (const DType dtype : kPlainTypes) {
      extent.info.dtype = dtype;
      if (stored_as(dtype)) return;
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

}  // namespace

/// REQUIRES: an Hdf5Lock wherever one is created or destroyed.
struct Hdf5File::State {
  std::string path;
  uint64_t size;  // of the file, when it was opened for reading
  Id file;
  Id attributes;
  Id arrays;

  const Id& Group(Section section) const {
    return section == Section::kArrays ? arrays : attributes;
  }
  /// For messages.
  std::string Subject(Section section, std::string_view name) const {
    return fmt::format("{}: {} '{}'", path, section == Section::kArrays ? "array" : "attribute",
                       name);
  }
};

Hdf5File::Hdf5File(std::unique_ptr<State> state) : state_(std::move(state)) {}
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;

Hdf5File::~Hdf5File() {
  const Hdf5Lock lock;
  state_.reset();
}

Hdf5File Hdf5File::Create(const std::string& path) {
  const Hdf5Lock lock;
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
  return Hdf5File(std::unique_ptr<State>(
      new State{path, 0, std::move(file), std::move(attributes), std::move(arrays)}));
}

Hdf5File Hdf5File::Open(const InputFile& input) {
  const std::string& path = input.path();
  std::string signature(kSignature.size(), '\0');
  input.ReadAt(0, signature.data(), std::min<uint64_t>(signature.size(), input.size()));
  if (signature != kSignature) throw Error(path + ": not an archive");

  const Hdf5Lock lock;
  const Id access = FileAccess(path);
  Id file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose, path);
  uint8_t version = 0;
  ReadScalar(file, kVersionAttribute, H5T_NATIVE_UINT8, &version, path);
  if (version != kFormatVersion) {
    throw Error(fmt::format("{}: archive format {}, expected {}", path, version, kFormatVersion));
  }
  for (const char* group : {"attributes", "arrays"}) RefuseLink(file, group, path);
  Id attributes(H5Gopen2(file.get(), "attributes", H5P_DEFAULT), H5Gclose, path);
  Id arrays(H5Gopen2(file.get(), "arrays", H5P_DEFAULT), H5Gclose, path);
  return Hdf5File(std::unique_ptr<State>(
      new State{path, input.size(), std::move(file), std::move(attributes), std::move(arrays)}));
}

Extent Hdf5File::Allocate(Section section, std::string_view name, const ArrayInfo& info,
                          bool halved) {
  PUZZLE_CHECK(state_ != nullptr, "use of a closed archive");
  PUZZLE_CHECK(!halved || info.dtype == DType::kF32, "f32 alone has halves");
  Extent extent{info, 0, halved};
  const auto [dtype, shape] = extent.InFile();
  const std::string subject = state_->Subject(section, name);
  const bool empty = NumElements(shape) == 0;
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  const Hdf5Lock lock;
  const Id space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose,
                 subject);
  const Id link_properties(H5Pcreate(H5P_LINK_CREATE), H5Pclose, subject);
  Check(H5Pset_char_encoding(link_properties.get(), H5T_CSET_UTF8), subject);
  const Id properties = CreationProperties(H5P_DATASET_CREATE, subject);
  Check(H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY), subject);
  Check(H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER), subject);
  const Id dataset(
      H5Dcreate2(state_->Group(section).get(), EscapeName(name).c_str(), StoredType(dtype),
                 space.get(), link_properties.get(), properties.get(), H5P_DEFAULT),
      H5Dclose, subject);
  if (halved || std::ranges::find(kNamedTypes, dtype) != std::end(kNamedTypes)) {
    std::string type_name(halved ? kHalved : DTypeName(dtype));
    type_name.resize(kDTypeBytes);
    const Id type = StringType(kDTypeBytes, subject);
    WriteScalar(dataset, kDTypeAttribute, type.get(), type_name.data(), subject);
  }
  if (empty) return extent;
  extent.offset = H5Dget_offset(dataset.get());
  if (extent.offset == HADDR_UNDEF) ThrowHdf5(subject);
  return extent;
}

void Hdf5File::Commit() {
  PUZZLE_CHECK(state_ != nullptr, "use of a closed archive");
  const Hdf5Lock lock;
  WriteScalar(state_->file, kVersionAttribute, H5T_STD_U8LE, &kFormatVersion, state_->path);
  state_->arrays.Close();
  state_->attributes.Close();
  Check(state_->file.Close(), state_->path);
  state_.reset();
}

bool Hdf5File::Has(Section section, std::string_view name) const {
  const Hdf5Lock lock;
  return Check(H5Lexists(state_->Group(section).get(), EscapeName(name).c_str(), H5P_DEFAULT),
               state_->path) > 0;
}

std::vector<std::string> Hdf5File::Names(Section section) const {
  struct Links {
    std::vector<std::string> names;
    H5L_type_t type = H5L_TYPE_HARD;  // of the last one that is not hard
  } links;
  const H5L_iterate_t visit = [](hid_t, const char* link, const H5L_info_t* info, void* out) {
    auto& all = *static_cast<Links*>(out);
    all.names.push_back(UnescapeName(link));
    if (info->type != H5L_TYPE_HARD) all.type = info->type;
    return herr_t{0};
  };
  const Hdf5Lock lock;
  Check(H5Literate(state_->Group(section).get(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, visit,
                   &links),
        state_->path);
  RefuseLink(links.type, state_->path);
  std::vector<std::string> names = std::move(links.names);
  std::ranges::sort(names);
  return names;
}

Extent Hdf5File::Find(Section section, std::string_view name) const {
  const std::string subject = state_->Subject(section, name);
  const Hdf5Lock lock;
  if (!Has(section, name)) throw Error(subject + ": does not exist");
  RefuseLink(state_->Group(section), EscapeName(name), subject);
  const Id dataset(H5Dopen2(state_->Group(section).get(), EscapeName(name).c_str(), H5P_DEFAULT),
                   H5Dclose, subject);
  const Id properties(H5Dget_create_plist(dataset.get()), H5Pclose, subject);
  if (H5Pget_layout(properties.get()) != H5D_CONTIGUOUS ||
      H5Pget_external_count(properties.get()) != 0) {
    throw Error(subject + ": not stored contiguously");
  }
  Extent extent;
  ReadType(dataset, subject, extent);
  extent.info.shape = ReadShape(dataset, subject);
  const ArrayInfo in_file = extent.InFile();
  const uint64_t bytes = ArrayView{in_file.dtype, in_file.shape}.bytes();
  if (bytes == 0) return extent;
  extent.offset = H5Dget_offset(dataset.get());
  if (extent.offset > state_->size || bytes > state_->size - extent.offset) {
    throw Error(fmt::format("{}: {} bytes at {} are outside the file of {} bytes", subject, bytes,
                            extent.offset, state_->size));
  }
  return extent;
}

}  // namespace puzzle
