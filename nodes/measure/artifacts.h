// What steps hand to each other: how good blocks and models are, and reports of it. Every artifact
// is a value with a type name, a form in an archive and a size in memory; scalar attributes appear
// in records and summaries. Immutable once made, hence shared by threads.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"
#include "model/shape/metrics.h"
#include "model/shape/variant.h"
#include "nodes/measure/task.h"
#include "nodes/measure/task_damage.h"
#include "nodes/measure/task_results.h"

namespace puzzle {

/// How much a whole model suffers when one sub-block, or block, is replaced.
struct Score {
  static constexpr std::string_view kType = "score";
  int64_t layer = 0;
  std::string variant;
  VariantSpec spec;
  TokenMetrics metrics;                            // of the model with the variant
  TokenMetrics increase;                           // over the model without it, token by token
  std::string products = "fp32";                   // what they were computed in
  std::optional<TaskDamage> tasks = std::nullopt;  // in tasks, where there were some

  void Save(ArchiveWriter& out) const;
  static Score Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof(Score); }
};

/// Tasks to ask models.
struct TaskSet {
  static constexpr std::string_view kType = "tasks";
  std::vector<Task> tasks;

  void Save(ArchiveWriter& out) const;
  static TaskSet Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const;
};

/// How good a model is on held-out text, and in tasks.
struct Evaluation {
  static constexpr std::string_view kType = "evaluation";
  std::string label;
  std::string series;        // of a report's picture; may be empty
  std::string model_digest;  // of the checkpoint that was measured
  TokenMetrics metrics;
  bool has_kl = false;
  std::optional<double> predicted;  // KL as the sum of the replacements' scores
  std::vector<TaskResult> tasks;    // those that were asked
  int64_t parameters = 0;
  int64_t block_parameters = 0;
  double weights_mib = 0;         // in the checkpoint's dtype
  std::string products = "fp32";  // what was measured was computed in
  std::string prompt;
  std::string sample;

  void Save(ArchiveWriter& out) const;
  static Evaluation Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof(Evaluation) + sample.size(); }
};

/// Text for people; printed at the end of a run.
struct ReportText {
  static constexpr std::string_view kType = "report";
  std::string text;
  std::string picture_svg;  // empty: none

  void Save(ArchiveWriter& out) const;
  static ReportText Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return text.size() + picture_svg.size(); }
};

}  // namespace puzzle
