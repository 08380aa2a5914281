// `puzzle analyze`: what a checkpoint is, what its layers could become, and what a budget of memory
// would take. Reads headers; needs no libtorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "model/shape/config.h"
#include "nodes/cost/serving_costs.h"

namespace puzzle {

/// What is served at once: what memory means.
struct LoadOptions {
  int64_t batch = 8;    // sequences
  int64_t context = 0;  // tokens of each; 0: the model's, 2048 at most
  std::string weights;  // "": as the checkpoint stores them
  std::string kv;       // likewise

  void Declare(CLI::App& verb);
  /// Throws Error for a context that the model does not have.
  [[nodiscard]] ServingScenario For(const ModelConfig& model) const;
};

struct AnalyzeOptions {
  std::string model;
  LoadOptions load;
  std::vector<std::string> budgets = {"90%", "75%", "50%"};
  bool json = false;
};

[[nodiscard]] int AnalyzeCommand(const AnalyzeOptions& options);
void AddAnalyzeVerb(Verbs& verbs);

}  // namespace puzzle
