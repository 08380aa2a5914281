// The parameters of every kind, with their defaults: what a user can write under "params". The
// tables in nodes/kinds.cpp say what each means. Plain values, no libtorch.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace puzzle {

struct SyntheticTextParams {
  int64_t stories = 2000;
  int64_t seed = 1;
};

struct LoadModelParams {
  std::string path;
};

struct TokenizeParams {
  std::string text;                 // a file; empty: the `text` port
  std::string tokenizer = "model";  // or "byte"
  std::string separator = "<|endoftext|>";
  int64_t length = 512;
  int64_t sequences = 0;  // 0: all
  std::string take = "first";
};

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

struct BldParams : TrainingParams {
  int64_t layer = 0;
  std::string variant;
  int64_t multiple_of = 8;
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

struct JoinParams {
  int64_t layer = 0;
  std::string variant;
  int64_t multiple_of = 8;
};

struct ShortlistParams {
  int64_t layer = 0;
  int64_t rank = 1;
};

struct ScoreParams {
  int64_t batch = 8;
};

struct CostParams {
  std::vector<std::string> variants;
  int64_t multiple_of = 8;
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

struct LatencyParams : ServingParams {
  std::vector<std::string> variants;
  int64_t multiple_of = 8;
  int64_t copies = 0;  // 0: one per layer, at most eight
};

struct ModelLatencyParams : ServingParams {
  std::string label = "model";
};

struct SearchParams {
  nlohmann::json objective = "kl";
  std::string method = "exact";
  nlohmann::json max = nlohmann::json::object();
  nlohmann::json min = nlohmann::json::object();
  double time_limit_s = 60;
  int64_t seed = 1;
  int64_t pool = 1;
  int64_t distance = 1;
  int64_t rank = 1;  // which of the pool
  bool compare = true;
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

struct AssembleParams {};

struct BestParams {};

struct AdditivityParams {};

struct GkdParams : TrainingParams {
  GkdParams() { lr = 5e-4; }
  int64_t steps = 240;
  std::string compute = "fp32";
  double kl_weight = 1.0;
  double cosine_weight = 1.0;
  double lm_weight = 0.0;
  int64_t seed = 1;
};

struct EvaluateParams {
  std::string label = "model";
  std::string series;
  int64_t positions = 0;  // 0: all
  int64_t batch = 8;
  std::string questions;
  int64_t max_questions = 0;  // 0: all
  std::string prompt;
  int64_t sample_tokens = 0;
};

struct ExportParams {
  std::string folder;
};

struct ReportParams {
  std::vector<std::string> order;
  std::vector<std::string> main;
  std::vector<std::string> loose;
};

}  // namespace puzzle
