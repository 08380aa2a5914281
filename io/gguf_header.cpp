#include "io/gguf_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "io/error.h"
#include "io/lfs_pointer.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF holds little-endian numbers");

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxKeyBytes = 1024;
constexpr uint64_t kMaxGgufName = 63;  // ggml's own limit
constexpr uint64_t kMaxStringBytes = 16 << 20;
constexpr uint64_t kMaxElements = 1 << 23;  // of an array; vocabularies end at 2^21
constexpr uint32_t kMaxGgufRank = 4;
constexpr int64_t kDefaultAlignment = 32;
constexpr int64_t kMaxAlignment = 1 << 20;

/// The types of values, by number.
enum class Type : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

constexpr uint64_t kTypeBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};  // at least

/// The bytes of a file in order, with a limit for everything.
class Cursor {
 public:
  explicit Cursor(const InputFile& file) : file_(file) {}

  [[nodiscard]] uint64_t position() const { return position_; }
  [[nodiscard]] uint64_t left() const { return file_.size() - position_; }

  [[noreturn]] void Refuse(const std::string& what) const {
    throw Error(fmt::format("{}: {}", file_.path(), what));
  }

  /// Throws unless so many bytes are left. `what` is being read.
  void Need(uint64_t bytes, const std::string& what) const {
    if (bytes > left())
      Refuse(fmt::format("{}: needs {} bytes, the file ends after {}: it is cut or damaged", what,
                         bytes, left()));
  }

  template <typename T>
  T Number(const std::string& what) {
    T value;
    Take(&value, sizeof(value), what);
    return value;
  }

  std::string Text(const std::string& what, uint64_t limit) {
    const auto bytes = Number<uint64_t>(what);
    if (bytes > limit)
      Refuse(fmt::format("{}: a text of {} bytes, at most {} are accepted", what, bytes, limit));
    Need(bytes, what);
    std::string text(bytes, '\0');
    Take(text.data(), bytes, what);
    return text;
  }

 private:
  static constexpr size_t kWindowBytes = 1 << 20;

  void Take(void* out, uint64_t bytes, const std::string& what) {
    Need(bytes, what);
    auto* to = static_cast<char*>(out);
    while (bytes > 0) {
      if (used_ == window_.size()) {
        window_.resize(std::min<uint64_t>(kWindowBytes, left()));
        file_.ReadAt(position_, window_.data(), window_.size());
        used_ = 0;
      }
      const size_t count = std::min<uint64_t>(bytes, window_.size() - used_);
      std::memcpy(to, window_.data() + used_, count);
      to += count;
      used_ += count;
      position_ += count;
      bytes -= count;
    }
  }

  const InputFile& file_;
  uint64_t position_ = 0;
  std::vector<char> window_;
  size_t used_ = 0;
};

bool IsOdd(unsigned char c) {
  return c < 0x20 || c == 0x7F;
}

/// Keys and names go into messages, file listings and other formats.
std::string Identifier(Cursor& in, const std::string& what, uint64_t limit) {
  std::string text = in.Text(what, limit);
  if (text.empty()) in.Refuse(what + ": is empty");
  if (!IsUtf8(text) || std::any_of(text.begin(), text.end(), IsOdd))
    in.Refuse(what + ": holds control characters or is not UTF-8");
  return text;
}

Type ReadType(Cursor& in, const std::string& what) {
  const auto type = in.Number<uint32_t>(what);
  if (type > static_cast<uint32_t>(Type::kF64))
    in.Refuse(fmt::format("{}: value type {} is unknown", what, type));
  return static_cast<Type>(type);
}

bool ReadBool(Cursor& in, const std::string& what) {
  const auto byte = in.Number<uint8_t>(what);
  if (byte > 1) in.Refuse(fmt::format("{}: {} is neither true (1) nor false (0)", what, byte));
  return byte != 0;
}

int64_t ReadInt(Cursor& in, Type type, const std::string& what) {
  switch (type) {
    case Type::kU8:
      return in.Number<uint8_t>(what);
    case Type::kI8:
      return in.Number<int8_t>(what);
    case Type::kU16:
      return in.Number<uint16_t>(what);
    case Type::kI16:
      return in.Number<int16_t>(what);
    case Type::kU32:
      return in.Number<uint32_t>(what);
    case Type::kI32:
      return in.Number<int32_t>(what);
    case Type::kI64:
      return in.Number<int64_t>(what);
    default: {
      const auto value = in.Number<uint64_t>(what);
      if (value > static_cast<uint64_t>(INT64_MAX))
        in.Refuse(fmt::format("{}: {} does not fit into 63 bits", what, value));
      return static_cast<int64_t>(value);
    }
  }
}

