#include "nodes/measure/additivity.h"
#include "nodes/data/artifacts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <fmt/format.h>

namespace puzzle {

namespace {

using ScoreMap = std::map<std::pair<int64_t, std::string>, double>;  // by layer and VariantName

// Where one sub-block is the parent's own there is nothing to add up.
bool DiffersInBoth(const Score& score, const ModelConfig& parent) {
  if (WhichSubBlock(score.spec) != SubBlock::kBoth) return false;
  for (const VariantSpec& part : PartsOf(score.spec))
    if (part == ParentVariant(parent, score.layer, WhichSubBlock(part))) return false;
  return true;
}

// The sum over the sub-blocks of `whole`, or nothing when `missing` has no score.
std::optional<double> SumOfParts(const Score& whole, const ScoreMap& parts, std::string& missing) {
  double sum = 0;
  for (const VariantSpec& part : PartsOf(whole.spec)) {
    missing = VariantName(part);
    const auto found = parts.find({whole.layer, missing});
    if (found == parts.end()) return std::nullopt;
    sum += found->second;
  }
  return sum;
}

// Ranks from 0; equals share the mean of theirs.
std::vector<double> Ranks(const std::vector<double>& values) {
  std::vector<double> ranks;
  for (const double value : values) {
    const auto below =
        std::count_if(values.begin(), values.end(), [&](double v) { return v < value; });
    const auto equal = std::count(values.begin(), values.end(), value);
    ranks.push_back(static_cast<double>(below) + static_cast<double>(equal - 1) / 2);
  }
  return ranks;
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto mean = [](const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  };
  const double mean_a = mean(a), mean_b = mean(b);
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

// Of nothing there is no percentage: a child may be its parent.
std::string OffBy(const Whole& whole) {
  return whole.measured > 0 ? fmt::format("{:+.1f}%", 100 * (whole.sum / whole.measured - 1)) : "-";
}

std::string Table(const std::string& title, const std::vector<Whole>& wholes) {
  if (wholes.empty()) return title + ": none\n";
  size_t width = title.size();
  for (const Whole& whole : wholes) width = std::max(width, whole.name.size());
  std::string text =
      fmt::format("{:<{}}  {:>8}  {:>8}  {:>9}\n", title, width, "sum", "measured", "off by");
  for (const Whole& whole : wholes) {
    text += fmt::format("{:<{}}  {:>8.4f}  {:>8.4f}  {:>9}\n", whole.name, width, whole.sum,
                        whole.measured, OffBy(whole));
  }
  const AdditivityError error = CompareWholes(wholes);
  text +=
      fmt::format("{} in all: sums are off by {:.1f} % of the total, {:+.1f} % with their signs",
                  wholes.size(), 100 * error.absolute, 100 * error.bias);
  if (wholes.size() > 1) text += fmt::format("; rank correlation {:.3f}", error.spearman);
  text += '\n';
  return text;
}

}  // namespace

std::vector<Whole> WholeBlocks(const std::vector<Score>& scores, const ModelConfig& parent,
                               const std::function<void(const std::string&)>& warn) {
  ScoreMap parts;
  for (const Score& score : scores)
    if (WhichSubBlock(score.spec) != SubBlock::kBoth)
      parts[{score.layer, VariantName(score.spec)}] = score.increase.Mean(Metric::kKl);
  std::map<std::pair<int64_t, std::string>, Whole> found;
  for (const Score& score : scores) {
    if (!DiffersInBoth(score, parent)) continue;
    const std::string name = VariantName(score.spec);
    std::string missing;
    const auto sum = SumOfParts(score, parts, missing);
    if (!sum) {
      warn(fmt::format("layer {}: {} is left out: there is no score of {}", score.layer, name,
                       missing));
      continue;
    }
    found[{score.layer, name}] = {fmt::format("layer {} {}", score.layer, name), *sum,
                                  score.increase.Mean(Metric::kKl)};
  }
  std::vector<Whole> result;
  for (auto& [key, whole] : found) result.push_back(std::move(whole));
  return result;
}

AdditivityError CompareWholes(const std::vector<Whole>& wholes) {
  AdditivityError error;
  std::vector<double> sums, measured;
  double total = 0;
  for (const Whole& whole : wholes) {
    sums.push_back(whole.sum);
    measured.push_back(whole.measured);
    total += whole.measured;
    error.bias += whole.sum - whole.measured;
    error.absolute += std::abs(whole.sum - whole.measured);
  }
  if (total > 0) {
    error.bias /= total;
    error.absolute /= total;
  }
  if (wholes.size() > 1) error.spearman = Correlation(Ranks(sums), Ranks(measured));
  return error;
}

ReportText RunAdditivity(const AdditivityParams&, const Inputs& inputs, RunContext& context) {
  std::vector<Score> scores;
  for (const auto& input : inputs.List<Score>("scores")) scores.push_back(*input.Load());
  std::vector<Whole> children;
  for (const auto& input : inputs.List<Evaluation>("children")) {
    const auto child = input.Load();
    if (child->has_kl && child->predicted)
      children.push_back({child->label, *child->predicted, child->metrics.Mean(Metric::kKl)});
  }
  std::sort(children.begin(), children.end(),
            [](const Whole& a, const Whole& b) { return a.name < b.name; });
  const std::vector<Whole> blocks =
      WholeBlocks(scores, inputs.Get<Checkpoint>("parent")->model.config,
                  [&](const std::string& text) { context.Warn(text); });
  return {Table("block", blocks) + '\n' + Table("child", children), {}};
}

}  // namespace puzzle
