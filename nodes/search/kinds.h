// Parameters of the kinds about choosing one variant per sub-block, with their defaults: what a
// user can write under "params". kinds.cpp says what each means. Plain values, no libtorch.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graph/kind/kind.h"

namespace puzzle {

struct SearchParams {
  nlohmann::json objective = "kl";
  std::string method = "exact";
  nlohmann::json max = nlohmann::json::object();
  nlohmann::json min = nlohmann::json::object();
  nlohmann::json loss = nlohmann::json::object();  // the inverse question
  std::string uniform;                             // "", kv, ffn, all
  double time_limit_s = 60;
  int64_t seed = 1;
  int64_t pool = 1;
  int64_t distance = 1;
  int64_t rank = 1;  // which of the pool
  bool compare = true;
};

struct BisectParams {
  nlohmann::json loss = nlohmann::json::object();  // as measured
  std::string resource = "block_parameters";
  std::string from = "0%";  // the smallest size that is looked at
  nlohmann::json objective = "kl";
  nlohmann::json max = nlohmann::json::object();
  nlohmann::json min = nlohmann::json::object();
  double time_limit_s = 60;
};

struct SweepParams {
  nlohmann::json objective = "kl";
  std::string budgets;  // "memory_mib=50%..100%:20"
  nlohmann::json max = nlohmann::json::object();
  nlohmann::json min = nlohmann::json::object();
  std::vector<std::string> baselines = {"greedy", "uniform", "depth", "random"};
  double time_limit_s = 60;
  int64_t seed = 1;
};

struct BlockLibraryParams {
  std::string folder;
};

/// The tables of this room's kinds.
[[nodiscard]] std::vector<NodeKind> SearchKinds();
/// The functions behind them; needs libtorch (bodies.cpp).
[[nodiscard]] std::map<std::string, Body> SearchBodies();

}  // namespace puzzle
