// One of the two halves of the label search: partial choices over the first groups of an order,
// grown one group at a time. An object belongs to one thread.
#pragma once

#include <limits>
#include <vector>

#include "nodes/label_dominance.h"
#include "nodes/mip_clock.h"
#include "nodes/suffix_bounds.h"

namespace puzzle {

/// What both halves of a search know.
struct LabelIncumbent {
  double threshold = 0;  // choices above are of no interest; falls to `score`
  double score = std::numeric_limits<double>::infinity();
  std::vector<int> columns;  // per group; empty: none yet

  void Offer(double better_score, std::vector<int> better_columns) {
    if (better_score >= score) return;
    score = better_score;
    columns = std::move(better_columns);
    threshold = std::min(threshold, score);
  }
};

class LabelHalf {
 public:
  /// Columns of every group of `order` are sorted by their priced scores. `tolerance` is by how
  /// much bounds may be off. REQUIRES: the arguments outlive the object.
  LabelHalf(const MipCore& core, const LagrangeBound& lagrange, const GroupOrder& order,
            double tolerance, LabelIncumbent& incumbent);

  /// Decides the next group. False when more than `max_labels` would stay or `clock` ends it.
  [[nodiscard]] bool Expand(size_t max_labels, const MipClock& clock);

  /// Groups decided so far, and the labels over them.
  [[nodiscard]] size_t level() const { return levels_.size() - 1; }
  [[nodiscard]] const LabelLevel& labels() const { return levels_.back(); }
  /// Labels of all levels.
  [[nodiscard]] size_t size() const { return size_; }
  /// Enters the columns that lead to a label, by group.
  void Fill(size_t label, std::vector<int>& columns) const;

 private:
  // Drops labels that others beat; where that removed next to nothing it is tried again only every
  // few levels, since it has to sort.
  void Thin(LabelLevel& labels);
  [[nodiscard]] std::vector<RowSense> Senses(const LabelLevel& labels) const;
  void TryCheapestRest(const LabelLevel& labels);

  const MipCore& core_;
  const LagrangeBound& lagrange_;
  const GroupOrder& order_;
  double tolerance_;
  LabelIncumbent& incumbent_;
  SuffixBounds bounds_;
  std::vector<LabelLevel> levels_;
  size_t size_ = 1;
  bool thinning_pays_ = true;
};

}  // namespace puzzle
