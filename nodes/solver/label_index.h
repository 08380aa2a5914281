// Labels of one level in order of one row's totals, to find those that fit beside others. Immutable
// once made, hence shared by threads.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "nodes/solver/label_dominance.h"
#include "nodes/solver/label_problem.h"

namespace puzzle {

class LabelIndex {
 public:
  /// `reach`: how much excess and slack a wanted choice has at most; the row whose totals this
  /// confines most sorts the labels.
  LabelIndex(const Labels& labels, const std::vector<uint32_t>& ids,
             const std::vector<LabelRow>& rows, double reach);

  /// Places [first, second) of all labels that may fit beside `totals` when `room` is left for
  /// excess and slack.
  [[nodiscard]] std::pair<size_t, size_t> Fitting(const double* totals, double room) const;

  [[nodiscard]] uint32_t id(size_t place) const { return ids_[place]; }
  [[nodiscard]] double score(size_t place) const { return scores_[place]; }
  [[nodiscard]] const double* totals(size_t place) const {
    return totals_.data() + place * rows_.size();
  }

 private:
  struct Window {
    double low, high;
  };
  // What a label may add to a row when `total` is there already.
  [[nodiscard]] Window WindowOf(size_t row, double total, double room) const;
  [[nodiscard]] size_t BucketOf(double total) const;
  void ChooseRow(const Labels& labels, const std::vector<uint32_t>& ids, double reach);
  void Sort(const Labels& labels, const std::vector<uint32_t>& ids);

  const std::vector<LabelRow>& rows_;
  std::optional<size_t> row_;  // nothing: no row tells labels apart
  double least_ = 0;           // of the totals in that row
  double most_ = 0;
  std::vector<size_t> first_;  // per bucket of totals, and the end: its first place
  std::vector<uint32_t> ids_;  // by place
  std::vector<double> scores_;
  std::vector<double> totals_;  // [place][row]
};

}  // namespace puzzle
