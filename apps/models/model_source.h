// Where a verb's MODEL comes from: a checkpoint on the disk, or the result of a step. Needs
// libtorch.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "model/files/stored_parts.h"
#include "nodes/data/artifacts.h"

namespace puzzle {

struct ModelSource {
  std::string model;                  // a folder, a GGUF file, or GRAPH:STEP
  std::string store = "store";        // of GRAPH:STEP
  std::vector<std::string> settings;  // --set, of GRAPH:STEP
};

/// The step when it is GRAPH:STEP: a file in front of a colon, and nothing of the whole name on the
/// disk.
[[nodiscard]] std::optional<std::string> StepOfGraph(const std::string& model);

/// A model, and the types in which a GGUF file is to hold its parts; empty: nobody chose them.
struct ModelAndTypes {
  Checkpoint checkpoint;
  StoredTypes types;
};

/// Reads it, with what the step `precision` of the same graph chose for it unless that is "".
/// Throws Error: as ReadCheckpoint, with everything that is wrong with the graph, and for
/// a step that is none, has another result, or has not run as the graph says.
[[nodiscard]] ModelAndTypes ReadModel(const ModelSource& source, const std::string& precision,
                                      const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
