#include "io/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"
#include "io/finite.h"
#include "io/gguf_header.h"
#include "io/pieces.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxParts = 99'999;
constexpr size_t kPartDigits = 5;

/// NAME-00002-of-00003.gguf.
std::string PartPath(const std::string& name, int64_t part, int64_t parts) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", name, part, parts);
}

/// NAME of such a path; empty when it does not end so.
std::string NameBeforePart(const std::string& path, int64_t part, int64_t parts) {
  const std::string ending = PartPath("", part, parts);
  return path.ends_with(ending) ? path.substr(0, path.size() - ending.size()) : "";
}

std::string Canonical(const GgufValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return "text " + v;
        } else if constexpr (std::is_arithmetic_v<T>) {
          return fmt::format("{}", v);
        } else {
          Fingerprint elements;
          for (const auto& element : v) elements.AddField(fmt::format("{}", element));
          return fmt::format("{} of {}", v.size(), elements.Hex());
        }
      },
      value);
}

}  // namespace

struct GgufReader::State {
  struct Entry {
    size_t file;  // index into `files`
    GgufTensor tensor;
  };

  std::string path;
  std::vector<InputFile> files;
  std::map<std::string, GgufValue> metadata;  // of the first file
  std::map<std::string, Entry, std::less<>> entries;

  void AddFile(const std::string& file_path, std::map<std::string, GgufValue>& its_metadata);
  void OpenParts(int64_t parts);
  [[nodiscard]] const Entry& Find(const std::string& name) const;
  [[nodiscard]] const InputFile& FileOf(const Entry& entry) const { return files[entry.file]; }
  /// Elements from `first` on, as many as `out` holds. REQUIRES: both are whole blocks.
  void ReadElements(const Entry& entry, uint64_t first, std::span<float> out) const;
  [[noreturn]] void Wrong(const std::string& key, const char* expected) const {
    throw Error(fmt::format("{}: {}: expected {}", path, key, expected));
  }
  /// nullptr when the key is absent.
  template <typename T>
  const T* Typed(const std::string& key, const char* expected) const {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return nullptr;
    const T* value = std::get_if<T>(&found->second);
    if (value == nullptr) Wrong(key, expected);
    return value;
  }
};

void GgufReader::State::AddFile(const std::string& file_path,
                                std::map<std::string, GgufValue>& its_metadata) {
  files.emplace_back(file_path);
  GgufHeader header = ReadGgufHeader(files.back());
  for (GgufTensor& tensor : header.tensors) {
    const std::string name = tensor.name;
    if (!entries.emplace(name, Entry{files.size() - 1, std::move(tensor)}).second)
      throw Error(fmt::format("{}: tensor '{}' is in another part, too", file_path, name));
  }
  its_metadata = std::move(header.metadata);
}

void GgufReader::State::OpenParts(int64_t parts) {
  const std::string name = NameBeforePart(path, 1, parts);
  if (name.empty())
    throw Error(
        fmt::format("{}: is the first of {} parts, so it has to be called "
                    "NAME-00001-of-{:05}.gguf",
                    path, parts, parts));
  for (int64_t part = 2; part <= parts; ++part) {
    const std::string part_path = PartPath(name, part, parts);
    if (!fs::exists(part_path))
      throw Error(fmt::format("{}: part {} of {} is missing: there is no {}", path, part, parts,
                              part_path));
    std::map<std::string, GgufValue> own;
    AddFile(part_path, own);
    const auto number = own.find("split.no");
    if (number == own.end() || number->second != GgufValue(part - 1))
      throw Error(fmt::format("{}: does not say that it is part {} (split.no)", part_path, part));
  }
}

const GgufReader::State::Entry& GgufReader::State::Find(const std::string& name) const {
  const auto entry = entries.find(name);
  if (entry == entries.end()) throw Error(fmt::format("{}: no tensor '{}'", path, name));
  return entry->second;
}

GgufReader::GgufReader() : state_(std::make_unique<State>()) {}
GgufReader::GgufReader(GgufReader&&) noexcept = default;
GgufReader& GgufReader::operator=(GgufReader&&) noexcept = default;
GgufReader::~GgufReader() = default;

