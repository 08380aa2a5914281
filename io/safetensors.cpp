#include "io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"
#include "io/finite.h"
#include "io/half.h"
#include "io/json_text.h"
#include "io/pieces.h"
#include "io/safetensors_header.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian bytes");

/// Reads elements of `width` bytes from `first` on; `convert` puts some of them into their part of
/// `out`.
template <typename Convert>
void ReadConverted(const InputFile& file, const SafetensorsTensor& tensor, uint64_t first,
                   std::span<float> out, size_t width, Convert convert) {
  size_t done = 0;
  ForEachPiece(file, tensor.offset + first * width, out.size() * width, width,
               [&](const unsigned char* data, size_t bytes) {
                 convert(data, out.subspan(done, bytes / width));
                 done += bytes / width;
               });
}

/// As such a `convert`, one element of type T after another.
template <typename T, typename One>
auto OneByOne(One one) {
  return [one](const unsigned char* data, std::span<float> out) {
    const auto* elements = reinterpret_cast<const T*>(data);
    std::transform(elements, elements + out.size(), out.begin(), one);
  };
}

/// The first of some elements with all bits of `exponent`, which NaN and infinity have; `count`
/// when there is none.
template <typename Bits>
int64_t FindNotFinite(const void* data, int64_t count, Bits exponent) {
  const auto* elements = static_cast<const Bits*>(data);
  const auto is_bad = [exponent](Bits bits) { return (bits & exponent) == exponent; };
  Bits bad = 0;  // as wide as the elements: a loop of vectors, as in io/finite.h
  for (int64_t i = 0; i < count; ++i) bad |= is_bad(elements[i]) ? Bits{1} : Bits{0};
  return bad != 0 ? std::find_if(elements, elements + count, is_bad) - elements : count;
}

int64_t FindNotFinite(DType dtype, const void* data, int64_t count) {
  constexpr uint32_t kF32Exponent = 0x7F80'0000;
  constexpr uint16_t kF16Exponent = 0x7C00, kBF16Exponent = 0x7F80;
  if (dtype == DType::kF32) return FindNotFinite(data, count, kF32Exponent);
  if (dtype == DType::kF16) return FindNotFinite(data, count, kF16Exponent);
  if (dtype == DType::kBF16) return FindNotFinite(data, count, kBF16Exponent);
  return count;
}

/// weight_map of an index file: tensor -> shard.
std::map<std::string, std::string> ReadWeightMap(const fs::path& index_path) {
  const JsonText index = JsonText::ParseFile(index_path.string());
  const auto fail = [&](const std::string& pointer, const std::string& what) {
    const TextPosition at = index.Find(pointer);
    throw Error(fmt::format("{}:{}:{}: {}", index.source(), at.line, at.column, what));
  };
  const auto& root = index.value();
  if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object()) {
    fail("/weight_map", "expected an object \"weight_map\"");
  }
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, shard] : root["weight_map"].items()) {
    if (!shard.is_string()) {
      fail("/weight_map", fmt::format("the file of tensor '{}' is not a string", tensor));
    }
    shards.emplace(tensor, shard.get<std::string>());
  }
  return shards;
}

/// Path of a shard named by an index. Names must stay inside the folder; the shard itself may be a
/// symbolic link, as it is in the caches of model hubs.
fs::path ShardPath(const fs::path& folder, const std::string& name) {
  const auto refuse = [&] {
    throw Error(fmt::format("{}: shard name {} is not a plain relative path",
                            (folder / kSafetensorsIndexName).string(),
                            nlohmann::json(name).dump()));
  };
  const auto is_odd = [](unsigned char c) { return c < 0x20 || c == 0x7F || c == '\\'; };
  const fs::path relative(name);
  if (name.empty() || relative.is_absolute() || std::ranges::any_of(name, is_odd)) refuse();
  for (const fs::path& part : relative) {
    if (part.empty() || part == "." || part == "..") refuse();
  }
  if (relative.has_parent_path()) {
    std::error_code error;  // a folder that does not exist is reported when the shard is opened
    const fs::path root = fs::weakly_canonical(folder, error);
    const fs::path parent = fs::weakly_canonical(folder / relative.parent_path(), error);
    const auto [end, unused] = std::ranges::mismatch(root, parent);
    if (end != root.end()) refuse();
  }
  return folder / relative;
}

