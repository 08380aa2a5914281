#include "io/references.h"

#include <sys/stat.h>

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::json;

[[noreturn]] void RefuseReferences(const std::string& what) {
  throw Error("malformed references to files: " + what);
}

const json& ReferenceMember(const json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || found == object.end()) RefuseReferences(fmt::format("no {}", name));
  return *found;
}

std::string ReferenceText(const json& object, const char* name) {
  const json& value = ReferenceMember(object, name);
  if (!value.is_string()) RefuseReferences(fmt::format("{} is no text", name));
  return value.get<std::string>();
}

// A number that was parsed is unsigned, one that was made here may be signed.
bool IsSize(const json& value) {
  return value.is_number_integer() && (value.is_number_unsigned() || value.get<int64_t>() >= 0);
}

ArrayReference ArrayFromJson(const json& value) {
  ArrayReference array;
  const std::string dtype = ReferenceText(value, "dtype");
  const auto known = ParseDType(dtype);
  if (!known) RefuseReferences(fmt::format("dtype \"{}\"", dtype));
  array.info.dtype = *known;
  const json& shape = ReferenceMember(value, "shape");
  if (!shape.is_array()) RefuseReferences("shape is no list");
  for (const json& size : shape) {
    if (!IsSize(size)) RefuseReferences("a size of a shape is no number");
    array.info.shape.push_back(size.get<int64_t>());
  }
  (void)NumElements(array.info.shape);  // throws for sizes that nothing has
  array.digest = ReferenceText(value, "sha256");
  array.checkpoint = ReferenceText(value, "checkpoint");
  array.name = ReferenceText(value, "name");
  return array;
}

json ToJson(const ArrayReference& array) {
  return {{"dtype", DTypeName(array.info.dtype)},
          {"shape", array.info.shape},
          {"sha256", array.digest},
          {"checkpoint", array.checkpoint},
          {"name", array.name}};
}

json FilesToJson(const References& references) {
  json files = json::object();
  for (const auto& [path, stamp] : references.files)
    files[path] = json::array({stamp.bytes, stamp.mtime_ns});
  return files;
}

std::map<std::string, FileStamp> FilesFromJson(const json& value) {
  if (!value.is_object()) RefuseReferences("files is no object");
  std::map<std::string, FileStamp> files;
  for (const auto& [path, stamp] : value.items()) {
    if (!stamp.is_array() || stamp.size() != 2 || !IsSize(stamp[0]) ||
        !stamp[1].is_number_integer())
      RefuseReferences(fmt::format("of file \"{}\" size and time are not given", path));
    files[path] = {stamp[0].get<uint64_t>(), stamp[1].get<int64_t>()};
  }
  return files;
}

}  // namespace

std::optional<FileStamp> StampOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  constexpr int64_t kNanoseconds = 1'000'000'000;
  return FileStamp{static_cast<uint64_t>(info.st_size),
                   info.st_mtim.tv_sec * kNanoseconds + info.st_mtim.tv_nsec};
}

std::string References::Lost() const {
  for (const auto& [path, stamp] : files) {
    const auto now = StampOf(path);
    if (!now) return path + " is gone";
    if (now->bytes != stamp.bytes) return path + " changed";
  }
  return {};
}

bool AreUntouched(const std::map<std::string, FileStamp>& files) {
  return std::all_of(files.begin(), files.end(),
                     [](const auto& file) { return StampOf(file.first) == file.second; });
}

void WriteReferences(const References& references, ArchiveWriter& out) {
  if (references.arrays.empty()) return;
  json arrays = json::object();
  for (const auto& [name, array] : references.arrays) arrays[name] = ToJson(array);
  out.SetAttribute(kReferencesAttribute,
                   {{"files", FilesToJson(references)}, {"arrays", std::move(arrays)}});
}

References ReferencesFromJson(const json& value) {
  References references;
  references.files = FilesFromJson(ReferenceMember(value, "files"));
  const json& arrays = ReferenceMember(value, "arrays");
  if (!arrays.is_object()) RefuseReferences("arrays is no object");
  for (const auto& [name, array] : arrays.items()) references.arrays[name] = ArrayFromJson(array);
  return references;
}

References ReadReferences(const ArchiveReader& in) {
  if (!in.HasAttribute(kReferencesAttribute)) return {};
  return ReferencesFromJson(in.Attribute(kReferencesAttribute));
}

std::string FilesText(const References& references) {
  return FilesToJson(references).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::map<std::string, FileStamp> FilesFromText(const std::string& text) {
  return FilesFromJson(json::parse(text, nullptr, /*allow_exceptions=*/false));
}

}  // namespace puzzle
