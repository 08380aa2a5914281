#include "nodes/solver/label_schedule.h"

#include <algorithm>

namespace puzzle {
namespace {

constexpr int kBins = 96;
constexpr double kMany = 1e300;  // more than that counts as that

// How many parts there are per bin of excess, the last bin being the whole distance.
using Counts = std::vector<double>;

// The parts that one group more makes.
Counts Extended(const Counts& counts, const LabelGroup& group, double bins_per_excess) {
  Counts result(counts.size(), 0);
  for (const LabelOption& option : group.options) {
    const auto shift = static_cast<size_t>(option.excess * bins_per_excess);
    for (size_t bin = 0; bin + shift < counts.size(); ++bin) {
      result[bin + shift] = std::min(kMany, result[bin + shift] + counts[bin]);
    }
  }
  return result;
}

Counts Cumulative(Counts counts) {
  for (size_t bin = 1; bin < counts.size(); ++bin) {
    counts[bin] = std::min(kMany, counts[bin] + counts[bin - 1]);
  }
  return counts;
}

// Per number of groups taken from one end, how many parts have at most a bin's excess.
std::vector<Counts> PartsFrom(const LabelProblem& problem, bool left, double bins_per_excess) {
  const size_t n = problem.groups.size();
  Counts counts(kBins + 1, 0);
  counts[0] = 1;
  std::vector<Counts> parts = {Cumulative(counts)};
  for (size_t i = 0; i < n; ++i) {
    counts = Extended(counts, problem.groups[left ? i : n - 1 - i], bins_per_excess);
    parts.push_back(Cumulative(counts));
  }
  return parts;
}

}  // namespace

std::vector<double> CutsOf(const LabelProblem& problem) {
  const size_t n = problem.groups.size();
  const double width = std::max(problem.distance, problem.tolerance) / kBins;
  const std::vector<Counts> left = PartsFrom(problem, true, 1 / width);
  const std::vector<Counts> right = PartsFrom(problem, false, 1 / width);
  std::vector<double> cuts = {kInfinity};
  for (size_t p = 1; p < n; ++p) {
    double cut = kInfinity, least = left[p][kBins];  // nothing has crossed over yet
    for (size_t bin = kBins - 1; bin > 0; --bin) {
      const double parts = left[p][bin - 1] + right[n - p][kBins - bin];
      if (parts >= least) continue;
      least = parts;
      cut = static_cast<double>(bin) * width;
    }
    if (right[n - p][kBins] < least) cut = -kInfinity;  // everything has
    cuts.push_back(std::min(cut, cuts.back()));
  }
  cuts.push_back(-kInfinity);
  return cuts;
}

}  // namespace puzzle