/// What to do about a folder without the files that are opened; empty when those that it has do not
/// tell.
std::string WhatIsThereInstead(const fs::path& folder) {
  constexpr const char* kPickle =
      "of PyTorch's own format, which is not read since it may hold programs; save the model with "
      "save_pretrained(..., safe_serialization=True)";
  constexpr std::pair<std::string_view, const char*> kOthers[] = {
      {"adapter_model.safetensors",
       "an adapter; merge it into its model (merge_and_unload()) and save that"},
      {".safetensors",
       "a part, or a model under another name; parts need their index, and a model "
       "in one file is called model.safetensors"},
      {".gguf", "a file of llama.cpp; give that file, not the folder"},
      {"pytorch_model.bin", kPickle},
      {"pytorch_model.bin.index.json", kPickle},
      {".pth", kPickle}};
  std::vector<std::string> names;
  std::error_code failure;  // what cannot be listed tells nothing
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure))
    names.push_back(entry->path().filename().string());
  std::ranges::sort(names);
  for (const auto& [ending, what] : kOthers) {
    for (const std::string& name : names) {
      if (!name.ends_with(ending)) continue;
      std::error_code ignored;
      const bool is_there = fs::exists(folder / name, ignored);
      return fmt::format("; {} is {}", name,
                         is_there ? what : "a link to nothing; download the model again");
    }
  }
  return "";
}

}  // namespace

struct SafetensorsReader::State {
  struct Entry {
    size_t file;  // index into `files`
    SafetensorsTensor tensor;
  };

  std::string path;
  std::vector<InputFile> files;
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> promised;  // by the index, but not there: tensor -> shard

  void OpenFolder(const fs::path& folder);
  void OpenShards(const fs::path& folder);
  std::vector<SafetensorsTensor> AddFile(const fs::path& file);

  const Entry& Find(const std::string& name) const;
  const InputFile& FileOf(const Entry& entry) const { return files[entry.file]; }
  Error Failure(const Entry& entry, const std::string& what) const;
  /// Elements from `first` on, as many as `out` holds.
  void ReadElements(const Entry& entry, uint64_t first, std::span<float> out,
                    bool check_finite) const;
};

/// Opens a file, adds its tensors and returns them.
std::vector<SafetensorsTensor> SafetensorsReader::State::AddFile(const fs::path& file) {
  files.emplace_back(file.string());
  std::vector<SafetensorsTensor> tensors = ReadSafetensorsHeader(files.back());
  for (const SafetensorsTensor& tensor : tensors) {
    const auto [entry, is_new] = entries.emplace(tensor.name, Entry{files.size() - 1, tensor});
    if (!is_new) {
      throw Error(fmt::format("{}: tensor '{}': is in {} as well", file.string(), tensor.name,
                              FileOf(entry->second).path()));
    }
  }
  return tensors;
}

void SafetensorsReader::State::OpenFolder(const fs::path& folder) {
  std::error_code ignored;  // what cannot be looked at is reported as absent
  if (fs::exists(folder / kSafetensorsIndexName, ignored)) {
    OpenShards(folder);
  } else if (fs::exists(folder / kSafetensorsName, ignored)) {
    AddFile(folder / kSafetensorsName);
  } else {
    throw Error(fmt::format("{}: holds neither {} nor {}{}", path, kSafetensorsIndexName,
                            kSafetensorsName, WhatIsThereInstead(folder)));
  }
}

