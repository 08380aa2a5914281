#include "nodes/measure/task_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle {

namespace {

// Of a mean of n values whose mean square deviation is `variance`.
double MeanError(double variance, int64_t n) {
  return n > 1 ? std::sqrt(variance / static_cast<double>(n - 1)) : 0;
}

double AccuracyError(double accuracy, int64_t n) {
  return MeanError(accuracy * (1 - accuracy), n);
}

// Whether values[answer] is more than every other; no number is more or less than another.
bool Beats(const std::vector<double>& values, size_t answer) {
  for (size_t i = 0; i < values.size(); ++i)
    if (i != answer && !(values[answer] > values[i])) return false;
  return !std::isnan(values[answer]);
}

const TaskResult* FindTask(std::span<const TaskResult> results, const std::string& name) {
  for (const TaskResult& result : results)
    if (result.name == name) return &result;
  return nullptr;
}

bool IsRight(const TaskResult& result, size_t i) {
  return result.right[i] == '1';
}

// The mean square of (child - ratio * parent) - its mean, question by question, over n - 1.
double PairedError(const TaskResult& child, const TaskResult& parent, double ratio) {
  if (child.right.size() != parent.right.size() || std::ssize(child.right) != child.n)
    return std::hypot(child.Error(), ratio * parent.Error());
  const double mean = child.Accuracy() - ratio * parent.Accuracy();
  double squares = 0;
  for (size_t i = 0; i < child.right.size(); ++i) {
    const double difference = (IsRight(child, i) ? 1 : 0) - (IsRight(parent, i) ? ratio : 0);
    squares += (difference - mean) * (difference - mean);
  }
  return MeanError(squares / static_cast<double>(child.n), child.n);
}

// The figures of a task as a cell: "0.5333 +-0.0409", or perplexities.
std::string Cell(const TaskResult* result, const std::string& figure) {
  if (result == nullptr || !result->figures.contains(figure)) return "-";
  const double value = result->figures.at(figure);
  if (figure.ends_with("ppl")) return fmt::format("{:.3f}", value);
  const std::string error = figure == "acc" ? "stderr" : figure + "_stderr";
  return fmt::format("{:.4f} +-{:.4f}", value, result->figures.at(error));
}

std::string Percent(const TaskMean& kept) {
  return fmt::format("{:.1f}% +-{:.1f}", 100 * kept.mean, 100 * kept.error);
}

}  // namespace

double TaskResult::Error() const {
  return figures.at(counts == "acc" ? "stderr" : counts + "_stderr");
}

TaskResult JudgeTask(const Task& task, const std::vector<std::vector<ContinuationScore>>& scores) {
  PUZZLE_CHECK(scores.size() == task.items.size(), "a score for each question");
  TaskResult result;
  result.name = task.name;
  result.n = std::ssize(task.items);
  result.counts = task.averages_norm ? "acc_norm" : "acc";
  const bool choices = task.scoring == TaskScoring::kChoices;
  int64_t right = 0, right_norm = 0;
  double nats = 0;
  for (size_t i = 0; i < task.items.size(); ++i) {
    const TaskItem& item = task.items[i];
    std::vector<double> plain, norm;
    for (size_t c = 0; c < scores[i].size(); ++c) {
      plain.push_back(scores[i][c].log_probability);
      if (choices) norm.push_back(plain.back() / static_cast<double>(item.lengths[c]));
    }
    nats -= plain[0];
    const bool is_right =
        choices ? Beats(plain, item.answer) : scores[i][0].greedy && !std::isnan(plain[0]);
    const bool is_right_norm = choices && Beats(norm, item.answer);
    right += is_right ? 1 : 0;
    right_norm += is_right_norm ? 1 : 0;
    result.right += (task.averages_norm ? is_right_norm : is_right) ? '1' : '0';
  }
  const auto add = [&](const std::string& name, const std::string& error, int64_t count) {
    const double accuracy = static_cast<double>(count) / static_cast<double>(result.n);
    result.figures[name] = accuracy;
    result.figures[error] = AccuracyError(accuracy, result.n);
  };
  add("acc", "stderr", right);
  if (choices) {
    add("acc_norm", "acc_norm_stderr", right_norm);
  } else {
    result.figures["ppl"] = std::exp(nats / static_cast<double>(result.n));
  }
  return result;
}

TaskMean AverageOf(std::span<const TaskResult> results) {
  TaskMean average;
  for (const TaskResult& result : results) {
    if (result.counts.empty()) continue;
    average.mean += result.Accuracy();
    average.error = std::hypot(average.error, result.Error());
    ++average.tasks;
  }
  if (average.tasks > 0) {
    average.mean /= static_cast<double>(average.tasks);
    average.error /= static_cast<double>(average.tasks);
  }
  return average;
}

