#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "io/error.h"
#include "io/file.h"
#include "io/json_text.h"
#include "io/safetensors.h"
#include "io/safetensors_header.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

using Tensors = std::vector<const TensorToWrite*>;

constexpr int64_t kPieceElements = 1 << 20;

void Check(const std::error_code& error, const fs::path& path, const char* doing) {
  if (error) throw Error(fmt::format("{}: cannot {}: {}", path.string(), doing, error.message()));
}

/// One that does not exist is fine.
void RemoveFile(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  Check(error, path, "remove");
}

void CreateFolder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  Check(error, path, "create");
}

uint64_t StoredBytes(const TensorToWrite& tensor) {
  return ArrayView{tensor.stored, tensor.shape}.bytes();
}

std::string_view FormatName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    default:
      PUZZLE_CHECK(false, "tensors are stored as f32, f16 or bf16");
  }
}

void CheckTensors(const std::vector<TensorToWrite>& tensors) {
  std::set<std::string> names;
  for (const TensorToWrite& tensor : tensors) {
    PUZZLE_CHECK(!tensor.name.empty() && tensor.name != "__metadata__", "unusable tensor name");
    PUZZLE_CHECK(names.insert(tensor.name).second, "tensor written twice: " + tensor.name);
  }
}

/// Length, JSON and padding, for tensors in the order of their data.
std::string Header(const Tensors& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const TensorToWrite* tensor : tensors) {
    const uint64_t end = offset + StoredBytes(*tensor);
    header[tensor->name] = {{"dtype", FormatName(tensor->stored)},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = CanonicalJson(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text;
}

/// Some rows of a tensor.
struct Piece {
  const TensorToWrite& tensor;
  int64_t first = 0;  // its first element
  std::span<const float> values;
};

/// Appends the elements as 16-bit values. Infinity may be stored, but not arise.
void AppendConverted(AtomicFile& file, const Piece& piece, uint16_t (*narrow)(float),
                     float (*widen)(uint16_t)) {
  std::vector<uint16_t> converted(piece.values.size());
  for (size_t i = 0; i < converted.size(); ++i) {
    const float value = piece.values[i];
    converted[i] = narrow(value);
    if (std::isinf(widen(converted[i])) && std::isfinite(value)) [[unlikely]] {
      throw Error(fmt::format("tensor '{}': element {} is {}, too large for {}", piece.tensor.name,
                              piece.first + static_cast<int64_t>(i), value,
                              DTypeName(piece.tensor.stored)));
    }
  }
  file.Append(converted.data(), converted.size() * sizeof(uint16_t));
}

void AppendPiece(AtomicFile& file, const Piece& piece) {
  switch (piece.tensor.stored) {
    case DType::kF16:
      return AppendConverted(file, piece, F16FromF32, F32FromF16);
    case DType::kBF16:
      return AppendConverted(file, piece, BF16FromF32, F32FromBF16);
    default:
      return file.Append(piece.values.data(), piece.values.size_bytes());
  }
}

void AppendTensor(AtomicFile& file, const TensorToWrite& tensor) {
  const int64_t elements = NumElements(tensor.shape);
  if (elements == 0) return;
  const int64_t all_rows = tensor.shape.empty() ? 1 : tensor.shape.front();
  const int64_t columns = elements / all_rows;
  const int64_t piece_rows = std::max<int64_t>(1, kPieceElements / columns);
  std::vector<char> stored;
  std::vector<float> values;
  for (int64_t row = 0; row < all_rows; row += piece_rows) {
    const int64_t rows = std::min(piece_rows, all_rows - row);
    const auto count = static_cast<size_t>(rows * columns);
    if (tensor.rows == nullptr) {
      AppendPiece(file, {tensor, row * columns, {tensor.data + row * columns, count}});
      continue;
    }
    stored.resize(count * ElementSize(tensor.stored));
    if (tensor.rows->ReadStored(row, rows, tensor.stored, stored.data())) {
      file.Append(stored.data(), stored.size());
      continue;
    }
    values.resize(count);
    tensor.rows->ReadValues(row, rows, values.data());
    AppendPiece(file, {tensor, row * columns, values});
  }
}

void WriteFile(const fs::path& path, Tensors tensors) {
  // What the reference implementation does: large elements first keep all of them aligned.
  std::ranges::sort(tensors, {}, [](const TensorToWrite* tensor) {
    return std::pair(-static_cast<int>(ElementSize(tensor->stored)),
                     std::string_view(tensor->name));
  });
  AtomicFile file(path.string());
  const std::string header = Header(tensors);
  file.Append(header.data(), header.size());
  for (const TensorToWrite* tensor : tensors) AppendTensor(file, *tensor);
  file.Commit();
}

/// Splits in the given order; a tensor larger than the limit has a shard to itself.
std::vector<Tensors> SplitIntoShards(const std::vector<TensorToWrite>& tensors,
                                     uint64_t max_shard_bytes) {
  std::vector<Tensors> shards(1);
  uint64_t shard_bytes = 0;
  for (const TensorToWrite& tensor : tensors) {
    const uint64_t bytes = StoredBytes(tensor);
    if (!shards.back().empty() &&
        bytes > max_shard_bytes - std::min(shard_bytes, max_shard_bytes)) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(&tensor);
    shard_bytes += bytes;
  }
  return shards;
}

void WriteShards(const fs::path& folder, const std::vector<Tensors>& shards) {
  // Without an index nobody mistakes new shards for parts of the old checkpoint.
  RemoveFile(folder / kSafetensorsIndexName);
  nlohmann::json weight_map = nlohmann::json::object();
  uint64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    WriteFile(folder / name, shards[i]);
    for (const TensorToWrite* tensor : shards[i]) {
      weight_map[tensor->name] = name;
      total_bytes += StoredBytes(*tensor);
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total_bytes}}},
                                {"weight_map", std::move(weight_map)}};
  const std::string text = index.dump(2) + "\n";
  AtomicFile file((folder / kSafetensorsIndexName).string());
  file.Append(text.data(), text.size());
  file.Commit();
  RemoveFile(folder / kSafetensorsName);
}

}  // namespace

void WriteSafetensors(const std::string& folder, const std::vector<TensorToWrite>& tensors,
                      uint64_t max_shard_bytes) {
  CheckTensors(tensors);
  const std::vector<Tensors> shards = SplitIntoShards(tensors, max_shard_bytes);
  CreateFolder(folder);
  if (shards.size() > 1) {
    WriteShards(folder, shards);
  } else {
    WriteFile(fs::path(folder) / kSafetensorsName, shards.front());
    RemoveFile(fs::path(folder) / kSafetensorsIndexName);  // of an earlier, sharded checkpoint
  }
}

}  // namespace puzzle
