#include "io/gguf_write.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <type_traits>

#include "io/append_rows.h"
#include "io/error.h"
#include "io/file.h"
#include "io/finite.h"
#include "io/utf8.h"
#include "io/write_behind.h"

namespace puzzle {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF holds little-endian numbers");

constexpr uint32_t kWrittenVersion = 3;
constexpr uint64_t kAlignment = 32;  // the default, so that no key has to say it
constexpr size_t kPieceBlocks = 1 << 15;
constexpr size_t kMaxWrittenKey = 1024;
constexpr size_t kMaxWrittenName = 63;  // ggml's own limit
constexpr size_t kMaxWrittenRank = 4;

/// Numbers of value types.
constexpr uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9;

template <typename T>
void PutNumber(std::string& bytes, T value) {
  static_assert(std::is_arithmetic_v<T>);
  char raw[sizeof(value)];
  std::memcpy(raw, &value, sizeof(value));
  bytes.append(raw, sizeof(raw));
}

void PutText(std::string& bytes, const std::string& text) {
  PutNumber(bytes, uint64_t{text.size()});
  bytes += text;
}

template <typename T>
T Fitting(int64_t value, const std::string& where) {
  if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max())
    throw Error(fmt::format("{}: {} does not fit into 32 bits", where, value));
  return static_cast<T>(value);
}

/// The nearest float.
float Narrowed(double value, const std::string& where) {
  if (!(std::abs(value) <= std::numeric_limits<float>::max()))
    throw Error(fmt::format("{}: {} does not fit into a float", where, value));
  return static_cast<float>(value);
}

template <typename T, typename Put>
void PutArray(std::string& bytes, uint32_t type, const std::vector<T>& values, Put put) {
  PutNumber(bytes, kArray);
  PutNumber(bytes, type);
  PutNumber(bytes, uint64_t{values.size()});
  for (const T& value : values) put(value);
}

void PutValue(std::string& bytes, const GgufValue& value, const std::string& where) {
  const auto scalar = [&](uint32_t type, auto number) {
    PutNumber(bytes, type);
    PutNumber(bytes, number);
  };
  if (const auto* flag = std::get_if<bool>(&value)) {
    scalar(kBool, static_cast<uint8_t>(*flag ? 1 : 0));
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    scalar(kU32, Fitting<uint32_t>(*integer, where));
  } else if (const auto* number = std::get_if<double>(&value)) {
    scalar(kF32, Narrowed(*number, where));
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    PutNumber(bytes, kString);
    PutText(bytes, *text);
  } else if (const auto* integers = std::get_if<std::vector<int64_t>>(&value)) {
    PutArray(bytes, kI32, *integers,
             [&](int64_t v) { PutNumber(bytes, Fitting<int32_t>(v, where)); });
  } else if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
    PutArray(bytes, kF32, *numbers, [&](double v) { PutNumber(bytes, Narrowed(v, where)); });
  } else {
    PutArray(bytes, kString, std::get<std::vector<std::string>>(value),
             [&](const std::string& v) { PutText(bytes, v); });
  }
}

uint64_t Aligned(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// Throws Error unless readers take `text` for a key or a name.
void CheckIdentifier(const std::string& text, size_t limit, const std::string& where) {
  const bool is_odd = std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (text.empty() || text.size() > limit || is_odd || !IsUtf8(text))
    throw Error(
        fmt::format("{}: expected 1 to {} bytes of UTF-8 without control characters, it has {}",
                    where, limit, text.size()));
}

uint64_t BytesOf(const GgufTensorToWrite& tensor, const std::string& where) {
  PUZZLE_CHECK(tensor.type != nullptr && tensor.type->quantise != nullptr, "a type to write");
  const auto elements = static_cast<uint64_t>(NumElements(tensor.shape));
  if (tensor.shape.empty() || tensor.shape.size() > kMaxWrittenRank || elements == 0)
    throw Error(
        fmt::format("{}: GGUF has no tensors of shape {}", where, ShapeString(tensor.shape)));
  if (tensor.shape.back() % tensor.type->block_elements != 0)
    throw Error(
        fmt::format("{}: rows of {} elements are no multiple of the {} in a block of {}; store it "
                    "as F32, F16 or BF16",
                    where, tensor.shape.back(), tensor.type->block_elements, tensor.type->name));
  return elements / tensor.type->block_elements * tensor.type->block_bytes;
}

/// The type of our arrays that has the bytes of `type`.
std::optional<DType> ArrayTypeOf(const GgmlType& type) {
  if (type.name == "F32") return DType::kF32;
  if (type.name == "F16") return DType::kF16;
  if (type.name == "BF16") return DType::kBF16;
  return std::nullopt;
}

}  // namespace

