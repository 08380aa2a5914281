#include "nodes/solver/mip_core.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nodes/solver/mip_limits.h"

namespace puzzle {
namespace {

constexpr int kMaxPasses = 8;

// Least and most of one cost over some options of a group.
struct Range {
  double least = kInfinity;
  double most = -kInfinity;

  void Add(double value) {
    least = std::min(least, value);
    most = std::max(most, value);
  }
};

// Takes limits and options away until nothing changes.
class Reduction {
 public:
  explicit Reduction(const MipProblem& problem) : problem_(problem), limits_(problem.limits) {
    for (size_t r = 0; r < limits_.size(); ++r) {
      const double magnitude = ReachOf(problem, r).magnitude;
      limits_[r].low = Loosened(limits_[r].low, -1, magnitude);
      limits_[r].high = Loosened(limits_[r].high, 1, magnitude);
    }
    for (const auto& group : problem.groups) {
      alive_.emplace_back(group.size());
      std::iota(alive_.back().begin(), alive_.back().end(), 0);
    }
  }

  // False when no choice is within the limits for a simple reason.
  bool Run() {
    for (int pass = 0; pass < kMaxPasses; ++pass) {
      const size_t before = Size();
      for (size_t r = 0; r < limits_.size(); ++r) {
        if (!Tighten(r)) return false;
      }
      for (size_t g = 0; g < alive_.size(); ++g) {
        alive_[g] = UndominatedOptions(problem_.groups[g], alive_[g], limits_);
      }
      if (Size() == before) break;
    }
    return true;
  }

  [[nodiscard]] const std::vector<MipLimit>& limits() const { return limits_; }
  [[nodiscard]] const std::vector<int>& alive(size_t g) const { return alive_[g]; }

 private:
  [[nodiscard]] size_t Size() const {
    size_t size = 0;
    for (const auto& options : alive_) size += options.size();
    for (const MipLimit& limit : limits_) {
      size += (std::isfinite(limit.low) ? 1 : 0) + (std::isfinite(limit.high) ? 1 : 0);
    }
    return size;
  }

  // Forgets sides of limit `r` that nothing can break and options that always break it.
  bool Tighten(size_t r) {
    MipLimit& limit = limits_[r];
    if (!std::isfinite(limit.low) && !std::isfinite(limit.high)) return true;
    std::vector<Range> ranges(alive_.size());
    double least = limit.fixed, most = limit.fixed, magnitude = std::abs(limit.fixed);
    for (size_t g = 0; g < alive_.size(); ++g) {
      for (int o : alive_[g]) ranges[g].Add(problem_.groups[g][o].costs[r]);
      least += ranges[g].least;
      most += ranges[g].most;
      magnitude += std::max(std::abs(ranges[g].least), std::abs(ranges[g].most));
    }
    const double rounding = 1e-15 * magnitude;  // of these sums
    if (least > limit.high + rounding || most < limit.low - rounding) return false;
    if (most <= limit.high) limit.high = kInfinity;
    if (least >= limit.low) limit.low = -kInfinity;
    for (size_t g = 0; g < alive_.size(); ++g) {
      std::erase_if(alive_[g], [&](int o) {
        const double cost = problem_.groups[g][o].costs[r];
        return least - ranges[g].least + cost > limit.high + rounding ||
               most - ranges[g].most + cost < limit.low - rounding;
      });
      if (alive_[g].empty()) return false;
    }
    return true;
  }

  const MipProblem& problem_;
  std::vector<MipLimit> limits_;
  std::vector<std::vector<int>> alive_;
};

// Offset and unit of one number per column, applied to it: every group's least becomes 0, the
// largest of all 1.
struct Affine {
  double offset = 0;
  double unit = 1;
};

Affine Normalize(const std::vector<int>& first, double* values, size_t stride) {
  Affine affine;
  double largest = 0;
  for (size_t g = 0; g + 1 < first.size(); ++g) {
    double least = kInfinity;
    for (int c = first[g]; c < first[g + 1]; ++c) least = std::min(least, values[c * stride]);
    for (int c = first[g]; c < first[g + 1]; ++c) {
      values[c * stride] -= least;
      largest = std::max(largest, values[c * stride]);
    }
    affine.offset += least;
  }
  if (largest > 0) affine.unit = largest;
  for (int c = 0; c < first.back(); ++c) values[c * stride] /= affine.unit;
  return affine;
}

}  // namespace

MipCore MakeMipCore(const MipProblem& problem) {
  MipCore core;
  Reduction reduction(problem);
  core.first = {0};
  core.feasible = reduction.Run();
  if (!core.feasible) return core;
  for (size_t r = 0; r < problem.limits.size(); ++r) {
    const MipLimit& limit = reduction.limits()[r];
    if (std::isfinite(limit.low) || std::isfinite(limit.high)) {
      core.rows.push_back({r, limit.low - limit.fixed, limit.high - limit.fixed, 1});
    }
  }
  for (size_t g = 0; g < problem.groups.size(); ++g) {
    for (int o : reduction.alive(g)) {
      const MipOption& option = problem.groups[g][o];
      core.option.push_back(o);
      core.score.push_back(option.score);
      for (const MipCore::Row& row : core.rows) core.cost.push_back(option.costs[row.limit]);
    }
    core.first.push_back(static_cast<int>(core.option.size()));
  }
  const Affine scores = Normalize(core.first, core.score.data(), 1);
  core.score_unit = scores.unit;
  core.score_offset = scores.offset;
  for (size_t r = 0; r < core.rows.size(); ++r) {
    const Affine costs = Normalize(core.first, core.cost.data() + r, core.rows.size());
    MipCore::Row& row = core.rows[r];
    row.low = (row.low - costs.offset) / costs.unit;
    row.high = (row.high - costs.offset) / costs.unit;
    row.unit = costs.unit;
  }
  return core;
}

std::vector<int> ChoiceOfColumns(const MipCore& core, const std::vector<int>& columns) {
  std::vector<int> choice;
  for (int column : columns) choice.push_back(core.option[column]);
  return choice;
}

}  // namespace puzzle
