// Searches that learn from trying: an evolution and a policy gradient. They need no structure of
// the problem, which is why they are here: as the measure of what the structure is worth. Equal
// seeds give equal choices. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nodes/solver/mip.h"

namespace puzzle {

/// An elitist genetic algorithm: tournaments, uniform crossover, mutation, children repaired into
/// the limits. Nothing when no choice within the limits was met.
[[nodiscard]] std::optional<std::vector<int>> Evolve(const MipProblem& problem, uint64_t seed);

/// Reinforcement learning (REINFORCE): a softmax over the options of every group, moved towards the
/// draws that score better than the mean of their batch; draws are repaired into the limits before
/// they are scored. The best choice met is the answer.
[[nodiscard]] std::optional<std::vector<int>> LearnPolicy(const MipProblem& problem, uint64_t seed);

}  // namespace puzzle
