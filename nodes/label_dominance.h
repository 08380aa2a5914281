// Labels of one level of the label search, and the rule that thins them out. Values; thread-safe.
#pragma once

#include <cstddef>
#include <vector>

namespace puzzle {

/// Partial choices as parallel arrays.
struct LabelLevel {
  std::vector<double> score;
  std::vector<double> totals;  // [label][row]
  std::vector<int> parent;     // label of the level before
  std::vector<int> column;     // what was added to it

  [[nodiscard]] size_t size() const { return score.size(); }
  void Add(double label_score, const std::vector<double>& label_totals, int label_parent,
           int label_column);
};

/// Which side of a row's limits a label may still break: smaller totals are better, or larger
/// ones, or neither (both sides are in reach), or it does not matter.
struct RowSense {
  bool above = true;
  bool below = false;
  double rounding = 0;  // totals this close count as equal
};

/// Drops labels that another one makes superfluous: it scores no worse and its totals are no worse
/// in any row. With more than two rows that matter a few superfluous labels may stay.
void KeepUndominated(LabelLevel& labels, size_t rows, const std::vector<RowSense>& senses);

}  // namespace puzzle
