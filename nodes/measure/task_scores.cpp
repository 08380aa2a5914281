#include "nodes/measure/task_scores.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

namespace {

std::vector<TaskAnswers> Ask(const TaskSet& set, const Transformer& model,
                             const Tokenizer& tokenizer, const TaskPoll& poll) {
  std::vector<TaskAnswers> answers;
  for (const Task& task : set.tasks)
    answers.push_back(
        AskTask(model, tokenizer, task, [&](double fraction) { poll(fraction, task.name); }));
  return answers;
}

std::vector<QuestionFigures> Compare(const TaskSet& set, const std::vector<TaskAnswers>& parent,
                                     const std::vector<TaskAnswers>& model) {
  std::vector<QuestionFigures> figures;
  for (size_t t = 0; t < set.tasks.size(); ++t) {
    figures.push_back(CompareAnswers(set.tasks[t], parent[t].scores, model[t].scores));
    const std::vector<double>& kl = figures.back().kl;
    if (!std::all_of(kl.begin(), kl.end(), [](double value) { return std::isfinite(value); }))
      throw Error(fmt::format("what the model thinks of the answers in task {} is not a number",
                              set.tasks[t].name));
  }
  return figures;
}

}  // namespace

TaskReference MakeTaskReference(const TaskSet& tasks, const Transformer& parent,
                                const Transformer& model,
                                std::shared_ptr<const Tokenizer> tokenizer, const TaskPoll& poll) {
  for (const Task& task : tasks.tasks)
    if (task.scoring == TaskScoring::kPerplexity)
      throw Error(
          fmt::format("task {} is a text without questions, which cannot be scored: leave "
                      "it out of the tasks at this port",
                      task.name));
  TaskReference reference{std::move(tokenizer), {}, {}};
  reference.parent = Ask(tasks, parent, *reference.tokenizer, poll);
  reference.as_is =
      Compare(tasks, reference.parent,
              &model == &parent ? reference.parent : Ask(tasks, model, *reference.tokenizer, poll));
  return reference;
}

TaskDamage ScoreInTasks(const TaskSet& tasks, const Transformer& replaced,
                        const TaskReference& reference, const TaskPoll& poll) {
  return DamageOf(reference.as_is, Compare(tasks, reference.parent,
                                           Ask(tasks, replaced, *reference.tokenizer, poll)));
}

}  // namespace puzzle
