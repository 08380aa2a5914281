#include "nodes/solver/lagrange.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nodes/solver/small_simplex.h"

namespace puzzle {
namespace {

// One finite bound as `sign * total <= bound`.
struct Side {
  size_t row = 0;
  double sign = 1;
  double bound = 0;
};

std::vector<Side> SidesOf(const MipCore& core) {
  std::vector<Side> sides;
  for (size_t r = 0; r < core.n_rows(); ++r) {
    if (std::isfinite(core.rows[r].high)) sides.push_back({r, 1, core.rows[r].high});
    if (std::isfinite(core.rows[r].low)) sides.push_back({r, -1, -core.rows[r].low});
  }
  return sides;
}

// The groups' cheapest options at some prices.
struct Proposal {
  double score = 0;
  std::vector<double> totals;  // per row
  double penalized = 0;        // score + price * totals
};

Proposal Propose(const MipCore& core, const std::vector<double>& prices) {
  const size_t rows = core.n_rows();
  Proposal proposal;
  proposal.totals.assign(rows, 0);
  for (size_t g = 0; g < core.groups(); ++g) {
    double least = std::numeric_limits<double>::infinity();
    int best = core.first[g];
    for (int c = core.first[g]; c < core.first[g + 1]; ++c) {
      double value = core.score[c];
      for (size_t r = 0; r < rows; ++r) value += prices[r] * core.costs(c)[r];
      if (value < least) {
        least = value;
        best = c;
      }
    }
    proposal.penalized += least;
    proposal.score += core.score[best];
    for (size_t r = 0; r < rows; ++r) proposal.totals[r] += core.costs(best)[r];
  }
  return proposal;
}

// What the limits give back at some prices.
double Refund(const MipCore& core, const std::vector<double>& prices) {
  double refund = 0;
  for (size_t r = 0; r < core.n_rows(); ++r) {
    if (prices[r] > 0) refund += prices[r] * core.rows[r].high;
    if (prices[r] < 0) refund += prices[r] * core.rows[r].low;
  }
  return refund;
}

std::vector<double> Supported(const MipCore& core, std::vector<double> prices) {
  prices.resize(core.n_rows(), 0);
  for (size_t r = 0; r < core.n_rows(); ++r) {
    if (prices[r] > 0 && !std::isfinite(core.rows[r].high)) prices[r] = 0;
    if (prices[r] < 0 && !std::isfinite(core.rows[r].low)) prices[r] = 0;
  }
  return prices;
}

// Dantzig-Wolfe: the master program mixes proposals so that the limits hold, its duals are the next
// prices. Breaking a limit costs `ceiling` per unit, which keeps prices below it.
class ColumnGeneration {
 public:
  ColumnGeneration(const MipCore& core, double ceiling, const MipClock& clock)
      : core_(core), sides_(SidesOf(core)), clock_(clock), master_(sides_.size() + 1) {
    master_.SetRightHandSide(0, 1);
    for (size_t s = 0; s < sides_.size(); ++s) {
      master_.SetRightHandSide(s + 1, sides_[s].bound);
      master_.AddSlack(s + 1, 1, 0);
      master_.AddSlack(s + 1, -1, ceiling);
    }
  }

  LagrangeBound Run(const std::vector<double>& start) {
    constexpr int kMaxRounds = 2000;
    constexpr double kPrecision = 1e-12;
    LagrangeBound best{-std::numeric_limits<double>::infinity(), {}, false};
    std::vector<double> prices(core_.n_rows(), 0);
    Add(Propose(core_, prices));
    if (!start.empty()) prices = Supported(core_, start);
    for (int round = 0; round < kMaxRounds; ++round) {
      const Proposal proposal = Propose(core_, prices);
      const double bound = proposal.penalized - Refund(core_, prices);
      if (bound > best.bound) best = {bound, prices, false};
      Add(proposal);
      const double mixed = master_.Minimize();
      if (mixed - best.bound <= kPrecision * std::max(1.0, std::abs(mixed))) break;
      if ((round & 15) == 15 && clock_.Expired()) break;
      std::vector<double> next = Prices();
      if (next == prices) break;
      prices = std::move(next);
    }
    return best;
  }

 private:
  void Add(const Proposal& proposal) {
    std::vector<double> column = {1};
    for (const Side& side : sides_) column.push_back(side.sign * proposal.totals[side.row]);
    master_.AddColumn(std::move(column), proposal.score);
  }

  [[nodiscard]] std::vector<double> Prices() const {
    std::vector<double> prices(core_.n_rows(), 0);
    for (size_t s = 0; s < sides_.size(); ++s) {
      // Duals of `<=` rows of a minimization are not positive.
      prices[sides_[s].row] += sides_[s].sign * std::max(0.0, -master_.Dual(s + 1));
    }
    return Supported(core_, std::move(prices));
  }

  const MipCore& core_;
  std::vector<Side> sides_;
  const MipClock& clock_;
  SmallSimplex master_;
};

// No choice scores above this.
double LargestScore(const MipCore& core) {
  double sum = 0;
  for (size_t g = 0; g < core.groups(); ++g) {
    sum += *std::max_element(core.score.begin() + core.first[g],
                             core.score.begin() + core.first[g + 1]);
  }
  return sum;
}

}  // namespace

LagrangeBound MaximizeLagrangian(const MipCore& core, const std::vector<double>& start,
                                 const MipClock& clock) {
  const double largest = LargestScore(core);
  LagrangeBound best;
  // Prices are higher where scores hardly tell options apart that costs do; a bound above every
  // score means that nothing is within the limits.
  for (const double ceiling : {1e3, 1e6, 1e9}) {
    best = ColumnGeneration(core, ceiling, clock).Run(best.prices.empty() ? start : best.prices);
    double highest = 0;
    for (const double price : best.prices) highest = std::max(highest, std::abs(price));
    const double rounding = 1e-12 * highest * static_cast<double>(core.groups());
    best.infeasible = best.bound > largest * (1 + 1e-9) + 1e-6 + rounding;
    if (best.infeasible || highest < 0.99 * ceiling || clock.Expired()) break;
  }
  return best;
}

}  // namespace puzzle
