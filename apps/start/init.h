// `puzzle init`: a commented graph that fits a checkpoint, the machine and a text, and what running
// it will cost. Needs no libtorch.
#pragma once

#include <string>
#include <vector>

#include "apps/cli.h"
#include "apps/models/analyze.h"

namespace puzzle {

struct InitOptions {
  std::string model;
  std::string target = "memory=75%";
  std::string preset = "balanced";
  std::vector<std::string> texts;
  LoadOptions load;
  std::string output;  // "": the model's name and .json
  std::string store = "store";
};

/// Writes the graph, never over a file that is there, and prints what it will cost.
[[nodiscard]] int InitCommand(const InitOptions& options, const Registry& registry,
                              const Hooks& hooks);
/// `registry` and `hooks` have to outlive the verbs.
void AddInitVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