double ReadFloat(Cursor& in, Type type, const std::string& what) {
  return type == Type::kF32 ? static_cast<double>(in.Number<float>(what)) : in.Number<double>(what);
}

template <typename T, typename Read>
std::vector<T> Elements(uint64_t count, Read read) {
  std::vector<T> elements;
  elements.reserve(count);
  for (uint64_t i = 0; i < count; ++i) elements.push_back(read());
  return elements;
}

GgufValue ReadArray(Cursor& in, const std::string& what) {
  const Type type = ReadType(in, what);
  if (type == Type::kArray) in.Refuse(what + ": an array of arrays is not supported");
  const auto count = in.Number<uint64_t>(what);
  if (count > kMaxElements)
    in.Refuse(fmt::format("{}: {} elements, at most {} are accepted", what, count, kMaxElements));
  in.Need(count * kTypeBytes[static_cast<uint32_t>(type)], what);
  if (type == Type::kString)
    return Elements<std::string>(count, [&] { return in.Text(what, kMaxStringBytes); });
  if (type == Type::kF32 || type == Type::kF64)
    return Elements<double>(count, [&] { return ReadFloat(in, type, what); });
  if (type == Type::kBool)
    return Elements<int64_t>(count, [&] { return int64_t{ReadBool(in, what)}; });
  return Elements<int64_t>(count, [&] { return ReadInt(in, type, what); });
}

GgufValue ReadValue(Cursor& in, const std::string& what) {
  const Type type = ReadType(in, what);
  if (type == Type::kArray) return ReadArray(in, what);
  if (type == Type::kString) return in.Text(what, kMaxStringBytes);
  if (type == Type::kBool) return ReadBool(in, what);
  if (type == Type::kF32 || type == Type::kF64) return ReadFloat(in, type, what);
  return ReadInt(in, type, what);
}

/// Bytes of a tensor, whose innermost dimension must be whole blocks.
uint64_t TensorBytes(const Cursor& in, const GgufTensor& tensor, const std::string& what) {
  uint64_t elements = 1;
  for (const int64_t dimension : tensor.shape)
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(dimension), &elements))
      in.Refuse(fmt::format("{}: shape {} overflows", what, ShapeString(tensor.shape)));
  const auto row = static_cast<uint64_t>(tensor.shape.back());
  if (row % tensor.type->block_elements != 0)
    in.Refuse(fmt::format("{}: rows of {} elements are no multiple of the {} in a block of {}",
                          what, row, tensor.type->block_elements, tensor.type->name));
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements / tensor.type->block_elements,
                             uint64_t{tensor.type->block_bytes}, &bytes) ||
      bytes > INT64_MAX)
    in.Refuse(fmt::format("{}: shape {} overflows", what, ShapeString(tensor.shape)));
  return bytes;
}

/// Its offset is still relative to the data.
GgufTensor ReadTensorInfo(Cursor& in, uint64_t index) {
  GgufTensor tensor;
  tensor.name = Identifier(in, fmt::format("name of tensor {}", index), kMaxGgufName);
  const std::string what = fmt::format("tensor '{}'", tensor.name);
  const auto rank = in.Number<uint32_t>(what);
  if (rank < 1 || rank > kMaxGgufRank)
    in.Refuse(fmt::format("{}: {} dimensions, expected 1 to {}", what, rank, kMaxGgufRank));
  for (uint32_t i = 0; i < rank; ++i) {
    const auto dimension = in.Number<uint64_t>(what);
    if (dimension < 1 || dimension > INT64_MAX)
      in.Refuse(fmt::format("{}: a dimension of {}", what, dimension));
    tensor.shape.push_back(static_cast<int64_t>(dimension));
  }
  std::reverse(tensor.shape.begin(), tensor.shape.end());  // the file has the innermost first
  const auto type = in.Number<uint32_t>(what);
  tensor.type = FindGgmlType(type);
  if (tensor.type == nullptr)
    in.Refuse(fmt::format("{}: element type {} is unknown ({})", what, type, ReadableGgmlTypes()));
  tensor.offset = in.Number<uint64_t>(what);
  tensor.bytes = TensorBytes(in, tensor, what);
  return tensor;
}

