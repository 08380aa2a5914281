#include "graph/language/pattern.h"

#include <algorithm>

namespace puzzle {

std::optional<StepPattern> SplitStepName(std::string_view text) {
  StepPattern parts;
  const size_t open = text.find('[');
  parts.node = text.substr(0, open);
  if (parts.node.empty()) return std::nullopt;
  if (open == std::string_view::npos) return parts;
  if (text.back() != ']') return std::nullopt;
  std::string_view rest = text.substr(open + 1, text.size() - open - 2);
  while (true) {
    const size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    if (item != "*") {
      const size_t equals = item.find('=');
      if (equals == 0 || equals == std::string_view::npos) return std::nullopt;
      parts.axes.emplace_back(item.substr(0, equals), item.substr(equals + 1));
    }
    if (comma == std::string_view::npos) return parts;
    rest.remove_prefix(comma + 1);
  }
}

bool HasGlob(std::string_view text) {
  return text.find_first_of("*?") != std::string_view::npos;
}

bool MatchesGlob(std::string_view glob, std::string_view text) {
  // Greedy with one point of return: a later '*' never needs an earlier one to move.
  size_t g = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', g) == std::string_view::npos;
}

bool AxesMatch(const StepPattern& pattern, const StepPattern& step) {
  return std::all_of(pattern.axes.begin(), pattern.axes.end(), [&](const auto& wanted) {
    return std::any_of(step.axes.begin(), step.axes.end(), [&](const auto& axis) {
      return MatchesGlob(wanted.first, axis.first) && MatchesGlob(wanted.second, axis.second);
    });
  });
}

bool MatchesStep(std::string_view pattern, std::string_view step) {
  const std::optional<StepPattern> wanted = SplitStepName(pattern), parts = SplitStepName(step);
  return wanted && parts && MatchesGlob(wanted->node, parts->node) && AxesMatch(*wanted, *parts);
}

}  // namespace puzzle
