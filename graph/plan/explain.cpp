#include "graph/plan/explain.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMaxChain = 1000;  // records that go round in a circle would be a bug

/// An input that had another result before: what it was and what it is.
struct ChangedInput {
  Record before, after;
};

json Member(const Record& record, const char* name) {
  return RecordJson(record).value(name, json::object());
}

/// Looks for the input at `port` whose result is not what it was. `now` tells the key of an input
/// by its step's name.
template <class KeyNow>
std::optional<ChangedInput> FindChangedInput(const Record& before, const std::string& port,
                                             Store& store, const KeyNow& key_now) {
  const json names = Member(before, "inputs").value(port, json::array());
  const json keys = Member(before, "parents").value(port, json::array());
  for (size_t i = 0; i < names.size() && i < keys.size(); ++i) {
    const std::optional<std::string> now = key_now(names[i].get<std::string>());
    if (!now || *now == keys[i]) continue;
    auto old_record = store.FindRecord(keys[i].get<std::string>());
    auto new_record = store.FindRecord(*now);
    if (old_record && new_record && old_record->digest != new_record->digest) {
      return ChangedInput{std::move(*old_record), std::move(*new_record)};
    }
  }
  return std::nullopt;
}

/// Names the steps or the path behind a change, by the record of the newer result.
void NameSubject(const Record& after, Change& change) {
  if (change.what == Change::What::kContent) {
    change.subject = Member(after, "paths").value(change.name, "");
  } else if (change.what == Change::What::kInput) {
    const json names = Member(after, "inputs").value(change.name, json::array());
    if (names.size() == 1) change.subject = names.front().get<std::string>();
  }
}

/// The first input of a step that is not in the store yet.
std::optional<StepId> WaitsFor(const Plan& plan, const Forecast& forecast, StepId step) {
  for (const StepId input : plan.predecessors(step)) {
    if (forecast.steps[input].fate != Fate::kHit) return input;
  }
  return std::nullopt;
}

/// What the step made last under its name.
std::optional<Record> LastRecord(const Plan& plan, StepId step, Store& store) {
  const auto key = store.LastKey(plan.steps[step].name);
  return key ? store.FindRecord(*key) : std::nullopt;
}

/// The recipe of a step as far as it is known.
json KnownRecipe(const Plan& plan, const Forecast& forecast, StepId step) {
  if (!forecast.steps[step].key_closed) return OpenRecipe(plan, step);
  return json::parse(RecipeText(plan, step, CollectDigests(plan.steps[step], [&](StepId input) {
                                  return forecast.steps[input].record.digest;
                                })));
}

std::vector<Change> ChangesOf(const Plan& plan, const Forecast& forecast, StepId step,
                              const std::optional<Record>& last) {
  if (!last) return {};
  std::vector<Change> changes =
      AllChanges(Member(*last, "recipe"), KnownRecipe(plan, forecast, step));
  for (Change& change : changes) NameSubject(plan, step, change);
  return changes;
}

/// What is known about a step that will run, without the steps above it.
Cause CauseAt(const Plan& plan, const Forecast& forecast, StepId step,
              const std::vector<Change>& changes) {
  const StepForecast& state = forecast.steps[step];
  Cause cause{plan.steps[step].name, state.reason, std::nullopt};
  if (!changes.empty() && state.reason == changes.front().Text()) cause.change = changes.front();
  return cause;
}

/// Follows an input that changed to where its own change began.
void FollowInput(const Plan& plan, const Forecast& forecast, StepId step, const Record& last,
                 const std::string& port, Store& store, std::vector<Cause>& chain) {
  const auto key_now = [&](const std::string& name) -> std::optional<std::string> {
    for (const StepId input : plan.predecessors(step)) {
      if (plan.steps[input].name == name) return std::string(forecast.steps[input].record.key);
    }
    return std::nullopt;
  };
  if (const auto input = FindChangedInput(last, port, store, key_now)) {
    for (Cause& cause : ChainBetween(input->before, input->after, store)) {
      chain.push_back(std::move(cause));
    }
  }
}

std::string ExpectedText(const StepForecast& step, const std::optional<Record>& last) {
  return fmt::format("about {} ({})", DurationText(step.expected_s),
                     last ? "its last run" : "a guess: it has not run yet");
}

}  // namespace

std::string Cause::Text() const {
  if (!change) return fmt::format("{}: {}", step, reason);
  const std::string text = change->Text();
  const std::string component = change->Component() + ": ";
  if (!text.starts_with(component)) return fmt::format("{}: {}", step, text);
  if (change->what == Change::What::kContent) {
    return fmt::format("{} of {}: {}", change->Component(), step, text.substr(component.size()));
  }
  return fmt::format("{} of {} changed: {}", change->Component(), step,
                     text.substr(component.size()));
}

std::vector<Cause> ChainBetween(const Record& before, const Record& after, Store& store) {
  std::vector<Cause> chain;
  Record was = before, is = after;
  while (was.key != is.key && chain.size() < kMaxChain) {
    std::optional<Change> change = FirstChange(Member(was, "recipe"), Member(is, "recipe"));
    if (!change) break;
    NameSubject(is, *change);
    chain.push_back({std::string(is.step), change->Text(), *change});
    if (change->what != Change::What::kInput) break;
    const json names = Member(is, "inputs").value(change->name, json::array());
    const json keys = Member(is, "parents").value(change->name, json::array());
    auto input = FindChangedInput(was, change->name, store,
                                  [&](const std::string& name) -> std::optional<std::string> {
                                    for (size_t i = 0; i < names.size() && i < keys.size(); ++i) {
                                      if (names[i] == name) return keys[i].get<std::string>();
                                    }
                                    return std::nullopt;
                                  });
    if (!input) break;
    was = std::move(input->before);
    is = std::move(input->after);
  }
  return chain;
}

