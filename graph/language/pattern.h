// Names of steps as people write them, with globs: "bld[layer=3,variant=ffn:*]". Values;
// thread-safe.
#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace puzzle {

/// A pattern or a step's name taken apart; views into the text.
struct StepPattern {
  std::string_view node;
  std::vector<std::pair<std::string_view, std::string_view>> axes;
};

/// Splits "node[axis=value,...]", where "*" alone asks for nothing; nullopt when it has another
/// form.
[[nodiscard]] std::optional<StepPattern> SplitStepName(std::string_view text);

/// True when `text` holds a character that stands for others.
[[nodiscard]] bool HasGlob(std::string_view text);
/// True when `glob` matches all of `text`: '*' stands for any characters, '?' for one.
[[nodiscard]] bool MatchesGlob(std::string_view glob, std::string_view text);
/// True when every condition of the pattern holds for some axis of the step.
[[nodiscard]] bool AxesMatch(const StepPattern& pattern, const StepPattern& step);
/// True when a pattern names this step; nothing matches what is no pattern.
[[nodiscard]] bool MatchesStep(std::string_view pattern, std::string_view step);

}  // namespace puzzle
