#include "graph/plan/workload.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "graph/plan/step_loads.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

class Prediction {
 public:
  Prediction(const Plan& plan, const WorkloadFunction& workload,
             const std::function<MachineSpeed()>& speed, size_t lanes)
      : plan_(plan),
        speed_(speed),
        lanes_(static_cast<double>(std::max<size_t>(lanes, 1))),
        works_(LoadsOfSteps(plan, workload)) {}

  [[nodiscard]] const Workload& work(StepId id) const { return works_[id]; }

  // Seconds by the machine's speed. A node of many steps has the cores shared among the lanes; a
  // step that is alone of its kind has them to itself, unless others run beside it.
  double Seconds(StepId id) { return works_[id].host_s + Share(id) * Products(id); }

  // What those seconds keep from other lanes beyond the step's own.
  double Beside(StepId id) { return (lanes_ - Share(id)) * Products(id); }

  void Learn(StepId id, double wall_s) {
    if (!works_[id].is_known) return;
    Past& past = past_[&plan_.kind(id)];
    past.wall_s += wall_s;
    past.predicted_s += Seconds(id);
  }

  // What the past of the kind makes of predicted seconds.
  [[nodiscard]] double Correction(StepId id) const {
    const auto past = past_.find(&plan_.kind(id));
    return past != past_.end() && past->second.predicted_s > 0
               ? past->second.wall_s / past->second.predicted_s
               : 1;
  }

 private:
  struct Past {
    double wall_s = 0, predicted_s = 0;
  };

  [[nodiscard]] double Share(StepId id) const {
    return std::min(lanes_, static_cast<double>(plan_.node(id).count));
  }

  // Seconds of all cores together.
  double Products(StepId id) {
    const Workload& work = works_[id];
    if (work.flops + work.bf16_flops == 0) return 0;
    if (!measured_) measured_ = speed_();
    return work.flops / measured_->flops + work.bf16_flops / measured_->bf16_flops;
  }

  const Plan& plan_;
  const std::function<MachineSpeed()>& speed_;
  const double lanes_;
  std::vector<Workload> works_;
  std::map<const NodeKind*, Past> past_;
  std::optional<MachineSpeed> measured_;
};

double SumOfLargest(std::vector<double> values, size_t count) {
  std::sort(values.begin(), values.end(), std::greater<>());
  values.resize(std::min(values.size(), count));
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

Outlook Foresee(const Plan& plan, const WorkloadFunction& workload,
                const std::function<MachineSpeed()>& speed, size_t lanes, Store& store,
                Forecast& forecast) {
  Outlook outlook;
  Prediction prediction(plan, workload, speed, lanes);
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    if (forecast.steps[id].fate == Fate::kHit)
      prediction.Learn(id, forecast.steps[id].record.wall_s);
  }
  std::vector<double> memory;
  double shared = 0, beside_s = 0;
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    StepForecast& step = forecast.steps[id];
    if (step.fate == Fate::kHit) continue;
    const Workload& work = prediction.work(id);
    const std::optional<Record> past = PastOf(plan, id, store);
    if (work.is_known) {
      outlook.disk_bytes += work.disk_bytes;
      memory.push_back(work.memory_bytes);
      shared = std::max(shared, work.shared_bytes);
      step.memory_bytes = static_cast<uint64_t>(work.memory_bytes);
      step.shared_bytes = static_cast<uint64_t>(work.shared_bytes);
    } else if (past) {
      outlook.disk_bytes += static_cast<double>(past->bytes);
      memory.push_back(static_cast<double>(RecordedMemory(*past)));
    }
    if (past) continue;
    if (work.is_known) {
      const double correction = prediction.Correction(id);
      step.expected_s = correction * prediction.Seconds(id);
      step.guessed = false;
      beside_s += correction * prediction.Beside(id);
      outlook.is_predicted = true;
    } else if (step.guessed && plan.kind(id).needs != Needs::kHost &&
               (outlook.unknown.empty() || outlook.unknown.back() != plan.node_name(id))) {
      outlook.unknown.push_back(plan.node_name(id));
    }
  }
  AddUp(plan, forecast);
  forecast.expected_s += beside_s;
  outlook.memory_bytes = kProgramBytes + shared + SumOfLargest(std::move(memory), lanes);
  return outlook;
}

std::string OutlookText(const Outlook& outlook) {
  std::string text = fmt::format("{} of disk, at most {} of memory",
                                 SizeText(static_cast<uint64_t>(outlook.disk_bytes)),
                                 SizeText(static_cast<uint64_t>(outlook.memory_bytes)));
  if (!outlook.unknown.empty()) {
    text += fmt::format("; of unknown length: {}", fmt::join(outlook.unknown, ", "));
  }
  return text;
}

}  // namespace puzzle
