// Choices that a MIP solution has to beat, under the same limits. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nodes/solver/mip.h"

namespace puzzle {

/// The best choice that treats all layers alike: groups that offer the same list of option names
/// (all attentions, all FFNs) take the option of the same name. Nothing when no such choice is
/// within the limits. Throws like SolveMip.
[[nodiscard]] std::optional<std::vector<int>> BestUniform(const MipProblem& problem);

/// The best choice that keeps the parent's own option (the first of a group) or takes the cheapest
/// one: with blocks that can be dropped this is depth pruning. Cheapest is the least sum of costs,
/// each relative to its largest difference.
[[nodiscard]] std::optional<std::vector<int>> BestDepth(const MipProblem& problem);

/// The parent's own options, but the cheapest ones in the last groups, in as few as the limits
/// demand: with blocks that can be dropped the last layers go. Scores unseen. Nothing when that is
/// not enough anywhere.
[[nodiscard]] std::optional<std::vector<int>> LastDropped(const MipProblem& problem);

/// The choice with the largest sum of `sizes` (per group and option), scores unseen.
[[nodiscard]] std::optional<std::vector<int>> LargestChoice(
    const MipProblem& problem, const std::vector<std::vector<double>>& sizes);

/// A random choice that does not give its budget away: within the limits, and using at least
/// `near` of the first limit that has a finite `high`. Options are drawn uniformly and
/// independently and the whole choice is rejected until it fits; where that is hopeless (many
/// layers concentrate far from the budget), a random walk from such a draw repairs it, one random
/// group at a time, and where `near` cannot be reached the fullest choice met on the way is
/// taken. Equal seeds give equal choices. Nothing when no choice is within the limits.
[[nodiscard]] std::optional<std::vector<int>> RandomChoice(const MipProblem& problem, uint64_t seed,
                                                           double near = 0.95);

}  // namespace puzzle