void SafetensorsReader::State::OpenShards(const fs::path& folder) {
  const std::string index_path = (folder / kSafetensorsIndexName).string();
  const std::map<std::string, std::string> shard_of = ReadWeightMap(index_path);
  std::map<std::string, fs::path> shard_paths;
  for (const auto& [tensor, shard] : shard_of) {
    if (!shard_paths.contains(shard)) shard_paths.emplace(shard, ShardPath(folder, shard));
  }
  for (const auto& [shard, shard_path] : shard_paths) {
    for (const SafetensorsTensor& tensor : AddFile(shard_path)) {
      const auto indexed = shard_of.find(tensor.name);
      if (indexed == shard_of.end()) {
        throw Error(fmt::format("{}: tensor '{}': is not in {}", shard_path.string(), tensor.name,
                                index_path));
      }
      if (indexed->second != shard) {
        throw Error(fmt::format("{}: tensor '{}': belongs to '{}' according to {}",
                                shard_path.string(), tensor.name, indexed->second, index_path));
      }
    }
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (!entries.contains(tensor)) promised.emplace(tensor, shard_paths.at(shard).string());
  }
}

const SafetensorsReader::State::Entry& SafetensorsReader::State::Find(
    const std::string& name) const {
  const auto entry = entries.find(name);
  if (entry == entries.end()) {
    const auto absent = promised.find(name);
    if (absent == promised.end()) throw Error(fmt::format("{}: no tensor '{}'", path, name));
    throw Error(fmt::format("{}: tensor '{}': is missing, {} promises it", absent->second, name,
                            kSafetensorsIndexName));
  }
  return entry->second;
}

Error SafetensorsReader::State::Failure(const Entry& entry, const std::string& what) const {
  return Error(fmt::format("{}: tensor '{}': {}", FileOf(entry).path(), entry.tensor.name, what));
}

void SafetensorsReader::State::ReadElements(const Entry& entry, uint64_t first,
                                            std::span<float> out, bool check_finite) const {
  const InputFile& file = FileOf(entry);
  const SafetensorsTensor& tensor = entry.tensor;
  if (tensor.dtype == DType::kF32) {
    file.ReadAt(tensor.offset + first * sizeof(float), out.data(), out.size_bytes());
  } else if (tensor.dtype == DType::kBF16) {
    ReadConverted(file, tensor, first, out, sizeof(uint16_t), WidenBF16);
  } else if (tensor.dtype == DType::kF16) {
    ReadConverted(file, tensor, first, out, sizeof(uint16_t), WidenF16);
  } else if (tensor.dtype == DType::kF64) {
    ReadConverted(file, tensor, first, out, sizeof(double),
                  OneByOne<double>([](double v) { return static_cast<float>(v); }));
  } else if (tensor.dtype_name == "F8_E4M3") {
    ReadConverted(file, tensor, first, out, sizeof(uint8_t), OneByOne<uint8_t>(F32FromE4M3));
  } else {
    throw Failure(entry, fmt::format("dtype {} is not floating point that we read (F32, F16, BF16, "
                                     "F64, F8_E4M3)",
                                     tensor.dtype_name));
  }
  if (!check_finite) return;
  if (const size_t bad = FirstNotFinite(out); bad < out.size())
    throw Failure(entry, fmt::format("element {} is {} in fp32", first + bad, out[bad]));
}

SafetensorsReader::SafetensorsReader() : state_(std::make_unique<State>()) {}
SafetensorsReader::SafetensorsReader(SafetensorsReader&&) noexcept = default;
SafetensorsReader& SafetensorsReader::operator=(SafetensorsReader&&) noexcept = default;
SafetensorsReader::~SafetensorsReader() = default;

SafetensorsReader SafetensorsReader::Open(const std::string& path) {
  SafetensorsReader reader;
  reader.state_->path = path;
  std::error_code ignored;  // opening the file reports it better
  if (fs::is_directory(path, ignored)) {
    reader.state_->OpenFolder(path);
  } else {
    reader.state_->AddFile(path);
  }
  return reader;
}

std::vector<std::string> SafetensorsReader::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : state_->entries) names.push_back(name);
  return names;
}

bool SafetensorsReader::Has(const std::string& name) const {
  return state_->entries.contains(name);
}

