// What is left of a multiple-choice problem when everything that cannot matter is taken away:
// limits that no choice can break, options that no choice can hold, dominated options. Scores and
// costs are shifted and scaled so that the cheapest option of every group is 0 and the largest is
// 1, whatever the unit. A value; the functions are thread-safe.
#pragma once

#include <cstddef>
#include <vector>

#include "nodes/solver/mip.h"

namespace puzzle {

struct MipCore {
  /// A limit that still matters; a side that cannot be broken is infinite.
  struct Row {
    size_t limit = 0;  // of the problem
    double low = 0;
    double high = 0;
    double unit = 1;  // a cost of 1 here is this much there
  };

  std::vector<Row> rows;
  std::vector<int> first;  // columns of group g are [first[g], first[g + 1])
  std::vector<int> option;
  std::vector<double> score;  // per column
  std::vector<double> cost;   // [column][row]
  double score_unit = 1;
  double score_offset = 0;  // score of the problem = score here * unit + offset
  bool feasible = true;     // false: some limit or group is out of reach, the rest is not filled in

  [[nodiscard]] size_t groups() const { return first.size() - 1; }
  [[nodiscard]] size_t n_rows() const { return rows.size(); }
  [[nodiscard]] const double* costs(int column) const {
    return cost.data() + static_cast<size_t>(column) * rows.size();
  }
  [[nodiscard]] double ToProblem(double scaled) const { return scaled * score_unit + score_offset; }
};

/// REQUIRES: what CheckMipProblem demands.
[[nodiscard]] MipCore MakeMipCore(const MipProblem& problem);

/// Options of the problem for one column per group.
[[nodiscard]] std::vector<int> ChoiceOfColumns(const MipCore& core,
                                               const std::vector<int>& columns);

}  // namespace puzzle
