#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "io/append_rows.h"
#include "io/error.h"
#include "io/file.h"
#include "io/half.h"
#include "io/json_text.h"
#include "io/safetensors.h"
#include "io/safetensors_header.h"
#include "io/write_behind.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

using Tensors = std::vector<const TensorToWrite*>;

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

/// Values that are in memory.
class ValuesInMemory final : public RowsToWrite {
 public:
  explicit ValuesInMemory(const TensorToWrite& tensor)
      : data_(tensor.data),
        columns_(tensor.shape.empty() ? 1 : NumElements(tensor.shape) / tensor.shape.front()) {}
  bool ReadStored(int64_t first, int64_t count, DType type, void* out) override {
    if (type != DType::kF32) return false;
    ReadValues(first, count, static_cast<float*>(out));
    return true;
  }
  void ReadValues(int64_t first, int64_t count, float* out) override {
    std::copy_n(data_ + first * columns_, count * columns_, out);
  }

 private:
  const float* data_;
  int64_t columns_;
};

/// Infinity may be stored, but not arise.
void CheckNoneIsTooLarge(const TensorToWrite& tensor, std::span<const float> values, int64_t first,
                         size_t too_large) {
  if (too_large == values.size()) return;
  throw Error(fmt::format("tensor '{}': element {} is {}, too large for {}", tensor.name,
                          first + static_cast<int64_t>(too_large), values[too_large],
                          DTypeName(tensor.stored)));
}

StoredForm FormOf(const TensorToWrite& tensor) {
  StoredForm form;
  form.array_type = tensor.stored;
  form.block_bytes = ElementSize(tensor.stored);
  form.convert = [&tensor](std::span<const float> values, int64_t first, unsigned char* out) {
    if (tensor.stored == DType::kF16) {
      CheckNoneIsTooLarge(tensor, values, first, FirstTooLargeForF16(values));
      NarrowToF16(values, out);
    } else if (tensor.stored == DType::kBF16) {
      CheckNoneIsTooLarge(tensor, values, first, FirstTooLargeForBF16(values));
      NarrowToBF16(values, out);
    } else {
      std::memcpy(out, values.data(), values.size_bytes());
    }
  };
  return form;
}

void AppendTensor(WriteBehind& out, const TensorToWrite& tensor) {
  if (NumElements(tensor.shape) == 0) return;
  if (tensor.rows != nullptr) return AppendRows(*tensor.rows, tensor.shape, FormOf(tensor), out);
  ValuesInMemory rows(tensor);
  AppendRows(rows, tensor.shape, FormOf(tensor), out);
}

void WriteFile(const fs::path& path, Tensors tensors) {
  // What the reference implementation does: large elements first keep all of them aligned.
  std::ranges::sort(tensors, {}, [](const TensorToWrite* tensor) {
    return std::pair(-static_cast<int>(ElementSize(tensor->stored)),
                     std::string_view(tensor->name));
  });
  AtomicFile file(path.string());
  const std::string header = Header(tensors);
  {
    WriteBehind out(file);
    out.Append(header.data(), header.size());
    for (const TensorToWrite* tensor : tensors) AppendTensor(out, *tensor);
    out.Finish();
  }
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
