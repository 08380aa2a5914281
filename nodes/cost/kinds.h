// Parameters of the kinds about what variants cost to serve, with their defaults: what a user can
// write under "params". kinds.cpp says what each means. Plain values, no libtorch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/data/ffn_rounding.h"

namespace puzzle {

struct CostParams : FfnRounding {
  std::string path;  // of a checkpoint, in place of the port
  std::vector<std::string> variants;
  int64_t batch = 1;
  int64_t prefill = 1024;
  int64_t generation = 1024;
  std::string weights = "bf16";
  std::string activations = "bf16";
  std::string kv = "bf16";
  std::string compat = "none";
  std::string device;  // a file of configs/devices; empty: no times
};

/// What is served at once while times are measured.
struct ServingParams {
  std::string device = "cpu";
  int64_t batch = 1;
  int64_t prefill = 128;
  int64_t generation = 128;
  double seconds = 0.5;  // per figure
};

struct LatencyParams : ServingParams, FfnRounding {
  std::vector<std::string> variants;
  int64_t copies = 0;  // 0: one per layer, at most eight
};

struct ModelLatencyParams : ServingParams {
  std::string label = "model";
};

struct BenchParams {
  std::string label = "model";
  std::string dtype = "fp32";
  int64_t batch = 1;
  int64_t prefill = 512;
  int64_t decode = 128;
  int64_t rounds = 5;
  int64_t threads = 0;  // 0: the lane's
};

struct SpeedReportParams {
  double keep = 98.4;     // % of the parent's task accuracy
  double speedup = 2.17;  // x its decode throughput
  int64_t batch = 0;      // that the sentences are about; 0: the largest that was measured
};

/// The tables of this room's kinds.
[[nodiscard]] std::vector<NodeKind> CostKinds();
/// The functions behind them; needs libtorch (bodies.cpp).
[[nodiscard]] std::map<std::string, Body> CostBodies();

}  // namespace puzzle
