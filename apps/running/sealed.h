// `puzzle run` with nothing to do, the second time: the answer from a seal (graph/store/seal.h)
// instead of a plan. Only for plain commands, which ask for nothing but results: one that selects
// steps, writes files, watches or works for somebody else plans always.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "apps/frame/load.h"
#include "apps/running/run.h"
#include "graph/run/report.h"

namespace puzzle {

/// What a run with nothing to do prints.
struct HitsAnswer {
  std::string display;
  RunTotals totals;
};

/// The answer, if an equal command found nothing to do before and nothing changed since; nothing
/// means: plan.
[[nodiscard]] std::optional<HitsAnswer> AnswerFromSeal(const RunOptions& options,
                                                       const Hooks& hooks, Store& store);

/// Leaves a seal for a run that had nothing to do. `begin_ns`: FileClock_ns before its plan was
/// made; `read`: see LoadPlan. Never fails.
void SealAnswer(const RunOptions& options, const Hooks& hooks, const Prepared& prepared,
                const std::vector<ReadPath>& read, const HitsAnswer& answer, int64_t begin_ns,
                const Store& store);

}  // namespace puzzle
