// Parameters of the kinds about training: the parent, blocks, the child, with their defaults: what
// a user can write under "params". kinds.cpp says what each means. Plain values, no libtorch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/data/ffn_rounding.h"
#include "nodes/data/loss_on.h"

namespace puzzle {

/// Optimization in common to pretraining, BLD and GKD.
struct TrainingParams {
  double lr = 3e-3;
  double warmup = 0.05;
  double weight_decay = 0.1;
  double clip = 1.0;
  int64_t batch = 8;  // sequences in a step
};

struct PretrainParams : TrainingParams {
  int64_t layers = 4;
  int64_t hidden = 128;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t ffn = 384;
  int64_t steps = 1000;
  int64_t seed = 1;
};

struct BldParams : TrainingParams, FfnRounding, LossOn {
  int64_t layer = 0;
  std::string variant;
  std::string kv_merge = "average";
  std::string loss = "tensor";
  std::string compute = "fp32";
  double epochs = 3;
  int64_t holdout = 16;          // sequences
  int64_t refit_tokens = 65536;  // 0: no closed-form start
  int64_t seed = 1;
};

/// In place of a variant's name: that of the block at port `start`.
inline constexpr const char* kVariantOfStart = "start";

struct JoinParams : FfnRounding {
  int64_t layer = 0;
  std::string variant;
};

struct ShortlistParams {
  int64_t layer = 0;
  int64_t rank = 1;
};

struct AssembleParams {};

struct GkdParams : TrainingParams, LossOn {
  GkdParams() { lr = 0; }
  /// Peak learning rate for a model of that hidden size: `lr`, or what suits it where that is 0.
  [[nodiscard]] double PeakRate(int64_t hidden) const {
    return lr > 0 ? lr : std::min(5e-4, 0.1 / static_cast<double>(hidden));
  }

  /// Whether losses ask for the teacher's hidden states; its likeliest words may be had without.
  [[nodiscard]] bool AsksForStates(bool has_words) const {
    return cosine_weight > 0 || (kl_weight > 0 && !has_words);
  }

  int64_t steps = 240;
  std::string train = "all";
  int64_t rank = 16;     // of adapters
  int64_t checks = 5;    // of the KL held out, behind the first
  int64_t patience = 0;  // checks; 0: all steps are made
  std::string compute = "fp32";
  std::string head_compute = "auto";
  std::string recompute = "auto";
  double kl_weight = 1.0;
  double cosine_weight = 1.0;
  double lm_weight = 0.0;
  int64_t holdout = 4;         // sequences
  std::string dtype = "fp32";  // of the result
  int64_t devices = 1;         // lanes
  int64_t seed = 1;
};

/// Ids of a vocabulary of so many words are stored in 16 bits.
constexpr int64_t kMostShortIds = int64_t{1} << 16;

struct TeacherLogitsParams {
  int64_t k = 64;
  std::string compute = "fp32";
  int64_t batch = 8;  // sequences at a time
};

/// The tables of this room's kinds.
[[nodiscard]] std::vector<NodeKind> TrainKinds();
/// The functions behind them; needs libtorch (bodies.cpp).
[[nodiscard]] std::map<std::string, Body> TrainBodies();

}  // namespace puzzle
