// Parameters of the kinds about hidden states of the parent and what they say about its parts, with
// their defaults: what a user can write under "params". kinds.cpp says what each means. Plain
// values, no libtorch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/kind/kind.h"

namespace puzzle {

struct ActivationsParams {
  std::string dtype = "bf16";
  std::string compute = "fp32";
  std::string keep = "all";
  int64_t max_mib = 0;  // 0: no limit
  int64_t batch = 8;
};

struct ImportanceParams {
  std::string method = "iterative";
  int64_t batches = 16;
  int64_t batch = 4;
  int64_t seed = 1;
};

/// The tables of this room's kinds.
[[nodiscard]] std::vector<NodeKind> StatesKinds();
/// The functions behind them; needs libtorch (bodies.cpp).
[[nodiscard]] std::map<std::string, Body> StatesBodies();

}  // namespace puzzle
