// Parameters of the kinds about the types that a file holds a model's matrices in, with their
// defaults: what a user can write under "params". kinds.cpp says what each means. Plain values, no
// libtorch.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/data/loss_on.h"

namespace puzzle {

/// What a part can be stored in, as a graph writes it, the most exact first.
[[nodiscard]] const std::vector<std::string>& PrecisionTypes();

struct PrecisionScoreParams : LossOn {
  std::string part;
  int64_t layer = 0;
  std::vector<std::string> types = PrecisionTypes();
  int64_t batch = 8;
};

struct PrecisionParams {
  nlohmann::json objective = "kl";
  nlohmann::json max = nlohmann::json::object();
  std::string like;  // a type; empty: `max` says how large the file may be
  double time_limit_s = 60;
};

struct QuantizeParams {
  std::string type;                // of all parts; empty: as `precision` says
  std::vector<std::string> parts;  // "embed=q8_0": those that have another one (mixture.h)
};

/// The tables of this room's kinds.
[[nodiscard]] std::vector<NodeKind> PrecisionKinds();
/// The functions behind them; needs libtorch (bodies.cpp).
[[nodiscard]] std::map<std::string, Body> PrecisionBodies();

}  // namespace puzzle
