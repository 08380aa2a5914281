// `puzzle search`: the best child of a block library under limits, without a graph.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli.h"

namespace puzzle {

struct SearchOptions {
  std::string library;           // file
  std::string objective;         // a metric, or {"metric": weight} as JSON
  std::vector<std::string> max;  // "resource=limit"
  std::vector<std::string> min;
  std::optional<double> max_loss;  // the inverse question: the smallest child within it
  std::string minimize;            // a resource; "": parameters
  std::string uniform;             // "", kv, ffn, all
  double throughput = 0;           // tokens per second at least; 0: no limit
  double batch = 0;  // of the library's measurements; 0: as its measurement_info.json says
  double sequence = 0;
  std::string solver = "exact";
  int64_t pool = 1;
  int64_t distance = 1;
  double time_limit_s = 60;
  uint64_t seed = 1;
  std::string sweep;  // "resource=from..to:points"
  std::string svg;    // file for the picture of a sweep
  bool compare = false;
  bool json = false;
};

[[nodiscard]] int SearchCommand(const SearchOptions& options);
void AddSearchVerb(Verbs& verbs);

}  // namespace puzzle