Explanation Explain(const Plan& plan, const Forecast& forecast, StepId step, Store& store) {
  Explanation result;
  result.step = step;
  const StepForecast& state = forecast.steps[step];
  if (state.fate == Fate::kHit) {
    result.last = state.record;
    return result;
  }
  result.last = LastRecord(plan, step, store);
  result.changes = ChangesOf(plan, forecast, step, result.last);
  StepId at = step;
  while (forecast.steps[at].fate == Fate::kWait) {
    const std::optional<StepId> input = WaitsFor(plan, forecast, at);
    PUZZLE_CHECK(input.has_value(), "a step waits for nothing");
    result.chain.push_back({plan.steps[at].name, forecast.steps[at].reason, std::nullopt});
    at = *input;
  }
  const auto last = at == step ? result.last : LastRecord(plan, at, store);
  const Cause cause = CauseAt(plan, forecast, at,
                              at == step ? result.changes : ChangesOf(plan, forecast, at, last));
  result.chain.push_back(cause);
  if (cause.change && cause.change->what == Change::What::kInput) {
    FollowInput(plan, forecast, at, *last, cause.change->name, store, result.chain);
  }
  return result;
}

std::vector<std::shared_ptr<const Cause>> Origins(const Plan& plan, const Forecast& forecast,
                                                  Store& store) {
  std::vector<std::shared_ptr<const Cause>> origins(plan.steps.size());
  for (const StepId id : plan.order) {
    const Fate fate = forecast.steps[id].fate;
    if (fate == Fate::kWait) {
      origins[id] = origins[*WaitsFor(plan, forecast, id)];
    } else if (fate == Fate::kRun) {
      origins[id] = std::make_shared<const Cause>(Explain(plan, forecast, id, store).chain.back());
    }
  }
  return origins;
}

std::string ExplanationText(const Plan& plan, const Forecast& forecast,
                            const Explanation& explanation) {
  const StepForecast& step = forecast.steps[explanation.step];
  std::string text = fmt::format("{:<4}  {}\n", FateName(step), plan.steps[explanation.step].name);
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("  {:<9}{}\n", name, value);
  };
  if (step.accepts) line("accepted", step.reason);
  for (size_t i = 0; i < explanation.chain.size(); ++i) {
    const Cause& cause = explanation.chain[i];
    line(i == 0 ? "reason" : "",
         i == 0 ? cause.reason : fmt::format("{}: {}", cause.step, cause.reason));
  }
  if (!explanation.chain.empty()) line("because", explanation.chain.back().Text());
  const bool more = explanation.changes.size() > 1;  // one alone is the reason
  for (size_t i = 0; more && i < explanation.changes.size(); ++i) {
    line(i == 0 ? "changed" : "", explanation.changes[i].Text());
  }
  line("key", step.key.empty() ? "not known before its inputs are made" : step.key);
  if (explanation.last) {
    const json record = RecordJson(*explanation.last);
    const bool hit = step.fate == Fate::kHit && !step.accepts;
    line(hit ? "made" : "last",
         fmt::format("{}{} in {} ({})",
                     hit ? "" : std::string(explanation.last->key.substr(0, 12)) + ", ",
                     record.value("finished", ""), DurationText(explanation.last->wall_s),
                     record.value("device", "")));
  }
  if (step.fate != Fate::kHit) line("expected", ExpectedText(step, explanation.last));
  return text;
}

ordered_json ChangeJson(const Change& change) {
  const auto value = [](const std::string& text) {
    return text.empty() ? ordered_json() : ordered_json::parse(text);
  };
  return {{"component", change.Component()},
          {"before", value(change.before)},
          {"after", value(change.after)},
          {"text", change.Text()}};
}

ordered_json CauseJson(const Cause& cause) {
  ordered_json entry = {{"step", cause.step}, {"reason", cause.reason}};
  if (cause.change) entry["change"] = ChangeJson(*cause.change);
  return entry;
}

ordered_json ExplanationJson(const Plan& plan, const Forecast& forecast,
                             const Explanation& explanation) {
  const StepForecast& step = forecast.steps[explanation.step];
  ordered_json entry = {{"step", plan.steps[explanation.step].name},
                        {"node", plan.node_name(explanation.step)},
                        {"kind", plan.kind(explanation.step).name},
                        {"fate", FateName(step)}};
  if (!step.reason.empty()) entry["reason"] = step.reason;
  if (!step.key.empty()) entry["key"] = step.key;
  for (const Cause& cause : explanation.chain) entry["chain"].push_back(CauseJson(cause));
  for (const Change& change : explanation.changes) entry["changes"].push_back(ChangeJson(change));
  if (explanation.last) {
    entry["last"] = {{"key", explanation.last->key},
                     {"finished", RecordJson(*explanation.last).value("finished", "")},
                     {"wall_s", explanation.last->wall_s}};
  }
  if (step.fate != Fate::kHit) {
    entry["expected_s"] = step.expected_s;
    entry["expected_from"] = explanation.last ? "last run" : "guess";
  }
  return entry;
}

}  // namespace puzzle
