#include "nodes/data/export_model.h"

#include "model/files/checkpoint.h"

namespace puzzle {

ExportManifest RunExport(const ExportParams& params, const Inputs& inputs, RunContext&) {
  const auto checkpoint = inputs.Get<Checkpoint>("model");
  return {params.folder,
          SaveCheckpoint(params.folder, checkpoint->model, checkpoint->tokenizer_files)};
}

}  // namespace puzzle