uint64_t Padded(uint64_t bytes, uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

uint64_t Alignment(const Cursor& in, const std::map<std::string, GgufValue>& metadata) {
  const auto found = metadata.find("general.alignment");
  if (found == metadata.end()) return kDefaultAlignment;
  const auto* value = std::get_if<int64_t>(&found->second);
  if (value == nullptr || *value < 1 || *value > kMaxAlignment ||
      !std::has_single_bit(static_cast<uint64_t>(*value)))
    in.Refuse(fmt::format("general.alignment: expected a power of 2 up to {}", kMaxAlignment));
  return static_cast<uint64_t>(*value);
}

/// Tensors follow each other in the order of their offsets, each padded, and fill the file.
void PlaceTensors(const Cursor& in, std::vector<GgufTensor>& tensors, uint64_t begin,
                  uint64_t file_size, uint64_t alignment) {
  std::vector<GgufTensor*> by_offset;
  for (GgufTensor& tensor : tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  uint64_t end = 0;  // of the data so far, padded
  uint64_t bare_end = 0;
  for (GgufTensor* tensor : by_offset) {
    if (tensor->offset != end)
      in.Refuse(
          fmt::format("tensor '{}': is at offset {} of the data, expected {}: a gap or an "
                      "overlap",
                      tensor->name, tensor->offset, end));
    if (begin > file_size || tensor->bytes > file_size - begin ||
        end > file_size - begin - tensor->bytes)
      in.Refuse(fmt::format("tensor '{}': needs {} bytes at {}, the file has {}: it is cut",
                            tensor->name, tensor->bytes, begin + end, file_size));
    bare_end = end + tensor->bytes;
    end = Padded(bare_end, alignment);
    tensor->offset += begin;
  }
  if (tensors.empty()) return;
  if (file_size != begin + bare_end && file_size != begin + end)
    in.Refuse(fmt::format("has {} bytes, its tensors end at {}", file_size, begin + end));
}

void CheckVersion(Cursor& in) {
  const auto version = in.Number<uint32_t>("version");
  if (version == 2 || version == 3) return;
  if ((version & 0xFFFFu) == 0)
    in.Refuse("is a big-endian GGUF; only little-endian ones are supported");
  in.Refuse(fmt::format("GGUF version {} is not supported (2, 3)", version));
}

}  // namespace

GgufHeader ReadGgufHeader(const InputFile& file) {
  std::string beginning(std::min<uint64_t>(file.size(), 64), '\0');
  file.ReadAt(0, beginning.data(), beginning.size());
  RefuseLfsPointer(beginning, file.path());
  Cursor in(file);
  if (in.Number<uint32_t>("magic") != kMagic) in.Refuse("is no GGUF file");
  CheckVersion(in);
  const auto n_tensors = in.Number<uint64_t>("number of tensors");
  const auto n_keys = in.Number<uint64_t>("number of keys");
  // A key takes 8 + 1 + 4 + 1 bytes, a tensor 8 + 1 + 4 + 8 + 4 + 8, or more.
  if (n_keys > kMaxKeys || n_keys > in.left() / 14)
    in.Refuse(fmt::format("{} keys in a file of {} bytes, at most {} are accepted", n_keys,
                          file.size(), kMaxKeys));
  if (n_tensors > kMaxTensors || n_tensors > in.left() / 33)
    in.Refuse(fmt::format("{} tensors in a file of {} bytes, at most {} are accepted", n_tensors,
                          file.size(), kMaxTensors));
  GgufHeader header;
  for (uint64_t i = 0; i < n_keys; ++i) {
    std::string key = Identifier(in, fmt::format("key {}", i), kMaxKeyBytes);
    if (header.metadata.contains(key)) in.Refuse(fmt::format("key '{}' is there twice", key));
    GgufValue value = ReadValue(in, key);
    header.metadata.emplace(std::move(key), std::move(value));
  }
  std::set<std::string_view> names;
  header.tensors.reserve(n_tensors);
  for (uint64_t i = 0; i < n_tensors; ++i) {
    header.tensors.push_back(ReadTensorInfo(in, i));
    if (!names.insert(header.tensors.back().name).second)
      in.Refuse(fmt::format("tensor '{}' is there twice", header.tensors.back().name));
  }
  const uint64_t alignment = Alignment(in, header.metadata);
  PlaceTensors(in, header.tensors, Padded(in.position(), alignment), file.size(), alignment);
  return header;
}

}  // namespace puzzle
