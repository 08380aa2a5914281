#include "nodes/measure/tasks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "graph/language/diagnostics.h"
#include "io/error.h"
#include "io/file.h"

namespace puzzle {

namespace fs = std::filesystem;

namespace {

TaskSpec ReadTaskFile(const std::string& path) {
  constexpr uint64_t kLargest = uint64_t{1} << 20;
  return ParseTask(ReadWholeFile(path, kLargest), fs::path(path).stem().string(), path);
}

TaskSpec ShippedTask(const std::string& name) {
  const auto found = ShippedTasks().find(name);
  if (found != ShippedTasks().end())
    return ParseTask(found->second, name, "configs/tasks/" + name + ".json");
  std::vector<std::string> known = {"all"};
  for (const auto& [own, text] : ShippedTasks()) known.push_back(own);
  const std::string hint = DidYouMean(name, known);
  throw Error(fmt::format(
      "there is no task \"{}\"{}; a task file's name ends in .json", name,
      hint.empty() ? fmt::format(": there are {}", fmt::join(known, ", ")) : " (" + hint + ")"));
}

// Results are told apart by the names of their tasks.
void AddTask(Task task, std::vector<Task>& tasks) {
  for (const Task& other : tasks)
    if (other.name == task.name)
      throw Error(fmt::format("task \"{}\" is named twice: each has a name of its own", task.name));
  tasks.push_back(std::move(task));
}

}  // namespace

std::vector<Task> ChosenTasks(const std::vector<std::string>& names, const std::string& data,
                              const TaskSelection& selection) {
  if (!names.empty() && !fs::is_directory(data))
    throw Error(
        fmt::format("{}: there is no such folder; --task-data says where the rows of tasks "
                    "are",
                    data));
  std::vector<Task> tasks;
  for (const std::string& name : names) {
    if (name != "all") {
      const TaskSpec spec = name.ends_with(".json") ? ReadTaskFile(name) : ShippedTask(name);
      AddTask(LoadTask(spec, data, selection), tasks);
      continue;
    }
    for (const auto& [own, text] : ShippedTasks()) {
      const TaskSpec spec = ShippedTask(own);
      if (!FindTaskFiles(data, own, spec.rows).empty())
        AddTask(LoadTask(spec, data, selection), tasks);
    }
    if (tasks.empty()) throw Error(fmt::format("{}: holds rows of no task that is shipped", data));
  }
  return tasks;
}

TaskSpec ReadTaskFile(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name + ".json";
  if (fs::exists(path)) return ReadTaskFile(path);
  std::vector<std::string> known;
  if (fs::is_directory(folder))
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".json") known.push_back(entry.path().stem().string());
  std::sort(known.begin(), known.end());
  const std::string hint = DidYouMean(name, known);
  throw Error(fmt::format(
      "there is no task \"{}\": {} does not exist{}", name, path,
      hint.empty() ? fmt::format("; there are {}", fmt::join(known, ", ")) : " (" + hint + ")"));
}

TaskSet RunTasks(const TasksParams& params, const Inputs&, RunContext& context) {
  const TaskSelection selection{params.limit, params.part == "even"  ? TaskPart::kEven
                                              : params.part == "odd" ? TaskPart::kOdd
                                                                     : TaskPart::kAll};
  TaskSet set;
  for (const std::string& name : params.tasks) {
    context.Poll(static_cast<double>(set.tasks.size()) / static_cast<double>(params.tasks.size()),
                 name);
    AddTask(LoadTask(ReadTaskFile(params.folder, name), params.data, selection), set.tasks);
  }
  return set;
}

}  // namespace puzzle