struct GgufWriter::State {
  std::string path;
  std::vector<GgufTensorToWrite> tensors;
  std::string header;
  uint64_t written = 0;  // bytes
  size_t next = 0;       // tensor
  size_t elements = 0;   // of it that are written
  std::optional<AtomicFile> file;
  std::optional<WriteBehind> out;  // into it
  std::vector<float> read_back;    // the values that a piece of blocks stands for

  [[nodiscard]] std::string Where(const GgufTensorToWrite& tensor) const {
    return fmt::format("{}: tensor {}", path, tensor.name);
  }
  void MakeHeader(const GgufMetadata& metadata);
  void Put(const void* data, size_t bytes) {
    out->Append(data, bytes);
    written += bytes;
  }
  void Pad() {
    constexpr char kZeros[kAlignment] = {};
    Put(kZeros, Aligned(written) - written);
  }
  /// Puts whole blocks of values to `blocks`; `first` is the element of the tensor with which they
  /// begin.
  void Quantise(const GgufTensorToWrite& tensor, std::span<const float> values, size_t first,
                unsigned char* blocks);
  /// The tensor that `count` elements go to. They come next.
  const GgufTensorToWrite& Expect(size_t count) const;
  /// They came.
  void Took(size_t count);
};

void GgufWriter::State::MakeHeader(const GgufMetadata& metadata) {
  header = "GGUF";
  PutNumber(header, kWrittenVersion);
  PutNumber(header, uint64_t{tensors.size()});
  PutNumber(header, uint64_t{metadata.size()});
  std::set<std::string_view> seen;
  for (const auto& [key, value] : metadata) {
    const std::string where = fmt::format("{}: key \"{}\"", path, key);
    CheckIdentifier(key, kMaxWrittenKey, where);
    if (!seen.insert(key).second) throw Error(where + ": is there twice");
    PutText(header, key);
    PutValue(header, value, where);
  }
  seen.clear();
  uint64_t offset = 0;
  for (const GgufTensorToWrite& tensor : tensors) {
    const std::string where = Where(tensor);
    CheckIdentifier(tensor.name, kMaxWrittenName, where);
    if (!seen.insert(tensor.name).second) throw Error(where + ": is there twice");
    const uint64_t bytes = BytesOf(tensor, where);
    PutText(header, tensor.name);
    PutNumber(header, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i > 0; --i)  // innermost first
      PutNumber(header, static_cast<uint64_t>(tensor.shape[i - 1]));
    PutNumber(header, tensor.type->id);
    PutNumber(header, offset);
    offset += Aligned(bytes);
  }
}

void GgufWriter::State::Quantise(const GgufTensorToWrite& tensor, std::span<const float> values,
                                 size_t first, unsigned char* blocks) {
  const GgmlType& type = *tensor.type;
  const size_t count = values.size() / type.block_elements;
  const auto refuse = [&](size_t i, const std::string& what) {
    throw Error(fmt::format("{}: element {} is {}{}", Where(tensor), first + i, values[i], what));
  };
  if (const size_t bad = FirstNotFinite(values); bad < values.size())
    refuse(bad, "; a number is needed");
  type.quantise(values.data(), count, blocks);
  if (type.block_bytes >= sizeof(float) * type.block_elements) return;  // as wide as they were
  read_back.resize(values.size());
  type.dequantise(blocks, count, read_back.data());
  if (const size_t bad = FirstNotFinite(read_back); bad < values.size())
    refuse(bad, fmt::format(", too large for {}", type.name));
}