GgufReader GgufReader::Open(const std::string& path) {
  GgufReader reader;
  State& state = *reader.state_;
  state.path = path;
  state.AddFile(path, state.metadata);
  const int64_t part = reader.FindInt("split.no").value_or(0);
  const int64_t parts = reader.FindInt("split.count").value_or(0);
  if (part != 0)
    throw Error(fmt::format("{}: is part {} of {}; give the first part", path, part + 1, parts));
  if (parts < 0 || parts > kMaxParts) state.Wrong("split.count", "0 to 99999");
  if (parts > 1) state.OpenParts(parts);
  const auto promised = reader.FindInt("split.tensors.count");
  if (promised && *promised != static_cast<int64_t>(state.entries.size()))
    throw Error(fmt::format("{}: split.tensors.count promises {} tensors, the parts have {}", path,
                            *promised, state.entries.size()));
  return reader;
}

const std::string& GgufReader::path() const {
  return state_->path;
}

const std::map<std::string, GgufValue>& GgufReader::metadata() const {
  return state_->metadata;
}

std::optional<bool> GgufReader::FindBool(const std::string& key) const {
  const auto* value = state_->Typed<bool>(key, "true or false");
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<int64_t> GgufReader::FindInt(const std::string& key) const {
  const auto* value = state_->Typed<int64_t>(key, "an integer");
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<double> GgufReader::FindNumber(const std::string& key) const {
  const auto* value = state_->Typed<double>(key, "a floating-point number");
  if (value == nullptr) return std::nullopt;
  if (!std::isfinite(*value)) state_->Wrong(key, "a finite number");
  if (static_cast<double>(static_cast<float>(*value)) != *value) return *value;
  const std::string shortest = fmt::format("{}", static_cast<float>(*value));
  double decimal = 0;
  std::from_chars(shortest.data(), shortest.data() + shortest.size(), decimal);
  return decimal;
}

std::optional<std::string> GgufReader::FindText(const std::string& key) const {
  const auto* value = state_->Typed<std::string>(key, "a text");
  return value == nullptr ? std::nullopt : std::optional(*value);
}

const std::vector<std::string>* GgufReader::FindTexts(const std::string& key) const {
  return state_->Typed<std::vector<std::string>>(key, "a list of texts");
}

const std::vector<int64_t>* GgufReader::FindInts(const std::string& key) const {
  return state_->Typed<std::vector<int64_t>>(key, "a list of integers");
}

const std::vector<double>* GgufReader::FindNumbers(const std::string& key) const {
  return state_->Typed<std::vector<double>>(key, "a list of floating-point numbers");
}

std::vector<std::string> GgufReader::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : state_->entries) names.push_back(name);
  return names;
}

bool GgufReader::Has(const std::string& name) const {
  return state_->entries.contains(name);
}

const Shape& GgufReader::ShapeOf(const std::string& name) const {
  return state_->Find(name).tensor.shape;
}

std::string_view GgufReader::TypeOf(const std::string& name) const {
  return state_->Find(name).tensor.type->name;
}

const std::string& GgufReader::FileOf(const std::string& name) const {
  return state_->FileOf(state_->Find(name)).path();
}

void GgufReader::State::ReadElements(const Entry& entry, uint64_t first,
                                     std::span<float> out) const {
  const GgufTensor& tensor = entry.tensor;
  const GgmlType& type = *tensor.type;
  const auto fail = [&](const std::string& what) {
    return Error(fmt::format("{}: tensor '{}': {}", FileOf(entry).path(), tensor.name, what));
  };
  if (type.dequantise == nullptr)
    throw fail(fmt::format("type {} is not supported ({})", type.name, ReadableGgmlTypes()));
  const auto bytes_of = [&](uint64_t elements) {
    return elements / type.block_elements * type.block_bytes;
  };
  float* to = out.data();
  ForEachPiece(FileOf(entry), tensor.offset + bytes_of(first), bytes_of(out.size()),
               type.block_bytes, [&](const unsigned char* data, size_t bytes) {
                 const size_t blocks = bytes / type.block_bytes;
                 type.dequantise(data, blocks, to);
                 to += blocks * type.block_elements;
               });
  if (const size_t bad = FirstNotFinite(out); bad < out.size())
    throw fail(fmt::format("element {} is {}", first + bad, out[bad]));
}

