// Parameters of the kinds about how good blocks and models are, and reports of it, with their
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

struct ScoreParams : LossOn {
  std::string compute = "fp32";
  int64_t batch = 8;
};

struct RemoveBlocksParams {
  std::string block_parameters;  // "80%"
  std::string unit = "block";
  std::string objective = "lm_loss";
  std::string compute = "fp32";
  int64_t batch = 8;
};

struct BestParams {
  nlohmann::json within = nlohmann::json::object();
};

struct AdditivityParams {};

struct TasksParams {
  std::string folder;
  std::string data;
  std::vector<std::string> tasks;
  int64_t limit = 0;  // 0: all
  std::string part = "all";
};

struct LongContextParams {
  std::vector<std::string> forms = {"needle", "variables", "words"};
  std::vector<int64_t> lengths = {512};
  int64_t questions = 50;  // of each form and length
  int64_t seed = 1;
};

struct VerdictParams {
  std::string finding;
  std::string metric = "kl";
  nlohmann::json better = nlohmann::json::array();
};

struct EvaluateParams : LossOn {
  std::string label = "model";
  std::string series;
  std::string compute = "fp32";
  int64_t positions = 0;  // 0: all
  int64_t batch = 8;
  std::string questions;
  int64_t max_questions = 0;  // 0: all
  std::string prompt;
  int64_t sample_tokens = 0;
};

struct ReportParams {
  std::vector<std::string> order;
  std::vector<std::string> main;
  std::vector<std::string> loose;
};

/// The tables of this room's kinds.
[[nodiscard]] std::vector<NodeKind> MeasureKinds();
/// The functions behind them; needs libtorch (bodies.cpp).
[[nodiscard]] std::map<std::string, Body> MeasureBodies();

}  // namespace puzzle