uint64_t GgufWriter::TensorBytes(const GgufTensorToWrite& tensor) {
  return Aligned(BytesOf(tensor, "tensor " + tensor.name));
}

uint64_t GgufWriter::FileBytes(const GgufMetadata& metadata,
                               std::vector<GgufTensorToWrite> tensors) {
  State state;
  state.path = "GGUF file";
  state.tensors = std::move(tensors);
  state.MakeHeader(metadata);
  uint64_t bytes = Aligned(state.header.size());
  for (const GgufTensorToWrite& tensor : state.tensors) bytes += TensorBytes(tensor);
  return bytes;
}

GgufWriter::GgufWriter(const std::string& path, const GgufMetadata& metadata,
                       std::vector<GgufTensorToWrite> tensors)
    : state_(std::make_unique<State>()) {
  state_->path = path;
  state_->tensors = std::move(tensors);
  state_->MakeHeader(metadata);
  state_->file.emplace(path);
  state_->out.emplace(*state_->file);
  state_->Put(state_->header.data(), state_->header.size());
  state_->header = {};
  state_->Pad();
}

GgufWriter::GgufWriter(GgufWriter&&) noexcept = default;
GgufWriter& GgufWriter::operator=(GgufWriter&&) noexcept = default;
GgufWriter::~GgufWriter() = default;

const GgufTensorToWrite& GgufWriter::State::Expect(size_t count) const {
  PUZZLE_CHECK(next < tensors.size(), "more tensors than announced");
  const GgufTensorToWrite& tensor = tensors[next];
  PUZZLE_CHECK(elements + count <= static_cast<size_t>(NumElements(tensor.shape)) &&
                   count % tensor.type->block_elements == 0,
               "a tensor of another size");
  return tensor;
}

void GgufWriter::State::Took(size_t count) {
  elements += count;
  if (elements < static_cast<size_t>(NumElements(tensors[next].shape))) return;
  Pad();
  elements = 0;
  ++next;
}

void GgufWriter::Append(std::span<const float> values) {
  State& state = *state_;
  const GgufTensorToWrite& tensor = state.Expect(values.size());
  const GgmlType& type = *tensor.type;
  const size_t piece = kPieceBlocks * type.block_elements;
  for (size_t first = 0; first < values.size(); first += piece) {
    const auto own = values.subspan(first, std::min(piece, values.size() - first));
    const size_t bytes = own.size() / type.block_elements * type.block_bytes;
    state.Quantise(tensor, own, state.elements + first, state.out->Room(bytes));
    state.out->Took(bytes);
    state.written += bytes;
  }
  state.Took(values.size());
}

void GgufWriter::AppendRows(RowsToWrite& rows) {
  State& state = *state_;
  PUZZLE_CHECK(state.next < state.tensors.size(), "more tensors than announced");
  const Shape& shape = state.tensors[state.next].shape;
  const auto count = static_cast<size_t>(NumElements(shape));
  const GgufTensorToWrite& tensor = state.Expect(count);
  const GgmlType& type = *tensor.type;
  const auto quantise = [&](std::span<const float> values, int64_t first, unsigned char* blocks) {
    state.Quantise(tensor, values, static_cast<size_t>(first), blocks);
  };
  puzzle::AppendRows(rows, shape,
                     {ArrayTypeOf(type), type.block_elements, type.block_bytes, quantise},
                     *state.out);
  state.written += count / type.block_elements * type.block_bytes;
  state.Took(count);
}

uint64_t GgufWriter::Commit() {
  PUZZLE_CHECK(state_->next == state_->tensors.size(), "fewer tensors than announced");
  state_->out->Finish();
  state_->file->Sync();
  state_->file->Commit();
  return state_->written;
}

}  // namespace puzzle
