// The graph that `puzzle init` writes: JSON with comments that say what may be changed. Thread-safe
// (pure functions).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nodes/cost/anatomy.h"

namespace puzzle {

/// What a starter graph says; every field becomes a line of it.
struct StarterGraph {
  std::string file;     // its own name, for the commands in its head
  std::string summary;  // "stories3M, a llama of 3.1 million parameters"
  std::string text_note;

  std::string model;               // path
  std::vector<std::string> texts;  // paths; none: stories that are made up
  int64_t stories = 0;             // how many of those
  std::vector<std::string> variants;
  std::vector<Repetition> repeated;  // shapes that are there already
  std::string resource;              // of a search: "memory_mib"
  std::vector<std::string> budgets;  // "75%"
  ServingScenario load;              // what memory is counted for
  int64_t length = 512;              // tokens of a sequence
  int64_t calibration = 64;          // sequences that blocks learn from
  int64_t holdout = 8;               // of those, that only judge
  int64_t distillation = 64;         // sequences that whole children learn from
  int64_t scored = 4;
  int64_t tested = 32;
  int64_t epochs = 2;
  int64_t steps = 40;
  int64_t batch = 4;  // sequences of a step of distillation
  std::string compute = "fp32";
  double lr = 5e-4;
  std::string prompt;
  std::string folder;  // of the exported children
};

/// The text of the graph. Throws Error for paths that are not UTF-8, which JSON cannot hold.
[[nodiscard]] std::string StarterText(const StarterGraph& graph);

}  // namespace puzzle
