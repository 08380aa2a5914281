#include "nodes/cost/speed_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "io/error.h"

namespace puzzle {

namespace {

// A model: what it keeps, and its speed and memory by batch size.
struct SpeedRow {
  Evaluation evaluation;
  TaskMean kept;  // of the parent's task accuracy
  std::map<int64_t, BenchResult> speeds;
  std::map<int64_t, double> memory;  // of what the parent takes beside it

  [[nodiscard]] const std::string& label() const { return evaluation.label; }
  [[nodiscard]] double RatioAt(int64_t batch) const {
    const auto found = speeds.find(batch);
    return found == speeds.end() ? 0 : found->second.ratio;
  }
};

// The parent's row first, then from large to small.
std::vector<SpeedRow> RowsOf(std::vector<Evaluation> evaluations) {
  std::sort(evaluations.begin(), evaluations.end(), [](const Evaluation& a, const Evaluation& b) {
    return std::tuple(a.has_kl, -a.parameters, a.label) <
           std::tuple(b.has_kl, -b.parameters, b.label);
  });
  if (evaluations.empty() || evaluations[0].has_kl)
    throw Error(
        "connect the parent's own evaluation, the one without a `parent`, at `evaluations`");
  if (evaluations.size() > 1 && !evaluations[1].has_kl)
    throw Error(
        fmt::format("\"{}\" and \"{}\" were both measured without a parent; only the "
                    "parent's own is",
                    evaluations[0].label, evaluations[1].label));
  const std::vector<TaskResult> asked = evaluations[0].tasks;
  std::vector<SpeedRow> rows;
  for (Evaluation& evaluation : evaluations) {
    const auto same = [](const TaskResult& a, const TaskResult& b) {
      return a.name == b.name && a.n == b.n;
    };
    if (AverageOf(evaluation.tasks).tasks == 0 || !(AverageOf(asked).mean > 0) ||
        !std::equal(asked.begin(), asked.end(), evaluation.tasks.begin(), evaluation.tasks.end(),
                    same))
      throw Error(
          fmt::format("\"{}\" was not asked the tasks that its parent answers: connect "
                      "`tasks` to both evaluations",
                      evaluation.label));
    const TaskMean kept = Preserved(evaluation.tasks, asked);
    rows.push_back({std::move(evaluation), kept, {}, {}});
  }
  return rows;
}

// Puts a bench to the model that it is of; the parent's speed is that of the first one of a batch
// size.
void Place(const Bench& bench, std::vector<SpeedRow>& rows) {
  const BenchResult& own = bench.results.back();
  const int64_t batch = bench.options.batch;
  if (bench.results.size() < 2)
    throw Error(fmt::format("the bench \"{}\" has no parent beside it: connect its port `parent`",
                            own.model));
  const auto is_its = [&](const SpeedRow& row) { return row.label() == own.model; };
  const auto row = std::find_if(rows.begin() + 1, rows.end(), is_its);
  if (row == rows.end())
    throw Error(fmt::format("no child's evaluation is called \"{}\" as a bench is", own.model));
  if (std::find_if(row + 1, rows.end(), is_its) != rows.end())
    throw Error(
        fmt::format("two children's evaluations are called \"{}\" as a bench is: give each "
                    "a label of its own",
                    own.model));
  if (!row->speeds.insert({batch, own}).second)
    throw Error(fmt::format("two benches are called \"{}\" at batch {}", own.model, batch));
  const BenchResult& parent = bench.results.front();
  row->memory[batch] = own.memory_mib / parent.memory_mib;
  rows[0].speeds.insert({batch, parent});
  rows[0].memory[batch] = 1;
}

std::string HeadOf(const std::set<int64_t>& batches, size_t width) {
  std::string head = fmt::format("{:<{}}  {:>9}  {:>8}  {:>16}  {:>14}", "model", width,
                                 "in blocks", "KL", "tasks", "kept");
  for (const int64_t batch : batches)
    head += fmt::format("  {:>16}  {:>7}  {:>9}  {:>7}", fmt::format("batch {}, tok/s", batch),
                        "ratio", "predicted", "memory");
  return head + '\n';
}

std::string LineOf(const SpeedRow& row, const SpeedRow& parent, const std::set<int64_t>& batches,
                   size_t width) {
  const Evaluation& own = row.evaluation;
  const TaskMean average = AverageOf(own.tasks);
  std::string line = fmt::format(
      "{:<{}}  {:>8.1f}%  {:>8}  {:>16}  {:>14}", row.label(), width,
      100 * static_cast<double>(own.block_parameters) /
          static_cast<double>(parent.evaluation.block_parameters),
      own.has_kl ? fmt::format("{:.4f}", own.metrics.Mean(Metric::kKl)) : "-",
      fmt::format("{:.4f} +-{:.4f}", average.mean, average.error),
      own.has_kl ? fmt::format("{:.1f}% +-{:.1f}", 100 * row.kept.mean, 100 * row.kept.error)
                 : "-");
  for (const int64_t batch : batches) {
    const auto found = row.speeds.find(batch);
    if (found == row.speeds.end()) {
      line += fmt::format("  {:>16}  {:>7}  {:>9}  {:>7}", "-", "-", "-", "-");
      continue;
    }
    const BenchResult& speed = found->second;
    line += fmt::format("  {:>16.1f}  {:>7.3f}  {:>9.3f}  {:>6.1f}%", speed.decode_tok_s.median,
                        speed.ratio, speed.predicted_ratio, 100 * row.memory.at(batch));
  }
  return line + '\n';
}

std::string Described(const SpeedRow& row, int64_t batch) {
  return fmt::format("\"{}\", {:.2f} x, keeps {:.1f}% +-{:.1f}", row.label(), row.RatioAt(batch),
                     100 * row.kept.mean, 100 * row.kept.error);
}

// Of the children measured at `batch`, as the paper puts it.
std::string Headline(const SpeedReportParams& params, const std::vector<SpeedRow>& rows,
                     int64_t batch) {
  const SpeedRow *fastest = nullptr, *keeps = nullptr, *at_speed = nullptr;
  const auto keeps_enough = [&](const SpeedRow& row) {
    constexpr double kRounding = 1e-9;  // 100 times .57 is below 57
    return 100 * row.kept.mean >= params.keep - kRounding;
  };
  const auto is_faster = [&](const SpeedRow& a, const SpeedRow* b) {
    return b == nullptr || a.RatioAt(batch) > b->RatioAt(batch);
  };
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) {
    if (!row->speeds.contains(batch)) continue;
    if (is_faster(*row, fastest)) fastest = &*row;
    if (keeps_enough(*row) && is_faster(*row, keeps)) keeps = &*row;
    const bool is_fast = row->RatioAt(batch) >= params.speedup;
    if (is_fast && (at_speed == nullptr || row->kept.mean > at_speed->kept.mean)) at_speed = &*row;
  }
  std::string text = fmt::format(
      "decode at batch {}, measured in turn with the parent:\n  fastest that keeps "
      "{:g}% of the task accuracy: {}\n",
      batch, params.keep,
      keeps != nullptr ? Described(*keeps, batch) : "none of the children does");
  return text + fmt::format("  best at {:g} x: {}\n", params.speedup,
                            at_speed != nullptr ? Described(*at_speed, batch)
                                                : "none was that fast; the fastest is " +
                                                      Described(*fastest, batch));
}

// How far the predictions are off, the worst of every batch size.
std::string Misses(const std::vector<SpeedRow>& rows, const std::set<int64_t>& batches) {
  std::string text;
  for (const int64_t batch : batches) {
    double worst = 0;
    int64_t within = 0, all = 0;
    const SpeedRow* where = nullptr;
    for (auto row = rows.begin() + 1; row != rows.end(); ++row) {
      if (!row->speeds.contains(batch)) continue;
      const BenchResult& speed = row->speeds.at(batch);
      const double off = speed.predicted_ratio / speed.ratio - 1;
      ++all;
      within += std::abs(off) <= 0.1 ? 1 : 0;
      if (where == nullptr || std::abs(off) > std::abs(worst)) {
        worst = off;
        where = &*row;
      }
    }
    if (where == nullptr) continue;
    text += fmt::format(
        "predicted speed-up at batch {}: within 10% of the measured one for {} of "
        "{} children, at worst {:+.1f}% (\"{}\")\n",
        batch, within, all, 100 * worst, where->label());
  }
  return text;
}

}  // namespace

