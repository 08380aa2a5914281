#include "nodes/label_dominance.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace puzzle {
namespace {

// The rows that matter as coordinates of which less is better; a row with both sides in reach
// gives two.
struct Coordinates {
  size_t dimensions = 0;
  std::vector<double> values;  // [label][dimension]
  std::vector<double> rounding;

  [[nodiscard]] const double* of(size_t label) const { return values.data() + label * dimensions; }
};

Coordinates CoordinatesOf(const LabelLevel& labels, size_t rows,
                          const std::vector<RowSense>& senses) {
  struct Axis {
    size_t row;
    double sign;
  };
  std::vector<Axis> axes;
  Coordinates result;
  for (size_t r = 0; r < rows; ++r) {
    if (senses[r].above) axes.push_back({r, 1});
    if (senses[r].below) axes.push_back({r, -1});
    result.rounding.resize(axes.size(), senses[r].rounding);
  }
  result.dimensions = axes.size();
  result.values.reserve(labels.size() * axes.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    for (const Axis& axis : axes)
      result.values.push_back(axis.sign * labels.totals[i * rows + axis.row]);
  }
  return result;
}

// Labels arrive with rising scores; tells whether one that came before is no worse.
class Front {
 public:
  explicit Front(const Coordinates& coordinates) : c_(coordinates) {}

  bool AddUnlessBeaten(size_t label) {
    switch (c_.dimensions) {
      case 0:
        return first_ ? !(first_ = false) : false;
      case 1:
        return AddToLine(label);
      case 2:
        return AddToStaircase(label);
      default:
        return AddToWindow(label);
    }
  }

 private:
  bool AddToLine(size_t label) {
    const double x = c_.of(label)[0];
    if (!first_ && least_ <= x + c_.rounding[0]) return false;
    first_ = false;
    least_ = x;
    return true;
  }

  // Keeps the corners of what is beaten: with rising first coordinate the second one falls.
  bool AddToStaircase(size_t label) {
    const double x = c_.of(label)[0], y = c_.of(label)[1];
    auto right = steps_.upper_bound(x + c_.rounding[0]);
    if (right != steps_.begin() && std::prev(right)->second <= y + c_.rounding[1]) return false;
    auto at = steps_.lower_bound(x);
    while (at != steps_.end() && at->second >= y) at = steps_.erase(at);
    steps_.insert_or_assign(at, x, y);
    return true;
  }

  // Compares with the last few that stayed; exact dominance in many dimensions costs more than the
  // labels it saves.
  bool AddToWindow(size_t label) {
    constexpr size_t kWindow = 192;
    for (size_t k = window_.size(); k-- > 0;) {
      if (NoWorse(window_[k], label)) {
        std::swap(window_[k], window_.back());  // a good one stays within reach
        return false;
      }
    }
    if (window_.size() == kWindow) window_.erase(window_.begin(), window_.begin() + kWindow / 4);
    window_.push_back(label);
    return true;
  }

  [[nodiscard]] bool NoWorse(size_t a, size_t b) const {
    for (size_t d = 0; d < c_.dimensions; ++d) {
      if (c_.of(a)[d] > c_.of(b)[d] + c_.rounding[d]) return false;
    }
    return true;
  }

  const Coordinates& c_;
  bool first_ = true;
  double least_ = 0;
  std::map<double, double> steps_;
  std::vector<size_t> window_;
};

}  // namespace

void LabelLevel::Add(double label_score, const std::vector<double>& label_totals, int label_parent,
                     int label_column) {
  score.push_back(label_score);
  totals.insert(totals.end(), label_totals.begin(), label_totals.end());
  parent.push_back(label_parent);
  column.push_back(label_column);
}

void KeepUndominated(LabelLevel& labels, size_t rows, const std::vector<RowSense>& senses) {
  const Coordinates coordinates = CoordinatesOf(labels, rows, senses);
  std::vector<size_t> order(labels.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (labels.score[a] != labels.score[b]) return labels.score[a] < labels.score[b];
    return std::lexicographical_compare(
        coordinates.of(a), coordinates.of(a) + coordinates.dimensions, coordinates.of(b),
        coordinates.of(b) + coordinates.dimensions);
  });
  Front front(coordinates);
  LabelLevel kept;
  for (size_t i : order) {
    if (!front.AddUnlessBeaten(i)) continue;
    kept.score.push_back(labels.score[i]);
    for (size_t r = 0; r < rows; ++r) kept.totals.push_back(labels.totals[i * rows + r]);
    kept.parent.push_back(labels.parent[i]);
    kept.column.push_back(labels.column[i]);
  }
  labels = std::move(kept);
}

}  // namespace puzzle
