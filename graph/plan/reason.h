// Why a step has to run, in words: two recipes compared component by component. Every text about a
// changed key is made here. Thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "graph/plan/plan.h"

namespace puzzle {

/// One component in which two recipes (key.h) differ.
struct Change {
  enum class What { kFormat, kKind, kVersion, kParam, kContent, kEnvironment, kInput };
  What what = What::kFormat;
  std::string name;    // of the parameter, port or fact; else empty
  std::string before;  // JSON; "" where it was absent
  std::string after;
  /// Whose content: the path of a kContent, the steps at the port of a kInput; may be empty.
  std::string subject;

  /// "params.lr", "inputs.parent", "environment.device", "kind", "version", "format".
  [[nodiscard]] std::string Component() const;
  /// "params.lr: 1e-4 -> 3e-4", "input parent changed (model)", "kind version 2 -> 3", ...
  [[nodiscard]] std::string Text() const;
};

/// What differs between two recipes, in order: format, kind, version, parameters, environment,
/// inputs. An `after` without "inputs" (its key is open) is compared without them.
[[nodiscard]] std::vector<Change> AllChanges(const nlohmann::json& before,
                                             const nlohmann::json& after);
/// The first of these.
[[nodiscard]] std::optional<Change> FirstChange(const nlohmann::json& before,
                                                const nlohmann::json& after);

/// The recipe of a step as far as it is known before its inputs are.
[[nodiscard]] nlohmann::json OpenRecipe(const Plan& plan, StepId step);
/// Fills in `subject` from the plan that `after` belongs to.
void NameSubject(const Plan& plan, StepId step, Change& change);

}  // namespace puzzle
