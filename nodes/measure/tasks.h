// `tasks`: task files and rows as questions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// The task file NAME.json of a folder. Throws Error, naming the nearest of those that there are,
/// when there is none.
[[nodiscard]] TaskSpec ReadTaskFile(const std::string& folder, const std::string& name);

/// The task files of configs/tasks as they were when this program was built, by name.
[[nodiscard]] const std::map<std::string, std::string>& ShippedTasks();

/// What `names` mean: names of shipped tasks, paths of task files (NAME.json), and "all" for every
/// shipped task that has rows in `data`. Throws Error as ReadTaskFile and LoadTask do, when there
/// is no folder `data`, and when two have one name.
[[nodiscard]] std::vector<Task> ChosenTasks(const std::vector<std::string>& names,
                                            const std::string& data,
                                            const TaskSelection& selection);

[[nodiscard]] TaskSet RunTasks(const TasksParams& params, const Inputs& inputs,
                               RunContext& context);

}  // namespace puzzle
