// The time line of a run as a picture. Thread-safe (a function of its arguments).
#pragma once

#include <string>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/view/timeline.h"

namespace puzzle {

/// One SVG element, complete in itself: a row per lane, a bar per step in the colour of its node
/// (hatched when tried in vain, framed red when failed), found results as marks, the steps of
/// `critical_path` framed and joined. Bars too narrow to be seen are drawn as one with their
/// neighbours, so that a hundred thousand steps are still a small picture.
[[nodiscard]] std::string TimelineSvg(const Plan& plan, const Timeline& timeline,
                                      const std::vector<StepId>& critical_path);

}  // namespace puzzle
