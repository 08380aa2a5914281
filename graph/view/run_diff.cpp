#include "graph/view/run_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "graph/kind/params.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr double kShownSeconds = 0.1;  // shorter times are noise

/// Whether there is a result; where it came from does not matter.
std::string_view Matters(const RunStep& step) {
  return step.key.empty() ? std::string_view(step.outcome) : "ok";
}

json MemberOf(const std::optional<Record>& record, const char* member) {
  return record ? RecordJson(*record).value(member, json::object()) : json::object();
}

std::vector<StepDifference::Scalar> DifferencesIn(const char* member,
                                                  const std::optional<Record>& before,
                                                  const std::optional<Record>& after) {
  const json was = MemberOf(before, member), is = MemberOf(after, member);
  const auto text = [](const json& object, const std::string& name) {
    const auto it = object.find(name);
    return it == object.end() ? std::string() : CanonicalText(*it);
  };
  std::vector<StepDifference::Scalar> differences;
  for (const auto& [name, value] : is.items()) {
    if (!was.contains(name) || was[name] != value) {
      differences.push_back({name, text(was, name), CanonicalText(value)});
    }
  }
  for (const auto& [name, value] : was.items()) {
    if (!is.contains(name)) differences.push_back({name, CanonicalText(value), ""});
  }
  return differences;
}

StepDifference Compare(const RunStep& before, const RunStep& after, Store& store) {
  StepDifference difference;
  difference.what = before.key != after.key && !before.key.empty() && !after.key.empty()
                        ? StepDifference::What::kChanged
                        : StepDifference::What::kOutcome;
  difference.step = after.step;
  difference.before = before.outcome;
  difference.after = after.outcome;
  difference.seconds_before = before.wall_s;
  difference.seconds_after = after.wall_s;
  if (difference.what == StepDifference::What::kChanged) {
    const auto was = store.FindRecord(before.key), is = store.FindRecord(after.key);
    if (was && is) {
      difference.chain = ChainBetween(*was, *is, store);
      difference.scalars = DifferencesIn("scalars", was, is);
      difference.environment = DifferencesIn("environment", was, is);
    }
  }
  return difference;
}

std::string_view WhatName(StepDifference::What what) {
  switch (what) {
    case StepDifference::What::kNew:
      return "new";
    case StepDifference::What::kGone:
      return "gone";
    case StepDifference::What::kChanged:
      return "changed";
    case StepDifference::What::kOutcome:
      return "outcome";
  }
  return {};
}

std::string ScalarText(const std::string& scalar) {
  if (scalar.empty()) return "(none)";
  return scalar.size() > 60 ? scalar.substr(0, 57) + "..." : scalar;
}

std::string StepText(const StepDifference& difference) {
  std::string text = fmt::format("{:<8} {}", WhatName(difference.what), difference.step);
  if (difference.what == StepDifference::What::kOutcome) {
    text += fmt::format("  {} -> {}", difference.before, difference.after);
  } else if (difference.what == StepDifference::What::kChanged) {
    text += "  " + (difference.chain.empty() ? "another key; its records are gone"
                                             : difference.chain.front().reason);
    if (difference.chain.size() > 1) {
      text += "  (because " + difference.chain.back().Text() + ")";
    }
  }
  text += '\n';
  for (const auto& fact : difference.environment) {
    text += fmt::format("           computed by {}: {} -> {}\n", fact.name, ScalarText(fact.before),
                        ScalarText(fact.after));
  }
  for (const auto& scalar : difference.scalars) {
    text += fmt::format("           {}: {} -> {}\n", scalar.name, ScalarText(scalar.before),
                        ScalarText(scalar.after));
  }
  if (std::min(difference.seconds_before, difference.seconds_after) > 0 &&
      std::max(difference.seconds_before, difference.seconds_after) >= kShownSeconds) {
    text += fmt::format("           took {} -> {}\n", DurationText(difference.seconds_before),
                        DurationText(difference.seconds_after));
  }
  return text;
}

ordered_json StepJson(const StepDifference& difference) {
  ordered_json entry = {{"step", difference.step},
                        {"what", WhatName(difference.what)},
                        {"outcome_before", difference.before},
                        {"outcome_after", difference.after},
                        {"wall_s_before", difference.seconds_before},
                        {"wall_s_after", difference.seconds_after}};
  for (const Cause& cause : difference.chain) entry["chain"].push_back(CauseJson(cause));
  const auto value = [](const std::string& text) {
    return text.empty() ? ordered_json() : ordered_json::parse(text);
  };
  for (const auto& scalar : difference.scalars) {
    entry["scalars"][scalar.name] = {value(scalar.before), value(scalar.after)};
  }
  for (const auto& fact : difference.environment) {
    entry["environment"][fact.name] = {value(fact.before), value(fact.after)};
  }
  return entry;
}

}  // namespace

RunDifference DiffRuns(RunLog before, RunLog after, Store& store) {
  RunDifference result;
  std::unordered_map<std::string, const RunStep*> was;
  for (const RunStep& step : before.steps) was.emplace(step.step, &step);
  for (const RunStep& step : after.steps) {
    const auto it = was.find(step.step);
    if (it == was.end()) {
      result.steps.push_back(
          {StepDifference::What::kNew, step.step, "", step.outcome, {}, {}, {}, 0, step.wall_s});
      continue;
    }
    const RunStep& other = *it->second;
    if (other.key == step.key && Matters(other) == Matters(step)) {
      ++result.same;
    } else {
      result.steps.push_back(Compare(other, step, store));
    }
    was.erase(it);
  }
  for (const RunStep& step : before.steps) {
    if (!was.contains(step.step)) continue;
    result.steps.push_back(
        {StepDifference::What::kGone, step.step, step.outcome, "", {}, {}, {}, step.wall_s, 0});
  }
  result.before = std::move(before);
  result.after = std::move(after);
  return result;
}

std::string DifferenceText(const RunDifference& difference) {
  const auto run = [](std::string_view name, const RunLog& log) {
    return fmt::format("{:<7} {}  {}  {}\n", name, log.id, DurationText(log.wall_s), log.command);
  };
  std::string text = run("before", difference.before) + run("after", difference.after);
  std::map<std::string_view, size_t> counts;
  for (const StepDifference& step : difference.steps) {
    text += StepText(step);
    ++counts[WhatName(step.what)];
  }
  text += fmt::format("{} steps the same", difference.same);
  for (const auto& [what, n] : counts) text += fmt::format(", {} {}", n, what);
  return text + '\n';
}

std::string DifferenceJson(const RunDifference& difference) {
  const auto run = [](const RunLog& log) {
    return ordered_json{{"id", log.id}, {"command", log.command}, {"wall_s", log.wall_s}};
  };
  ordered_json document = {{"before", run(difference.before)},
                           {"after", run(difference.after)},
                           {"same", difference.same},
                           {"steps", ordered_json::array()}};
  for (const StepDifference& step : difference.steps) document["steps"].push_back(StepJson(step));
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace puzzle
