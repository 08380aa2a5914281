#include "nodes/data/export_model.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "io/byte_tokenizer_json.h"
#include "io/error.h"
#include "io/ggml_types.h"
#include "io/gguf.h"
#include "io/gguf_tokenizer.h"
#include "model/files/checkpoint.h"
#include "model/files/checkpoint_config.h"
#include "model/files/dense.h"
#include "model/files/gguf_checkpoint.h"

namespace puzzle {

namespace {

namespace fs = std::filesystem;

constexpr const char* kSameType = "same";
constexpr const char* kGgufName = "model.gguf";

void CreateFolderFor(const std::string& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw Error(folder + ": cannot create the folder: " + failure.message());
}

}  // namespace

void CheckDestination(const std::string& format, const std::string& out) {
  std::error_code failure;
  const bool is_folder = fs::is_directory(out, failure);
  if (format == "gguf") {
    if (is_folder) throw Error(out + ": is a folder; give a file, such as " + out + "/model.gguf");
    if (fs::exists(out, failure) && !BeginsAsGguf(out))
      throw Error(out + ": is there and is no GGUF file; give another name");
    return;
  }
  if (out.ends_with(".gguf"))
    throw Error(out + ": is a name for a GGUF file; add --format gguf, or give a folder");
  if (fs::exists(out, failure) && !is_folder)
    throw Error(out + ": is there and is no folder; give another name");
  if (is_folder && !fs::is_empty(out, failure) && !fs::exists(fs::path(out) / "config.json"))
    throw Error(out +
                ": holds files and no config.json, so it is no checkpoint to be replaced; give "
                "another folder");
}

std::map<std::string, uint64_t> ExportFolder(const Checkpoint& checkpoint,
                                             const std::string& folder, const std::string& dtype) {
  std::map<std::string, std::string> files = TokenizerFilesForOthers(checkpoint.tokenizer_files);
  if (!checkpoint.generation_config.empty())
    files[kGenerationConfigName] = checkpoint.generation_config;
  ModelWeights model = checkpoint.model;
  if (dtype != kSameType) {
    const auto type = ParseDType(dtype);
    PUZZLE_CHECK(type.has_value(), "a type of a folder");
    model.config.stored_dtype = *type;
  }
  return SaveCheckpoint(folder, model, files);
}

uint64_t ExportGguf(const Checkpoint& checkpoint, const std::string& path, const std::string& dtype,
                    const std::string& name) {
  std::string type(dtype == kSameType ? DTypeName(checkpoint.model.config.stored_dtype) : dtype);
  std::transform(type.begin(), type.end(), type.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  const GgmlType* const ggml = FindWritableGgmlType(type);
  PUZZLE_CHECK(ggml != nullptr, "a type of GGUF");
  return SaveGguf(path, checkpoint.model, {ggml, name, checkpoint.tokenizer_files});
}

ExportManifest RunExport(const ExportParams& params, const Inputs& inputs, RunContext& context) {
  const auto checkpoint = inputs.Get<Checkpoint>("model");
  if (params.format != "gguf") {
    CheckDestination(params.format, params.folder);
    Checkpoint written = *checkpoint;  // shares the tensors
    if (params.format == "dense") written.model = MakeDense(written.model);
    return {params.folder, ExportFolder(written, params.folder, params.dtype)};
  }
  CreateFolderFor(params.folder);
  const std::string path = (fs::path(params.folder) / kGgufName).string();
  CheckDestination(params.format, path);
  if (const std::string loss = WhatGgufTokenizerLoses(checkpoint->tokenizer_files); !loss.empty())
    context.Warn(loss);
  return {params.folder, {{kGgufName, ExportGguf(*checkpoint, path, params.dtype)}}};
}

}  // namespace puzzle
