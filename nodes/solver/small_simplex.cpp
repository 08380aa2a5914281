#include "nodes/solver/small_simplex.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/error.h"

namespace puzzle {
namespace {

constexpr double kOptimality = 1e-13;  // relative to the terms of a reduced cost
constexpr double kPivot = 1e-11;

}  // namespace

void SmallSimplex::AddSlack(size_t row, double entry, double cost) {
  std::vector<double> entries(rows_, 0);
  entries[row] = entry;
  AddColumn(std::move(entries), cost);
}

void SmallSimplex::AddColumn(std::vector<double> entries, double cost) {
  columns_.push_back(std::move(entries));
  costs_.push_back(cost);
}

// Row 0 is met by the first column that has an entry there, every other row by the slack whose sign
// fits what that column leaves over.
void SmallSimplex::FirstBasis() {
  size_t lead = 0;
  while (lead < columns_.size() && columns_[lead][0] == 0) ++lead;
  PUZZLE_CHECK(lead < columns_.size(), "no column for row 0");
  const double amount = right_[0] / columns_[lead][0];
  basis_.assign(rows_, lead);
  for (size_t row = 1; row < rows_; ++row) {
    const double rest = right_[row] - amount * columns_[lead][row];
    for (size_t c = 0; c < columns_.size(); ++c) {
      const bool slack = columns_[c][0] == 0 && columns_[c][row] != 0;
      if (slack && columns_[c][row] * rest >= 0) {
        basis_[row] = c;
        break;
      }
    }
  }
}

// Inverts the basis by Gauss-Jordan elimination and derives values and duals from it. The basis has
// a handful of rows, so doing it anew for each pivot costs nothing and loses no precision.
void SmallSimplex::Factor() {
  const size_t n = rows_;
  std::vector<double> work(n * 2 * n, 0);
  const auto at = [&](size_t row, size_t column) -> double& { return work[row * 2 * n + column]; };
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) at(i, j) = columns_[basis_[j]][i];
    at(i, n + i) = 1;
  }
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    for (size_t i = k + 1; i < n; ++i) {
      if (std::abs(at(i, k)) > std::abs(at(pivot, k))) pivot = i;
    }
    for (size_t j = 0; j < 2 * n; ++j) std::swap(at(k, j), at(pivot, j));
    const double scale = at(k, k) == 0 ? 1 : 1 / at(k, k);
    for (size_t j = 0; j < 2 * n; ++j) at(k, j) *= scale;
    for (size_t i = 0; i < n; ++i) {
      const double factor = at(i, k);
      if (i == k || factor == 0) continue;
      for (size_t j = 0; j < 2 * n; ++j) at(i, j) -= factor * at(k, j);
    }
  }
  inverse_.assign(n * n, 0);
  x_.assign(n, 0);
  duals_.assign(n, 0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      inverse_[i * n + j] = at(i, n + j);
      x_[i] += at(i, n + j) * right_[j];
      duals_[j] += costs_[basis_[i]] * at(i, n + j);
    }
  }
}

double SmallSimplex::ReducedCost(size_t column) const {
  double cost = costs_[column], magnitude = std::abs(cost);
  for (size_t row = 0; row < rows_; ++row) {
    const double term = duals_[row] * columns_[column][row];
    cost -= term;
    magnitude += std::abs(term);
  }
  return std::abs(cost) <= kOptimality * magnitude ? 0 : cost;
}

bool SmallSimplex::Pivot(bool first_improving) {
  size_t entering = columns_.size();
  double least = 0;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const double cost = ReducedCost(c);
    if (cost >= least) continue;
    least = cost;
    entering = c;
    if (first_improving) break;
  }
  if (entering == columns_.size()) return false;
  size_t leaving = rows_;
  double step = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < rows_; ++i) {
    double change = 0;
    for (size_t j = 0; j < rows_; ++j) change += inverse_[i * rows_ + j] * columns_[entering][j];
    if (change <= kPivot) continue;
    const double ratio = std::max(0.0, x_[i]) / change;
    const bool tie = leaving < rows_ && ratio == step;
    if (ratio < step || (tie && basis_[i] < basis_[leaving])) {
      step = ratio;
      leaving = i;
    }
  }
  if (leaving == rows_) return false;  // rounding: the programs we are given are bounded
  basis_[leaving] = entering;
  Factor();
  return true;
}

double SmallSimplex::Minimize() {
  constexpr int kPivots = 200;         // by steepest descent, which may cycle
  constexpr int kCarefulPivots = 400;  // by Bland's rule, which may not
  if (basis_.empty()) FirstBasis();
  Factor();
  for (int i = 0; i < kPivots + kCarefulPivots; ++i) {
    if (!Pivot(/*first_improving=*/i >= kPivots)) break;
  }
  double cost = 0;
  for (size_t i = 0; i < rows_; ++i) cost += costs_[basis_[i]] * x_[i];
  return cost;
}

}  // namespace puzzle
