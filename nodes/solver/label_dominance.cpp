#include "nodes/solver/label_dominance.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace puzzle {
namespace {

// The rows that matter: those with both sides in reach as integers, which only equal totals share,
// the others as coordinates of which less is better.
class Coordinates {
 public:
  Coordinates(const Labels& labels, const std::vector<RowSense>& senses,
              const std::vector<uint32_t>& ids) {
    for (size_t r = 0; r < labels.rows; ++r) {
      if (senses[r].above && senses[r].below) {
        exact_rows_.push_back(r);
      } else if (senses[r].above || senses[r].below) {
        axes_.push_back({r, senses[r].above ? 1.0 : -1.0});
        rounding_.push_back(senses[r].rounding);
      }
    }
    for (const uint32_t id : ids) {
      const double* totals = labels.totals_of(id);
      for (const Axis& axis : axes_) values_.push_back(axis.sign * totals[axis.row]);
      for (const size_t r : exact_rows_) {
        keys_.push_back(std::llround(totals[r] / (4 * senses[r].rounding)));
      }
    }
  }

  [[nodiscard]] size_t dimensions() const { return axes_.size(); }
  [[nodiscard]] double rounding(size_t dimension) const { return rounding_[dimension]; }
  [[nodiscard]] const double* of(size_t place) const {
    return values_.data() + place * axes_.size();
  }
  // Negative, zero or positive like the order of the exact rows' totals.
  [[nodiscard]] int CompareKeys(size_t a, size_t b) const {
    for (size_t k = 0; k < exact_rows_.size(); ++k) {
      const int64_t x = keys_[a * exact_rows_.size() + k], y = keys_[b * exact_rows_.size() + k];
      if (x != y) return x < y ? -1 : 1;
    }
    return 0;
  }

 private:
  struct Axis {
    size_t row;
    double sign;
  };
  std::vector<Axis> axes_;
  std::vector<double> rounding_;  // per axis
  std::vector<size_t> exact_rows_;
  std::vector<double> values_;  // [place][axis]
  std::vector<int64_t> keys_;   // [place][exact row]
};

// Labels arrive with rising scores; tells whether one that came before is no worse.
class Front {
 public:
  explicit Front(const Coordinates& coordinates) : c_(coordinates) {}

  bool AddUnlessBeaten(size_t place) {
    switch (c_.dimensions()) {
      case 0:
        return first_ ? !(first_ = false) : false;
      case 1:
        return AddToLine(place);
      case 2:
        return AddToStaircase(place);
      default:
        return AddToWindow(place);
    }
  }
  void Clear() {
    first_ = true;
    steps_.clear();
    window_.clear();
  }

 private:
  bool AddToLine(size_t place) {
    const double x = c_.of(place)[0];
    if (!first_ && least_ <= x + c_.rounding(0)) return false;
    first_ = false;
    least_ = x;
    return true;
  }

  // Keeps the corners of what is beaten: with rising first coordinate the second one falls.
  bool AddToStaircase(size_t place) {
    const double x = c_.of(place)[0], y = c_.of(place)[1];
    auto right = steps_.upper_bound(x + c_.rounding(0));
    if (right != steps_.begin() && std::prev(right)->second <= y + c_.rounding(1)) return false;
    auto at = steps_.lower_bound(x);
    while (at != steps_.end() && at->second >= y) at = steps_.erase(at);
    steps_.insert_or_assign(at, x, y);
    return true;
  }

  // Compares with the last few that stayed; exact dominance in many dimensions costs more than the
  // labels it saves.
  bool AddToWindow(size_t place) {
    constexpr size_t kWindow = 192;
    for (size_t k = window_.size(); k-- > 0;) {
      if (NoWorse(window_[k], place)) {
        std::swap(window_[k], window_.back());  // a good one stays within reach
        return false;
      }
    }
    if (window_.size() == kWindow) window_.erase(window_.begin(), window_.begin() + kWindow / 4);
    window_.push_back(place);
    return true;
  }

  [[nodiscard]] bool NoWorse(size_t a, size_t b) const {
    for (size_t d = 0; d < c_.dimensions(); ++d) {
      if (c_.of(a)[d] > c_.of(b)[d] + c_.rounding(d)) return false;
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

void Labels::Move(size_t from, size_t to) {
  excess[to] = excess[from];
  score[to] = score[from];
  parent[to] = parent[from];
  group[to] = group[from];
  column[to] = column[from];
  for (size_t r = 0; r < rows; ++r) totals[to * rows + r] = totals[from * rows + r];
}

void Labels::Resize(size_t size) {
  excess.resize(size);
  score.resize(size);
  parent.resize(size);
  group.resize(size);
  column.resize(size);
  totals.resize(size * rows);
}

void KeepUndominated(const Labels& labels, const std::vector<RowSense>& senses,
                     std::vector<uint32_t>& ids) {
  const Coordinates coordinates(labels, senses, ids);
  std::vector<uint32_t> order(ids.size());  // places in `ids`
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (const int keys = coordinates.CompareKeys(a, b); keys != 0) return keys < 0;
    const double score_a = labels.score[ids[a]], score_b = labels.score[ids[b]];
    if (score_a != score_b) return score_a < score_b;
    return std::lexicographical_compare(
        coordinates.of(a), coordinates.of(a) + coordinates.dimensions(), coordinates.of(b),
        coordinates.of(b) + coordinates.dimensions());
  });
  Front front(coordinates);
  std::vector<uint32_t> kept;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && coordinates.CompareKeys(order[i - 1], order[i]) != 0) front.Clear();
    if (front.AddUnlessBeaten(order[i])) kept.push_back(ids[order[i]]);
  }
  ids = std::move(kept);
}

}  // namespace puzzle
