// What a store knows about a graph, as the figures that a report shows: models and their quality,
// what every variant costs and loses, what was chosen, how training went, when what ran where.
// Reads records and a few attributes; computes nothing and needs no libtorch. Values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"
#include "graph/view/timeline.h"

namespace puzzle {

struct ReportedTask {
  std::string name, metric;
  double value = 0, error = 0;
  int64_t n = 0;
};

/// An evaluation.
struct ReportedModel {
  std::string step, label, series;
  double parameters = 0, block_parameters = 0, weights_mib = 0;
  /// Means and standard errors by metric: "nll", "nll_se", "kl", ...
  std::map<std::string, double> figures;
  std::optional<double> predicted_kl;
  std::vector<ReportedTask> tasks;
  std::string prompt, sample;

  [[nodiscard]] std::optional<double> Find(const std::string& figure) const;
};

/// A variant of a layer: what training it reached, what the model loses by it, what it costs.
struct ReportedVariant {
  int64_t layer = 0;
  std::string variant;                       // as the graph writes it
  std::optional<double> init_loss, loss;     // relative MSE on held-out states, before and after
  std::optional<double> kl, kl_se, lm_loss;  // increases over the parent
  std::optional<double> parameters, memory_mib;  // of the sub-block
};

/// The parent's own sub-blocks.
struct ReportedLayer {
  double attention_parameters = 0, ffn_parameters = 0;
  double attention_mib = 0, ffn_mib = 0;  // weights and KV cache
  std::string attention, ffn;             // "attn:kv3", "ffn:1536"
};

struct ReportedChoice {
  struct Pick {
    int64_t layer = 0;
    std::string variant;  // as the graph writes it, or the parent's own shape
    std::string part;     // "attn", "ffn" or "block"
  };
  std::string step, method, status;
  double objective = 0;
  std::vector<Pick> picks;
  std::map<std::string, double> totals;
};

/// What a step told while it ran: part done, number.
using ReportedCurve = std::vector<std::pair<double, double>>;

/// A step that trained a whole model.
struct ReportedTraining {
  std::string step;
  std::map<std::string, double> figures;  // "held_out_kl_before", "held_out_kl", "loss"
  ReportedCurve curve, held_out;          // of the loss; may be empty
};

struct ReportedStep {
  std::string step, node, kind, state, device, finished, host;
  double wall_s = 0, cpu_s = 0, memory_mib = 0;
};

struct ReportData {
  std::vector<ReportedModel> models;
  std::vector<ReportedVariant> variants;  // by layer, in the order of the graph
  std::vector<ReportedLayer> layers;      // empty without costs
  std::vector<ReportedChoice> choices;
  std::vector<ReportedTraining> trainings;
  std::map<std::string, ReportedCurve> block_curves;  // of the loss, by step
  std::vector<ReportedStep> steps;
  Timeline timeline;  // of all steps whose results are used, idle time left out
  std::vector<std::pair<std::string, std::string>> pictures;  // step, SVG
  std::map<std::string, std::string> environment;
  std::vector<std::pair<std::string, std::string>> files;  // of the graph: name, text
};

/// Everything but `files`. Curves are those of the records; `events`, a file that `run --events`
/// wrote, or "", has more points of the steps of that run. Throws Error when that cannot be read.
[[nodiscard]] ReportData CollectReport(const Plan& plan, const Forecast& forecast,
                                       const Store& store, const std::string& events);

}  // namespace puzzle
