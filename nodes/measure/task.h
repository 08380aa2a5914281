// Tasks: questions with a known answer, as data. A task file (JSON) says how a row becomes a prompt
// and its possible continuations, and how they are scored; LoadTask applies it to rows. Needs no
// model; values, thread-safe. README.md of this room has the format.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/measure/task_pattern.h"
#include "nodes/measure/task_rows.h"

namespace puzzle {

enum class TaskScoring {
  kChoices,     // the likeliest continuation is the answer
  kGreedy,      // the one continuation is right when each of its tokens is the likeliest
  kPerplexity,  // of a text, in windows
};

/// A task file.
struct TaskSpec {
  struct FewShot {
    std::string
        rows;  // of files with examples; empty: the task's first rows, which are then no questions
    int64_t count = 0;
    std::string separator = "\n\n";
  };

  std::string name;
  std::string doc;
  std::string source;  // where it was read; begins messages
  TaskScoring scoring = TaskScoring::kChoices;
  std::string rows = "*.jsonl";
  TaskPattern description;  // once, before examples and question
  TaskPattern context;
  TaskPattern continuation;  // of a choice
  std::vector<TaskPattern> choices;
  bool choices_are_a_field = false;  // choices[0] is a list of the row
  std::string answer_field = "answer";
  std::optional<int64_t> answer;  // the same for all rows
  bool bytes = false;             // acc_norm divides by bytes, not by characters
  bool averages_norm = false;     // acc_norm is what counts in an average
  FewShot few_shot;
  int64_t window = 2048;
  // Fields whose values are replaced: {"asks": {"cause": "because"}}.
  std::map<std::string, std::map<std::string, std::string>> words;
};

/// Reads a task file's text; the task is called `name`. Throws Error "source:line:col: what" for
/// unknown keys (with the nearest known one), missing ones and malformed patterns.
[[nodiscard]] TaskSpec ParseTask(std::string_view text, const std::string& name,
                                 const std::string& source);

/// A question: continuations of a context, of which one is right.
struct TaskItem {
  std::vector<std::string> contexts;       // one, or one for each continuation
  std::vector<std::string> continuations;  // one or more
  std::vector<int64_t> lengths;            // of the choices, for acc_norm
  size_t answer = 0;

  [[nodiscard]] const std::string& ContextOf(size_t choice) const {
    return contexts.size() == 1 ? contexts[0] : contexts[choice];
  }
  bool operator==(const TaskItem&) const = default;
};

/// A task with its questions.
struct Task {
  std::string name;
  TaskScoring scoring = TaskScoring::kChoices;
  bool averages_norm = false;
  std::vector<TaskItem> items;
  int64_t window = 0;   // of a perplexity: tokens, and
  int64_t windows = 0;  // how many of them; 0: all
  std::string text;

  bool operator==(const Task&) const = default;
};

/// Which questions of a task: those that a search may look at, and those that judge what it found.
enum class TaskPart { kAll, kEven, kOdd };

struct TaskSelection {
  int64_t limit = 0;  // questions (of a perplexity: windows) at most; 0: all
  TaskPart part = TaskPart::kAll;
};

/// The questions of `spec` in the rows below folder + "/" + spec.name. Throws Error when there are
/// none, or fewer examples than wanted, naming what was looked for, and for a row that does not
/// fit, naming file and line.
[[nodiscard]] Task LoadTask(const TaskSpec& spec, const std::string& folder,
                            const TaskSelection& selection);

/// One file of questions without a task file, as a task named "questions" scored by acc:
///   JSON   {"context": "...", "choices": ["...", ...], "answer": 1}, answer counting from 0 or a
///          letter; "question" may stand for "context"
///   BLiMP  {"sentence_good": "...", "sentence_bad": "..."}: an empty context
///   MMLU   CSV: question,choice,...,letter; the context ends in "\nAnswer: "
/// Throws Error naming the line that is none of these.
[[nodiscard]] Task ParseQuestions(std::string_view text, const std::string& name);

}  // namespace puzzle
