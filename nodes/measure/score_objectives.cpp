#include "nodes/measure/score_objectives.h"

#include "io/error.h"
#include "model/shape/metrics.h"

namespace puzzle {

std::vector<std::string> ScoreObjectives() {
  std::vector<std::string> names;
  for (const MetricInfo& info : AllMetrics()) names.emplace_back(info.objective);
  names.emplace_back(kTaskAccuracy);
  names.emplace_back(kTaskKl);
  return names;
}

std::optional<double> IncreaseOf(const Score& score, std::string_view objective) {
  for (const MetricInfo& info : AllMetrics())
    if (info.objective == objective) return score.increase.Mean(info.metric);
  PUZZLE_CHECK(objective == kTaskAccuracy || objective == kTaskKl, "no objective");
  if (!score.tasks) return std::nullopt;
  const TaskFigures& increase = score.tasks->increase;
  return objective == kTaskKl ? increase.kl.mean : increase.accuracy.mean;
}

}  // namespace puzzle