std::string SpeedTable(const SpeedReportParams& params, std::vector<Evaluation> evaluations,
                       const std::vector<Bench>& benches) {
  std::vector<SpeedRow> rows = RowsOf(std::move(evaluations));
  std::set<int64_t> batches;
  for (const Bench& bench : benches) {
    Place(bench, rows);
    batches.insert(bench.options.batch);
  }
  if (batches.empty()) throw Error("nothing was measured: connect steps of kind bench");
  const int64_t batch = params.batch > 0 ? params.batch : *batches.rbegin();
  if (!batches.contains(batch))
    throw Error(fmt::format("nothing was measured at batch {}; there are {}", batch,
                            fmt::join(batches, ", ")));
  size_t width = 5;
  for (const SpeedRow& row : rows) width = std::max(width, row.label().size());
  std::string text = HeadOf(batches, width);
  for (const SpeedRow& row : rows) text += LineOf(row, rows[0], batches, width);
  return text + '\n' + Headline(params, rows, batch) + Misses(rows, batches);
}

ReportText RunSpeedReport(const SpeedReportParams& params, const Inputs& inputs, RunContext&) {
  std::vector<Evaluation> evaluations;
  for (const auto& input : inputs.List<Evaluation>("evaluations"))
    evaluations.push_back(*input.Load());
  std::vector<Bench> benches;
  for (const auto& input : inputs.List<Bench>("benches")) benches.push_back(*input.Load());
  return {SpeedTable(params, std::move(evaluations), benches), {}};
}

}  // namespace puzzle
