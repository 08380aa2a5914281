// Labels, the partial choices of the label search, and the rule that thins them out. Values;
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace puzzle {

/// Partial choices relative to the base choice, as parallel arrays. A group that keeps its cheapest
/// option changes nothing, so a label stands for itself at every later group as well.
struct Labels {
  size_t rows = 0;
  std::vector<double> excess;
  std::vector<double> score;
  std::vector<double> totals;   // [label][row]
  std::vector<int32_t> parent;  // the label that it extends; -1: none
  std::vector<int32_t> group;   // by this column of this group
  std::vector<int32_t> column;

  [[nodiscard]] size_t size() const { return score.size(); }
  [[nodiscard]] const double* totals_of(size_t label) const { return totals.data() + label * rows; }
  /// Moves label `from` to a smaller place, or to its own.
  void Move(size_t from, size_t to);
  void Resize(size_t size);
};

/// Which side of a row's limits a label may still break: smaller totals are better, or larger
/// ones, or neither (both sides are in reach), or it does not matter.
struct RowSense {
  bool above = true;
  bool below = false;
  double rounding = 0;  // totals this close count as equal
};

/// Drops from `ids` the labels that another one of them makes superfluous: it scores no worse and
/// its totals are no worse in any row. With more than two rows that matter on one side a few
/// superfluous labels may stay.
void KeepUndominated(const Labels& labels, const std::vector<RowSense>& senses,
                     std::vector<uint32_t>& ids);

}  // namespace puzzle