std::string SafetensorsReader::Promised(const std::string& name) const {
  const auto absent = state_->promised.find(name);
  return absent == state_->promised.end() ? "" : absent->second;
}

const std::string& SafetensorsReader::TypeOf(const std::string& name) const {
  return state_->Find(name).tensor.dtype_name;
}

const Shape& SafetensorsReader::ShapeOf(const std::string& name) const {
  return state_->Find(name).tensor.shape;
}

ArrayInfo SafetensorsReader::Info(const std::string& name) const {
  const State::Entry& entry = state_->Find(name);
  if (!entry.tensor.dtype) {
    throw state_->Failure(entry, "dtype " + entry.tensor.dtype_name + " is not supported");
  }
  return {*entry.tensor.dtype, entry.tensor.shape};
}

void SafetensorsReader::Read(const std::string& name, void* out) const {
  const State::Entry& entry = state_->Find(name);
  state_->FileOf(entry).ReadAt(entry.tensor.offset, out, entry.tensor.bytes);
}

std::vector<float> SafetensorsReader::ReadF32(const std::string& name, bool check_finite) const {
  const State::Entry& entry = state_->Find(name);
  std::vector<float> values(static_cast<size_t>(NumElements(entry.tensor.shape)));
  state_->ReadElements(entry, 0, values, check_finite);
  return values;
}

void SafetensorsReader::ReadRowsF32(const std::string& name, int64_t first,
                                    std::span<float> out) const {
  const State::Entry& entry = state_->Find(name);
  const Shape& shape = entry.tensor.shape;
  PUZZLE_CHECK(shape.size() > 1 && shape.front() > 0, "rows of what has none");
  const auto columns = static_cast<size_t>(NumElements(shape) / shape.front());
  PUZZLE_CHECK(columns > 0 && first >= 0 && out.size() % columns == 0 &&
                   first + static_cast<int64_t>(out.size() / columns) <= shape.front(),
               "rows that a tensor does not have");
  state_->ReadElements(entry, static_cast<uint64_t>(first) * columns, out, true);
}

void SafetensorsReader::ReadStoredRows(const std::string& name, int64_t first, int64_t count,
                                       void* out) const {
  const State::Entry& entry = state_->Find(name);
  const auto [dtype, shape] = Info(name);
  PUZZLE_CHECK(shape.size() > 1 && first >= 0 && count >= 0 && first + count <= shape.front(),
               "rows that a tensor does not have");
  const int64_t columns = shape.front() == 0 ? 0 : NumElements(shape) / shape.front();
  const size_t size = ElementSize(dtype);
  auto* to = static_cast<unsigned char*>(out);
  // Looked at while it is in a cache.
  for (int64_t element = first * columns, last = element + count * columns; element < last;) {
    const int64_t own = std::min(static_cast<int64_t>(kFilePieceBytes / size), last - element);
    const size_t bytes = static_cast<size_t>(own) * size;
    state_->FileOf(entry).ReadAt(entry.tensor.offset + static_cast<size_t>(element) * size, to,
                                 bytes);
    if (const int64_t bad = FindNotFinite(dtype, to, own); bad < own)
      throw state_->Failure(entry, fmt::format("element {} is NaN or infinity", element + bad));
    element += own;
    to += bytes;
  }
}

const std::string& SafetensorsReader::FileOf(const std::string& name) const {
  return state_->FileOf(state_->Find(name)).path();
}

std::string DigestSafetensors(const SafetensorsReader& reader) {
  Fingerprint fingerprint;
  fingerprint.AddField("puzzle safetensors 1");
  for (const auto& [name, entry] : reader.state_->entries) {
    Fingerprint bytes;
    ForEachPiece(reader.state_->FileOf(entry), entry.tensor.offset, entry.tensor.bytes, 1,
                 [&](const unsigned char* data, size_t count) { bytes.Add(data, count); });
    fingerprint.AddField(name).AddField(entry.tensor.dtype_name);
    fingerprint.AddField(ShapeString(entry.tensor.shape)).AddField(bytes.Hex());
  }
  return fingerprint.Hex();
}

}  // namespace puzzle