void GgufReader::ReadF32(const std::string& name, std::span<float> out) const {
  const State::Entry& entry = state_->Find(name);
  PUZZLE_CHECK(static_cast<size_t>(NumElements(entry.tensor.shape)) == out.size(),
               "a tensor of another size");
  state_->ReadElements(entry, 0, out);
}

void GgufReader::ReadRowsF32(const std::string& name, int64_t first, std::span<float> out) const {
  const State::Entry& entry = state_->Find(name);
  const Shape& shape = entry.tensor.shape;
  const auto columns = static_cast<size_t>(NumElements(shape) / shape.front());
  PUZZLE_CHECK(shape.size() > 1 && first >= 0 && out.size() % columns == 0 &&
                   first + static_cast<int64_t>(out.size() / columns) <= shape.front(),
               "rows that a tensor does not have");
  state_->ReadElements(entry, static_cast<uint64_t>(first) * columns, out);
}

bool GgufReader::SameBytes(const std::string& a, const std::string& b) const {
  const GgufTensor& left = state_->Find(a).tensor;
  const GgufTensor& right = state_->Find(b).tensor;
  if (left.type != right.type || left.shape != right.shape) return false;
  const InputFile& file = state_->FileOf(state_->Find(a));
  const InputFile& other = state_->FileOf(state_->Find(b));
  const size_t room = std::min<uint64_t>(kFilePieceBytes, left.bytes);
  std::vector<unsigned char> piece(room), others(room);
  for (uint64_t done = 0; done < left.bytes;) {
    const size_t count = std::min<uint64_t>(room, left.bytes - done);
    file.ReadAt(left.offset + done, piece.data(), count);
    other.ReadAt(right.offset + done, others.data(), count);
    if (std::memcmp(piece.data(), others.data(), count) != 0) return false;
    done += count;
  }
  return true;
}

std::vector<std::string> GgufParts(const std::string& path) {
  constexpr std::string_view kEnd = ".gguf";
  const size_t count_at = path.size() - std::min(path.size(), kPartDigits + kEnd.size());
  int64_t parts = 0;
  std::from_chars(path.data() + count_at, path.data() + path.size(), parts);
  const std::string name = parts > 1 && parts <= kMaxParts ? NameBeforePart(path, 1, parts) : "";
  if (name.empty()) return {path};
  std::vector<std::string> all;
  for (int64_t part = 1; part <= parts; ++part) all.push_back(PartPath(name, part, parts));
  return all;
}

bool BeginsAsGguf(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  const InputFile file(path);
  char magic[4] = {};
  if (file.size() < sizeof(magic)) return false;
  file.ReadAt(0, magic, sizeof(magic));
  return std::string_view(magic, sizeof(magic)) == "GGUF";
}

bool IsGgufPath(const std::string& path) {
  return path.ends_with(".gguf") || BeginsAsGguf(path);
}

std::string DigestGguf(const GgufReader& reader) {
  Fingerprint fingerprint;
  fingerprint.AddField("puzzle gguf 1");
  for (const auto& [key, value] : reader.metadata())
    if (!key.starts_with("split.") && key != "general.alignment")
      fingerprint.AddField(key).AddField(Canonical(value));
  for (const auto& [name, entry] : reader.state_->entries) {
    Fingerprint bytes;
    ForEachPiece(reader.state_->FileOf(entry), entry.tensor.offset, entry.tensor.bytes, 1,
                 [&](const unsigned char* data, size_t count) { bytes.Add(data, count); });
    fingerprint.AddField(name).AddField(entry.tensor.type->name);
    fingerprint.AddField(ShapeString(entry.tensor.shape)).AddField(bytes.Hex());
  }
  return fingerprint.Hex();
}

}  // namespace puzzle
