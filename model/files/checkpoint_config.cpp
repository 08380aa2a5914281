#include "model/files/checkpoint_config.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "model/files/gguf_config.h"
#include "model/files/hf_config.h"

namespace puzzle {

namespace {
namespace fs = std::filesystem;

// The type that most elements have; of others than ours, what they are read as.
DType TypeOfMost(const SafetensorsReader& reader) {
  std::map<DType, int64_t> elements;
  for (const std::string& name : reader.Names()) {
    const std::string& type = reader.TypeOf(name);
    const DType stored = type == "F16"                         ? DType::kF16
                         : type == "BF16" || type == "F8_E4M3" ? DType::kBF16
                                                               : DType::kF32;
    elements[stored] += NumElements(reader.ShapeOf(name));
  }
  DType most = DType::kF32;
  for (const auto& [type, count] : elements)
    if (count > elements[most]) most = type;
  return most;
}

// People name model.safetensors, or a pipe.
void RefuseOtherFiles(const fs::path& path) {
  std::error_code failure;
  if (fs::exists(path, failure) && !fs::is_directory(path, failure))
    throw Error(path.string() +
                ": is no checkpoint; name the folder with config.json and safetensors, or a GGUF "
                "file");
}

}  // namespace

ModelConfig ReadCheckpointConfig(const std::string& path) {
  if (IsGgufPath(path)) return ReadGgufConfig(GgufReader::Open(path));
  const fs::path folder(path);
  RefuseOtherFiles(folder);
  const JsonText json = ParseHfJson((folder / "config.json").string());
  ModelConfig config = ModelConfigFromJson(json.value(), json.source());
  if (!SaysDType(json.value())) config.stored_dtype = TypeOfMost(SafetensorsReader::Open(path));
  const fs::path generation = folder / kGenerationConfigName;
  if (fs::exists(generation)) {
    const JsonText text = ParseHfJson(generation.string());
    const std::vector<int32_t> ids = ReadEosIds(HfFields(text.value(), text.source()));
    if (!ids.empty()) config.eos_ids = ids;
  }
  return config;
}

int64_t CountLayers(const std::string& path) {
  if (IsGgufPath(path)) return CountGgufLayers(GgufReader::Open(path));
  RefuseOtherFiles(path);
  return ReadHfLayerCount(path);
}

}  // namespace puzzle
