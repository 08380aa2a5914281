// What decides the result of a step, as text, and its fingerprint. README.md states the recipe;
// whoever changes it raises kKeyFormat, which makes every store start afresh. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/plan/plan.h"

namespace puzzle {

inline constexpr int kKeyFormat = 1;

/// Content digests of the artifacts at each port of a step, in the order of its kind's ports.
/// Sorted and without duplicates: a list port receives a set.
using PortDigests = std::vector<std::vector<std::string_view>>;

/// Canonical JSON of everything that decides the result of `step`.
[[nodiscard]] std::string RecipeText(const Plan& plan, StepId step, const PortDigests& digests);

/// What a step asks for whatever its inputs are.
[[nodiscard]] Resources AskedFor(const NodeKind& kind, const Step& step);
/// The facts about machine and build that enter the key of `step`: for kinds that measure those of
/// the plan, and with --strict-environment for all that compute on a device what decides their
/// bits.
[[nodiscard]] std::map<std::string, std::string> KeyedEnvironment(const Plan& plan, StepId step);

/// The key of a recipe: SHA-256, 64 hex digits.
[[nodiscard]] std::string KeyOf(const std::string& recipe);

/// The seed of a step: decided by kind and keyed parameters, so that equal steps in different
/// graphs draw the same numbers.
[[nodiscard]] uint64_t SeedOf(const Plan& plan, StepId step);

}  // namespace puzzle
