#include "graph/plan/select.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "graph/language/pattern.h"

namespace puzzle {
namespace {

constexpr size_t kMaxHintSteps = 10'000;  // beyond that, looking for similar names takes long
constexpr size_t kMaxOutside = 10;

/// What to say when nothing matches: the node of that name in an included graph, else the nearest
/// node, axis or step.
std::string Hint(const Plan& plan, std::string_view text, const StepPattern& pattern) {
  std::vector<std::string> nodes, axes, steps;
  const std::string included = fmt::format("/{}", pattern.node);
  for (const PlanNode& node : plan.nodes) {
    if (node.name.ends_with(included)) return fmt::format("did you mean \"{}\"?", node.name);
    nodes.push_back(node.name);
    if (!MatchesGlob(pattern.node, node.name) || node.count == 0) continue;
    const std::optional<StepPattern> first = SplitStepName(plan.steps[node.first].name);
    for (const auto& [axis, unused] : first->axes) axes.emplace_back(axis);
    for (StepId id = node.first; id < node.first + node.count; ++id) {
      if (steps.size() < kMaxHintSteps) steps.push_back(plan.steps[id].name);
    }
  }
  if (steps.empty()) return HasGlob(pattern.node) ? "" : DidYouMean(pattern.node, nodes);
  for (const auto& [axis, unused] : pattern.axes) {
    if (!HasGlob(axis) && std::find(axes.begin(), axes.end(), axis) == axes.end()) {
      return DidYouMean(axis, axes);
    }
  }
  return DidYouMean(text, steps);
}

using StepSet = std::vector<bool>;

StepSet MatchAll(const Plan& plan, const std::vector<std::string>& patterns, const char* flag,
                 Diagnostics& diagnostics) {
  StepSet set(plan.steps.size(), false);
  for (const std::string& pattern : patterns) {
    const std::string source = fmt::format("{} {}", flag, pattern);
    for (const StepId id : MatchSteps(plan, pattern, source, diagnostics)) set[id] = true;
  }
  return set;
}

/// Like MatchAll, among `chosen`: a pattern that matches only others is a mistake.
StepSet MatchAmong(const Plan& plan, const std::vector<std::string>& patterns, const char* flag,
                   const StepSet& chosen, Diagnostics& diagnostics) {
  StepSet set(plan.steps.size(), false);
  for (const std::string& pattern : patterns) {
    const std::string source = fmt::format("{} {}", flag, pattern);
    const std::vector<StepId> matches = MatchSteps(plan, pattern, source, diagnostics);
    bool any = matches.empty();  // has been complained about
    for (const StepId id : matches) {
      set[id] = set[id] || chosen[id];
      any = any || chosen[id];
    }
    if (!any) {
      diagnostics.Add(
          {source, {}, {}, "matches no step selected by --until, --from and --only", {}});
    }
  }
  return set;
}

/// Adds whatever the steps in `set` depend on.
void AddAncestors(const Plan& plan, StepSet& set) {
  for (size_t i = plan.order.size(); i-- > 0;) {
    if (!set[plan.order[i]]) continue;
    for (const StepId input : plan.predecessors(plan.order[i])) set[input] = true;
  }
}

/// Adds whatever depends on the steps in `set`.
void AddDescendants(const Plan& plan, StepSet& set) {
  for (const StepId id : plan.order) {
    if (!set[id]) continue;
    for (const StepId next : plan.successors(id)) set[next] = true;
  }
}

void Intersect(StepSet& set, const StepSet& other) {
  for (size_t i = 0; i < set.size(); ++i) set[i] = set[i] && other[i];
}

/// The set without the steps that are not in `keep`, renumbered.
StepSet Renumbered(const StepSet& set, const StepSet& keep) {
  StepSet result;
  for (size_t i = 0; i < set.size(); ++i) {
    if (keep[i]) result.push_back(set[i]);
  }
  return result;
}

/// The steps in `keep`, which holds the inputs of all its steps, as a plan of their own.
Plan PartOf(Plan plan, const StepSet& keep) {
  Plan part;
  part.environments = std::move(plan.environments);
  part.numerics = std::move(plan.numerics);
  std::vector<StepId> number(plan.steps.size());
  for (PlanNode& node : plan.nodes) {
    PlanNode entry = node;
    entry.first = static_cast<StepId>(part.steps.size());
    entry.count = 0;
    for (StepId id = node.first; id < node.first + node.count; ++id) {
      if (!keep[id]) continue;
      number[id] = static_cast<StepId>(part.steps.size());
      part.steps.push_back(std::move(plan.steps[id]));
      part.steps.back().node = static_cast<uint32_t>(part.nodes.size());
      ++entry.count;
    }
    if (entry.count > 0) part.nodes.push_back(std::move(entry));
  }
  for (Step& step : part.steps) {
    for (auto& port : step.inputs) {
      for (StepId& input : port) input = number[input];
    }
  }
  part.Link();
  return part;
}

}  // namespace

std::vector<StepId> MatchSteps(const Plan& plan, std::string_view text, const std::string& source,
                               Diagnostics& diagnostics) {
  const std::optional<StepPattern> pattern = SplitStepName(text);
  if (!pattern) {
    diagnostics.Add(
        {source, {}, {}, "expected a node or NODE[axis=value,...]; both may hold * and ?", {}});
    return {};
  }
  std::vector<StepId> steps;
  for (const PlanNode& node : plan.nodes) {
    if (!MatchesGlob(pattern->node, node.name)) continue;
    for (StepId id = node.first; id < node.first + node.count; ++id) {
      if (plan.steps[id].name == text) return {id};  // its values may hold '*' and '?'
      if (pattern->axes.empty() || AxesMatch(*pattern, *SplitStepName(plan.steps[id].name))) {
        steps.push_back(id);
      }
    }
  }
  if (steps.empty())
    diagnostics.Add({source, {}, {}, "matches no step", Hint(plan, text, *pattern)});
  return steps;
}

bool Selection::empty() const {
  return until.empty() && from.empty() && only.empty() && force.empty() && !force_all &&
         accept.empty();
}

SelectedPlan Select(Plan plan, const Selection& selection, Diagnostics& diagnostics) {
  SelectedPlan selected;
  if (selection.empty()) {
    selected.plan = std::move(plan);
    return selected;
  }
  const size_t mistakes = diagnostics.size();
  StepSet chosen(plan.steps.size(), true);
  if (!selection.until.empty()) {
    StepSet until = MatchAll(plan, selection.until, "--until", diagnostics);
    AddAncestors(plan, until);
    Intersect(chosen, until);
  }
  if (!selection.from.empty()) {
    StepSet from = MatchAll(plan, selection.from, "--from", diagnostics);
    AddDescendants(plan, from);
    Intersect(chosen, from);
  }
  if (!selection.only.empty()) {
    Intersect(chosen, MatchAll(plan, selection.only, "--only", diagnostics));
  }
  if (diagnostics.size() == mistakes && !plan.steps.empty() &&
      std::find(chosen.begin(), chosen.end(), true) == chosen.end()) {
    diagnostics.Add({"--until, --from, --only", {}, {}, "together they select no step", {}});
  }
  StepSet forced = MatchAmong(plan, selection.force, "--force", chosen, diagnostics);
  const StepSet accepted = MatchAmong(plan, selection.accept, "--accept", chosen, diagnostics);
  if (selection.force_all) forced = chosen;
  StepSet keep = chosen;
  AddAncestors(plan, keep);
  StepSet outside = keep;
  for (size_t i = 0; i < keep.size(); ++i) outside[i] = keep[i] && !chosen[i];
  selected.orders = {Renumbered(forced, keep), Renumbered(accepted, keep),
                     Renumbered(outside, keep)};
  selected.plan = PartOf(std::move(plan), keep);
  return selected;
}

void CheckOutside(const SelectedPlan& selected, const Forecast& forecast,
                  Diagnostics& diagnostics) {
  size_t found = 0;
  for (StepId id = 0; id < forecast.steps.size(); ++id) {
    const StepForecast& step = forecast.steps[id];
    if (!step.outside || step.fate != Fate::kRun) continue;
    if (++found > kMaxOutside) break;
    diagnostics.Add(
        {selected.plan.steps[id].name,
         {},
         {},
         fmt::format("is needed and would have to run ({}), but is not selected", step.reason),
         {}});
  }
  if (found > kMaxOutside) diagnostics.Add({"...", {}, {}, "and others", {}});
}

}  // namespace puzzle
