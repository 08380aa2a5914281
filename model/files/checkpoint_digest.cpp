#include "model/files/checkpoint_digest.h"

#include <filesystem>

#include <nlohmann/json.hpp>

#include "io/fingerprint.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint_config.h"
#include "model/files/hf_config.h"

namespace puzzle {

namespace fs = std::filesystem;

std::string DigestCheckpoint(const std::string& folder) {
  if (IsGgufPath(folder)) return DigestGguf(GgufReader::Open(folder));
  Fingerprint fingerprint;
  fingerprint.AddField(ToHfJson(ReadCheckpointConfig(folder)).dump());
  fingerprint.AddField(DigestSafetensors(SafetensorsReader::Open(folder)));
  const auto add_file = [&](const char* name) {
    const fs::path file = fs::path(folder) / name;
    if (fs::exists(file)) fingerprint.AddField(name).AddField(FingerprintFile(file.string()));
  };
  for (const char* name : TokenizerFileNames()) add_file(name);
  add_file(kGenerationConfigName);
  return fingerprint.Hex();
}

std::string DigestConfig(const std::string& path) {
  return FingerprintText(ToHfJson(ReadCheckpointConfig(path)).dump());
}

}  // namespace puzzle