TaskMean Preserved(std::span<const TaskResult> child, std::span<const TaskResult> parent) {
  const TaskMean own = AverageOf(child), whole = AverageOf(parent);
  PUZZLE_CHECK(own.tasks == whole.tasks && whole.mean > 0, "nothing to preserve");
  TaskMean kept{own.mean / whole.mean, 0, own.tasks};
  for (const TaskResult& result : child) {
    if (result.counts.empty()) continue;
    const TaskResult* before = FindTask(parent, result.name);
    PUZZLE_CHECK(before != nullptr, "other tasks");
    kept.error = std::hypot(kept.error, PairedError(result, *before, kept.mean));
  }
  kept.error /= static_cast<double>(kept.tasks) * whole.mean;
  return kept;
}

nlohmann::ordered_json ToJson(std::span<const TaskResult> results) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const TaskResult& result : results) {
    nlohmann::ordered_json& own = json[result.name];
    own["n"] = result.n;
    for (const char* name : {"acc", "acc_norm", "stderr", "acc_norm_stderr", "ppl", "token_ppl",
                             "word_ppl", "byte_ppl"})
      if (result.figures.contains(name)) own[name] = result.figures.at(name);
    if (result.cut > 0) own["cut"] = result.cut;
  }
  return json;
}

namespace {

struct TableRow {
  std::string title;
  std::vector<std::string> cells;
};

// What `model` keeps of `parent` in one task, or in all of them together.
std::string Kept(std::span<const TaskResult> model, std::span<const TaskResult> parent) {
  const TaskMean own = AverageOf(model), whole = AverageOf(parent);
  if (own.tasks == 0 || own.tasks != whole.tasks || !(whole.mean > 0)) return "-";
  for (const TaskResult& result : model)
    if (!result.counts.empty() && FindTask(parent, result.name) == nullptr) return "-";
  return Percent(Preserved(model, parent));
}

// Figures that a table shows of a task: what counts, and perplexities.
std::vector<std::string> ShownFigures(const TaskResult& result) {
  std::vector<std::string> shown;
  if (!result.counts.empty()) shown.push_back(result.counts);
  for (const auto& [name, value] : result.figures)
    if (name.ends_with("ppl")) shown.push_back(name);
  return shown;
}

TableRow RowOf(const std::vector<ModelTasks>& models, int parent, const std::string& task,
               const std::string& figure) {
  TableRow row{task + " " + figure, {}};
  const TaskResult* of_parent =
      parent < 0 ? nullptr : FindTask(models[static_cast<size_t>(parent)].results, task);
  for (size_t m = 0; m < models.size(); ++m) {
    const TaskResult* own = FindTask(models[m].results, task);
    row.cells.push_back(Cell(own, figure));
    if (parent < 0 || static_cast<int>(m) == parent) continue;
    const bool comparable = own != nullptr && of_parent != nullptr && own->counts == figure;
    row.cells.push_back(comparable ? Kept({own, 1}, {of_parent, 1}) : "");
  }
  return row;
}

TableRow AverageRow(const std::vector<ModelTasks>& models, int parent) {
  TableRow row{"average", {}};
  for (size_t m = 0; m < models.size(); ++m) {
    const TaskMean average = AverageOf(models[m].results);
    row.cells.push_back(
        average.tasks == 0 ? "-" : fmt::format("{:.4f} +-{:.4f}", average.mean, average.error));
    if (parent >= 0 && static_cast<int>(m) != parent)
      row.cells.push_back(Kept(models[m].results, models[static_cast<size_t>(parent)].results));
  }
  return row;
}

std::string CutNotes(const std::vector<ModelTasks>& models) {
  std::string text;
  for (const ModelTasks& model : models)
    for (const TaskResult& result : model.results)
      if (result.cut > 0)
        text += fmt::format(
            "{}: {} of {} questions of {} are longer than the model's context and were cut at "
            "their beginning\n",
            model.label, result.cut, result.n, result.name);
  return text;
}

}  // namespace

std::string TaskTable(const std::vector<ModelTasks>& models, int parent) {
  TableRow head{"task", {}};
  for (size_t m = 0; m < models.size(); ++m) {
    head.cells.push_back(models[m].label);
    if (parent >= 0 && static_cast<int>(m) != parent) head.cells.push_back("preserved");
  }
  std::vector<TableRow> rows = {head};
  std::vector<std::string> seen;
  for (const ModelTasks& model : models) {
    for (const TaskResult& result : model.results) {
      if (std::find(seen.begin(), seen.end(), result.name) != seen.end()) continue;
      seen.push_back(result.name);
      for (const std::string& figure : ShownFigures(result))
        rows.push_back(RowOf(models, parent, result.name, figure));
    }
  }
  rows.push_back(AverageRow(models, parent));
  size_t title = 0;
  std::vector<size_t> widths(head.cells.size(), 0);
  for (const TableRow& row : rows) {
    title = std::max(title, row.title.size());
    for (size_t c = 0; c < widths.size(); ++c) widths[c] = std::max(widths[c], row.cells[c].size());
  }
  std::string text;
  for (const TableRow& row : rows) {
    std::string line = fmt::format("{:<{}}", row.title, title);
    for (size_t c = 0; c < widths.size(); ++c)
      line += fmt::format("  {:>{}}", row.cells[c], widths[c]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return text + CutNotes(models);
}

}  // namespace puzzle
