#include "nodes/data/export_model.h"

#include "model/files/checkpoint.h"
#include "model/files/checkpoint_config.h"

namespace puzzle {

ExportManifest RunExport(const ExportParams& params, const Inputs& inputs, RunContext&) {
  const auto checkpoint = inputs.Get<Checkpoint>("model");
  std::map<std::string, std::string> files = checkpoint->tokenizer_files;
  if (!checkpoint->generation_config.empty())
    files[kGenerationConfigName] = checkpoint->generation_config;
  return {params.folder, SaveCheckpoint(params.folder, checkpoint->model, files)};
}

}  // namespace puzzle
