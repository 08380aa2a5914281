// Which steps of a plan the user means: patterns such as "bld[layer=3,variant=ffn:*]", and what
// follows from --until, --from, --only, --force and --accept. Values; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"

namespace puzzle {

/// The steps that a pattern names, ascending. A pattern is a node, or a node with conditions on
/// axes in any order; names and values may hold globs; a condition `*` asks for nothing:
///
///   bld   bld[layer=3,variant=ffn:50%]   bld[variant=attn:*]   base/*   bld[layer=3,*]
///
/// The name of a step means that step alone, even if a value in it holds `*`.
/// What is no pattern or matches nothing is a diagnostic of `source` ("--until bdl").
[[nodiscard]] std::vector<StepId> MatchSteps(const Plan& plan, std::string_view pattern,
                                             const std::string& source, Diagnostics& diagnostics);

/// What the flags say; each a list of patterns.
struct Selection {
  std::vector<std::string> until;   // only these and what they depend on
  std::vector<std::string> from;    // only these and what depends on them
  std::vector<std::string> only;    // only these
  std::vector<std::string> force;   // run these even if their results are there
  bool force_all = false;           // run everything selected
  std::vector<std::string> accept;  // keep the last results of these although recipes changed

  [[nodiscard]] bool empty() const;
};

/// What a selection leaves of a plan.
struct SelectedPlan {
  Plan plan;  // the selected steps and everything that they depend on
  StepOrders orders;
};

/// Applies a selection; several of until, from and only select what all of them do. An empty one
/// returns `plan` as it is and costs nothing.
[[nodiscard]] SelectedPlan Select(Plan plan, const Selection& selection, Diagnostics& diagnostics);

/// Steps outside the selection do not run: says which of them would have to. Of one that waits for
/// a selected step that is known when this step has run; then it fails.
void CheckOutside(const SelectedPlan& selected, const Forecast& forecast, Diagnostics& diagnostics);

}  // namespace puzzle
