// `export`: a checkpoint as a Hugging Face folder or as a GGUF file.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "graph/kind/kind.h"
#include "model/files/stored_parts.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/kinds.h"

namespace puzzle {

/// Throws Error unless at `out`, a folder or a GGUF file, nothing is lost but an older export.
void CheckDestination(const std::string& format, const std::string& out);

/// Writes a folder (model/files/checkpoint.h), the files of the tokenizer and
/// generation_config.json included; returns name -> bytes. `dtype` is one of ExportDTypes that
/// CheckExport accepts. With `format` "anymodel" config.json is AnyModelJson's; other formats are
/// folders like "hf". Throws Error for what the format cannot say, and where the folder is one that
/// unread tensors of the model lie in.
[[nodiscard]] std::map<std::string, uint64_t> ExportFolder(const Checkpoint& checkpoint,
                                                           const std::string& folder,
                                                           const std::string& dtype,
                                                           const std::string& format = "hf");
/// Writes a GGUF file (model/files/gguf_checkpoint.h) with `name` as general.name, if it is not
/// empty, and parts of the model in `types`; returns its bytes. Throws Error likewise.
[[nodiscard]] uint64_t ExportGguf(const Checkpoint& checkpoint, const std::string& path,
                                  const std::string& dtype, const std::string& name = {},
                                  const StoredTypes& types = {});

/// Either of them; a GGUF file is called model.gguf. Says what is in the folder. Throws Error as
/// CheckDestination, and for a precision of another model.
[[nodiscard]] ExportManifest RunExport(const ExportParams& params, const Inputs& inputs,
                                       RunContext& context);

}  // namespace puzzle
