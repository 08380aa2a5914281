// One of the two halves of the label search: partial choices over the groups from one end of the
// order, grown one group at a time. An object belongs to one thread.
#pragma once

#include <vector>

#include "nodes/solver/label_dominance.h"
#include "nodes/solver/label_problem.h"
#include "nodes/solver/mip_clock.h"
#include "nodes/solver/suffix_bounds.h"

namespace puzzle {

class LabelHalf {
 public:
  /// Decides the groups from the first on, or from the last. REQUIRES: `problem` outlives the
  /// object.
  LabelHalf(const LabelProblem& problem, bool from_first);

  /// Decides the next group. Labels with an excess above `most`, and those that lead to nothing
  /// within `distance` of the bound, go. False when there would be more than `max_labels` or
  /// `clock` ends it. REQUIRES: `most` is no higher than the last time.
  [[nodiscard]] bool Expand(double most, double distance, size_t max_labels, const MipClock& clock);

  /// All labels ever made, and those over the groups decided so far.
  [[nodiscard]] const Labels& labels() const { return labels_; }
  [[nodiscard]] const std::vector<uint32_t>& current() const { return current_; }
  /// Enters the columns by which a label differs from the base choice.
  void Fill(size_t label, std::vector<int>& columns) const;

 private:
  [[nodiscard]] const LabelGroup& Next() const;
  // Adds `option` to the labels `from`; false when `clock` ended it.
  bool Extend(const std::vector<uint32_t>& from, size_t group, const LabelOption& option,
              double most, double distance, const MipClock& clock);
  // Drops labels of `ids` that others of them beat, and forgets those of them behind `first_new`.
  void Thin(std::vector<uint32_t>& ids, size_t first_new);
  void ThinWherePays(size_t first_new);
  [[nodiscard]] std::vector<RowSense> Senses(const std::vector<uint32_t>& ids) const;

  const LabelProblem& problem_;
  bool from_first_;
  SuffixBounds bounds_;
  size_t level_ = 0;  // groups decided so far
  Labels labels_;
  std::vector<uint32_t> current_;
  size_t thin_from_ =
      0;  // level; where thinning removes next to nothing it is tried ever less often
  size_t thin_pause_ = 1;
};

}  // namespace puzzle
