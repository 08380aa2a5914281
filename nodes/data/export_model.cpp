#include "nodes/data/export_model.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <vector>

#include "io/byte_tokenizer_json.h"
#include "io/error.h"
#include "io/ggml_types.h"
#include "io/gguf.h"
#include "io/gguf_tokenizer.h"
#include "model/files/anymodel.h"
#include "model/files/checkpoint.h"
#include "model/files/checkpoint_config.h"
#include "model/files/dense.h"
#include "model/files/gguf_checkpoint.h"
#include "model/files/hf_config.h"
#include "model/unread.h"
#include "nodes/precision/artifacts.h"

namespace puzzle {

namespace {

namespace fs = std::filesystem;

constexpr const char* kSameType = "same";
constexpr const char* kDenseFormat = "dense";
constexpr const char* kAnyModelFormat = "anymodel";
constexpr const char* kGgufName = "model.gguf";

// A folder for a file to come. What had to be made for it goes again unless the file came.
class FolderForFile {
 public:
  explicit FolderForFile(const std::string& folder) {
    std::error_code failure;
    for (fs::path path = fs::absolute(folder).lexically_normal();
         !path.empty() && !fs::exists(path, failure); path = path.parent_path())
      made_.push_back(path);
    fs::create_directories(folder, failure);
    if (!failure) return;
    Remove();
    throw Error(folder + ": cannot create the folder: " + failure.message());
  }
  FolderForFile(const FolderForFile&) = delete;
  FolderForFile& operator=(const FolderForFile&) = delete;
  ~FolderForFile() { Remove(); }
  void Keep() { made_.clear(); }

 private:
  void Remove() {
    std::error_code ignored;  // of a folder that somebody else put something into
    for (const fs::path& path : made_) fs::remove(path, ignored);
    made_.clear();
  }
  std::vector<fs::path> made_;  // the innermost first
};

// Weights that are still in the user's files would go with these, and results in the store only
// refer to them.
void RefuseOwnFiles(const ModelWeights& model, const std::string& out) {
  ModelWeights handles = model;
  std::set<std::string> checkpoints;
  for (const auto& [name, slot] : Slots(handles)) {
    const auto source = SourceOf(*slot);
    if (source != nullptr && source->place() != nullptr)
      checkpoints.insert(source->place()->checkpoint);
  }
  std::error_code failure;  // of what is not there yet
  for (const std::string& checkpoint : checkpoints)
    if (fs::equivalent(checkpoint, out, failure))
      throw Error(out + ": holds weights that this very model refers to; give another place");
}

// Whether a folder with this config.json is a model's.
bool IsModelConfig(const fs::path& path) {
  try {
    return ParseHfJson(path.string()).value().contains("model_type");
  } catch (const Error&) {
    return false;
  }
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
  if (!is_folder || fs::is_empty(out, failure)) return;
  const fs::path config = fs::path(out) / "config.json";
  if (!fs::exists(config, failure))
    throw Error(out +
                ": holds files and no config.json, so it is no checkpoint to be replaced; give "
                "another folder");
  if (!IsModelConfig(config))
    throw Error(out +
                ": its config.json is none of a model, so it is no checkpoint to be replaced; give "
                "another folder");
}

std::map<std::string, uint64_t> ExportFolder(const Checkpoint& checkpoint,
                                             const std::string& folder, const std::string& dtype,
                                             const std::string& format) {
  RefuseOwnFiles(checkpoint.model, folder);
  std::map<std::string, std::string> files = TokenizerFilesForOthers(checkpoint.tokenizer_files);
  if (!checkpoint.generation_config.empty())
    files[kGenerationConfigName] = checkpoint.generation_config;
  ModelWeights model = checkpoint.model;
  if (dtype != kSameType) {
    const auto type = ParseDType(dtype);
    PUZZLE_CHECK(type.has_value(), "a type of a folder");
    model.config.stored_dtype = *type;
  }
  if (format == kAnyModelFormat)
    return SaveCheckpoint(folder, model, files, AnyModelJson(model.config));
  return SaveCheckpoint(folder, model, files);
}

uint64_t ExportGguf(const Checkpoint& checkpoint, const std::string& path, const std::string& dtype,
                    const std::string& name, const StoredTypes& types) {
  RefuseOwnFiles(checkpoint.model, path);
  const std::string own(DTypeName(checkpoint.model.config.stored_dtype));
  const GgmlType& type = StoredTypeNamed(dtype == kSameType ? own : dtype);
  return SaveGguf(path, checkpoint.model, {&type, name, checkpoint.tokenizer_files, types});
}

ExportManifest RunExport(const ExportParams& params, const Inputs& inputs, RunContext& context) {
  const auto checkpoint = inputs.Get<Checkpoint>("model");
  if (params.format != "gguf") {
    CheckDestination(params.format, params.folder);
    Checkpoint written = *checkpoint;  // shares the tensors
    if (params.format == kDenseFormat) written.model = MakeDense(written.model);
    return {params.folder, ExportFolder(written, params.folder, params.dtype, params.format)};
  }
  StoredTypes types;  // none where nobody chose them
  if (inputs.Has("precision"))
    types = inputs.Get<Precision>("precision")->TypesFor(checkpoint->model.config);
  FolderForFile folder(params.folder);
  const std::string path = (fs::path(params.folder) / kGgufName).string();
  CheckDestination(params.format, path);
  if (const std::string loss = WhatGgufTokenizerLoses(checkpoint->tokenizer_files); !loss.empty())
    context.Warn(loss);
  const std::string dtype = types.empty() ? params.dtype : kRestType;
  const uint64_t bytes = ExportGguf(*checkpoint, path, dtype, {}, types);
  folder.Keep();
  return {params.folder, {{kGgufName, bytes}}};
}

}  // namespace puzzle
