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

#include "io/error.h"
#include "io/file.h"
#include "io/utf8.h"

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

}  // namespace

struct GgufWriter::State {
  std::string path;
  std::vector<GgufTensorToWrite> tensors;
  std::string header;
  uint64_t written = 0;  // bytes
  size_t next = 0;       // tensor
  size_t elements = 0;   // of it that are written
  std::optional<AtomicFile> file;
  std::vector<unsigned char> blocks;  // of a piece
  std::vector<float> read_back;       // the values that a piece of blocks stands for

  [[nodiscard]] std::string Where(const GgufTensorToWrite& tensor) const {
    return fmt::format("{}: tensor {}", path, tensor.name);
  }
  void MakeHeader(const GgufMetadata& metadata);
  void Put(const void* data, size_t bytes) {
    file->Append(data, bytes);
    written += bytes;
  }
  void Pad() {
    constexpr char kZeros[kAlignment] = {};
    Put(kZeros, Aligned(written) - written);
  }
  void PutPiece(const GgufTensorToWrite& tensor, std::span<const float> values, size_t first);
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

/// `first` is the element of the tensor with which `values` begin.
void GgufWriter::State::PutPiece(const GgufTensorToWrite& tensor, std::span<const float> values,
                                 size_t first) {
  const GgmlType& type = *tensor.type;
  const size_t count = values.size() / type.block_elements;
  const auto refuse = [&](size_t i, const char* what) {
    throw Error(fmt::format("{}: element {} is {}{}", Where(tensor), first + i, values[i], what));
  };
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) [[unlikely]]
      refuse(i, "; a number is needed");
  blocks.resize(count * type.block_bytes);
  type.quantise(values.data(), count, blocks.data());
  if (type.block_bytes < sizeof(float) * type.block_elements) {  // narrower than what it came from
    read_back.resize(values.size());
    type.dequantise(blocks.data(), count, read_back.data());
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(read_back[i])) [[unlikely]]
        refuse(i, fmt::format(", too large for {}", type.name).c_str());
  }
  Put(blocks.data(), blocks.size());
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
  const GgufTensorToWrite& tensor = state_->Expect(values.size());
  const size_t piece = kPieceBlocks * tensor.type->block_elements;
  for (size_t first = 0; first < values.size(); first += piece)
    state_->PutPiece(tensor, values.subspan(first, std::min(piece, values.size() - first)),
                     state_->elements + first);
  state_->Took(values.size());
}

void GgufWriter::AppendBlocks(std::span<const unsigned char> blocks) {
  PUZZLE_CHECK(state_->next < state_->tensors.size(), "more tensors than announced");
  const GgmlType& type = *state_->tensors[state_->next].type;
  PUZZLE_CHECK(blocks.size() % type.block_bytes == 0, "a part of a block");
  const size_t count = blocks.size() / type.block_bytes * type.block_elements;
  (void)state_->Expect(count);
  state_->Put(blocks.data(), blocks.size());
  state_->Took(count);
}

uint64_t GgufWriter::Commit() {
  PUZZLE_CHECK(state_->next == state_->tensors.size(), "fewer tensors than announced");
  state_->file->Sync();
  state_->file->Commit();
  return state_->written;
}

}  // namespace puzzle
