#include "graph/view/eta.h"

#include <algorithm>

namespace puzzle {
namespace {

/// A step's own progress, since it began, is believed from here on.
constexpr double kFirstFraction = 0.02;

}  // namespace

Eta::Eta(const Plan& plan, const Forecast& forecast, size_t lanes)
    : plan_(plan),
      forecast_(forecast),
      lanes_(static_cast<double>(std::max<size_t>(lanes, 1))),
      done_(plan.steps.size(), false),
      pending_s_(plan.nodes.size(), 0),
      guessed_(plan.nodes.size(), false),
      measured_(plan.nodes.size()),
      running_(plan.nodes.size()) {
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    done_[id] = forecast.steps[id].fate == Fate::kHit;
    const uint32_t node = plan.steps[id].node;
    if (!done_[id]) pending_s_[node] += forecast.steps[id].expected_s;
    if (forecast.steps[id].guessed) guessed_[node] = true;
  }
}

void Eta::OnEvent(const RunEvent& event, double now_s) {
  if (!event.has_step) return;
  const StepId id = event.step;
  const size_t node = plan_.steps[id].node;
  const double expected_s = forecast_.steps[id].expected_s;
  switch (event.type) {
    case RunEvent::Type::kStepStarted:
      running_[node][id] = {now_s, 0, 0};
      pending_s_[node] -= expected_s;
      break;
    case RunEvent::Type::kProgress:
      if (auto it = running_[node].find(id); it != running_[node].end()) {
        it->second.fraction = event.fraction;
        it->second.begun = event.begun;
      }
      break;
    case RunEvent::Type::kStepRetried:
      if (running_[node].erase(id) > 0) pending_s_[node] += expected_s;
      break;
    case RunEvent::Type::kStepDone: {
      const auto it = running_[node].find(id);
      const double begun = it == running_[node].end() ? 0 : it->second.begun;
      if (running_[node].erase(id) == 0) pending_s_[node] -= expected_s;
      done_[id] = true;
      if (event.outcome == Outcome::kOk) {
        Measured& measured = measured_[node];
        measured.took_s += event.wall_s;
        measured.expected_s += expected_s * (1 - begun);
        ++measured.count;
      }
      break;
    }
    default:
      break;
  }
}

/// The past counts like one more step of the node, so that one odd step does not turn everything
/// over, and a first guess is forgotten soon. A node of which nothing has finished yet takes the
/// correction of the others: the machine is as fast for it as for them.
double Eta::Correction(size_t node) const {
  const Measured& own = measured_[node];
  if (own.count > 0) {
    const double one = own.expected_s / static_cast<double>(own.count);
    const double weight = guessed_[node] ? 0 : one;
    const double expected = own.expected_s + weight;
    return expected > 0 ? (own.took_s + weight) / expected : 1;
  }
  if (guessed_[node]) return 1;
  double took = 0, expected = 0;
  for (size_t n = 0; n < measured_.size(); ++n) {
    if (guessed_[n]) continue;
    took += measured_[n].took_s;
    expected += measured_[n].expected_s;
  }
  return expected > 0 && took > 0 ? took / expected : 1;
}

double Eta::Left(StepId step, double now_s) const {
  const size_t node = plan_.steps[step].node;
  const double expected_s = forecast_.steps[step].expected_s * Correction(node);
  const auto it = running_[node].find(step);
  if (it == running_[node].end()) return expected_s;
  const auto& [since_s, fraction, begun] = it->second;
  const double spent_s = now_s - since_s, own = fraction - begun;
  if (own > kFirstFraction) return spent_s / own * (1 - fraction);
  return std::max(expected_s * (1 - begun) - spent_s, 0.0);
}

double Eta::NodeLeft(size_t node, double now_s) const {
  double left_s = std::max(pending_s_[node], 0.0) * Correction(node);
  for (const auto& [step, running] : running_[node]) left_s += Left(step, now_s);
  return left_s;
}

double Eta::Node(size_t node, double now_s) const {
  const double at_once = static_cast<double>(std::max<size_t>(running_[node].size(), 1));
  double longest_s = 0;
  for (const auto& [step, running] : running_[node]) {
    longest_s = std::max(longest_s, Left(step, now_s));
  }
  return std::max(longest_s, NodeLeft(node, now_s) / at_once);
}

double Eta::Total(double now_s) const {
  double work_s = 0;
  std::vector<double> correction(plan_.nodes.size());
  for (size_t node = 0; node < plan_.nodes.size(); ++node) {
    work_s += NodeLeft(node, now_s);
    correction[node] = Correction(node);
  }
  std::vector<double> until(plan_.steps.size(), 0);
  double chain_s = 0;
  for (const StepId id : plan_.order) {
    if (done_[id]) continue;
    for (const StepId input : plan_.predecessors(id)) until[id] = std::max(until[id], until[input]);
    const size_t node = plan_.steps[id].node;
    until[id] += running_[node].contains(id) ? Left(id, now_s)
                                             : forecast_.steps[id].expected_s * correction[node];
    chain_s = std::max(chain_s, until[id]);
  }
  return std::max(chain_s, work_s / lanes_);
}

}  // namespace puzzle
