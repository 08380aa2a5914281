#include "nodes/measure/task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "graph/language/diagnostics.h"
#include "io/error.h"
#include "io/file.h"
#include "io/utf8.h"

namespace puzzle {

namespace {

constexpr uint64_t kLargestText = uint64_t{1} << 30;

int64_t Characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// "2" counts from 0; "C" or "c" is a letter.
size_t AnswerIndex(const std::string& text) {
  if (text.size() == 1 && std::isalpha(static_cast<unsigned char>(text[0])) != 0)
    return static_cast<size_t>(std::toupper(static_cast<unsigned char>(text[0])) - 'A');
  size_t index = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, index);
  if (text.empty() || failure != std::errc() || stop != end)
    throw Error(fmt::format("the answer \"{}\" is no letter, nor a number counting from 0", text));
  return index;
}

size_t AnswerOf(const TaskSpec& spec, const TaskRow& row, size_t choices) {
  const size_t index =
      spec.answer ? static_cast<size_t>(*spec.answer)
                  : AnswerIndex(TaskPattern::Parse("{" + spec.answer_field + "}").Fill(row));
  if (index >= choices)
    throw Error(fmt::format("the answer is choice {}, but there are {}", index + 1, choices));
  return index;
}

// The row with the task's words in place of its own.
TaskRow Translated(const TaskSpec& spec, TaskRow row) {
  for (const auto& [field, words] : spec.words) {
    const auto own = row.fields.find(field);
    if (own == row.fields.end()) continue;  // the pattern that needs it will say so
    for (std::string& text : own->second.texts) {
      const auto word = words.find(text);
      if (word == words.end()) {
        std::vector<std::string> known;
        for (const auto& [value, replacement] : words) known.push_back(value);
        throw Error(
            fmt::format("field \"{}\" is \"{}\", none of {}", field, text, fmt::join(known, ", ")));
      }
      text = word->second;
    }
  }
  return row;
}

TaskItem MakeItem(const TaskSpec& spec, const TaskRow& row) {
  TaskItem item;
  if (spec.scoring == TaskScoring::kGreedy) {
    item.contexts = {spec.context.Fill(row)};
    item.continuations = {spec.continuation.Fill(row)};
    return item;
  }
  std::vector<std::string> choices;
  if (spec.choices_are_a_field) {
    choices = spec.choices[0].FillList(row);
  } else {
    for (const TaskPattern& choice : spec.choices) choices.push_back(choice.Fill(row));
  }
  if (choices.size() < 2) throw Error("needs two choices at least");
  item.answer = AnswerOf(spec, row, choices.size());
  for (const std::string& choice : choices) {
    item.continuations.push_back(spec.continuation.Fill(row, &choice));
    item.lengths.push_back(
        std::max<int64_t>(1, spec.bytes ? std::ssize(choice) : Characters(choice)));
    if (spec.context.UsesChoice() || item.contexts.empty())
      item.contexts.push_back(spec.context.Fill(row, &choice));
  }
  return item;
}

// Something of a row; what goes wrong is said with the row's place.
template <class F>
auto AtRow(const TaskRow& row, F&& make) {
  try {
    return make();
  } catch (const Error& error) {
    throw WithContext(row.where, error);
  }
}

TaskItem ItemOf(const TaskSpec& spec, const TaskRow& row) {
  return AtRow(row, [&] {
    TaskItem item = MakeItem(spec, Translated(spec, row));
    for (const std::string& text : item.continuations)
      if (text.empty()) throw Error("a continuation is empty");
    return item;
  });
}

// Where the rows of a task, or its examples, lie: files of one name's part belong together.
std::string GroupOf(const std::map<std::string, std::string>& named) {
  std::string group;
  for (const auto& [name, value] : named) group += name + "=" + value + '\n';
  return group;
}

// What stands before every question that has a row's named parts.
class Preambles {
 public:
  Preambles(const TaskSpec& spec, const std::string& folder) : spec_(spec) {
    if (spec.few_shot.count == 0 || spec.few_shot.rows.empty()) return;
    const auto files = FindTaskFiles(folder, spec.name, spec.few_shot.rows);
    if (files.empty())
      throw Error(fmt::format("{}: no examples: {}/{}/{} fits no file", spec.source, folder,
                              spec.name, spec.few_shot.rows));
    std::map<std::string, std::vector<TaskFile>> groups;
    for (const TaskFile& file : files) {
      for (const auto& [name, value] : file.named) names_.insert({name, {}});
      groups[GroupOf(file.named)].push_back(file);
    }
    for (const auto& [group, own] : groups) {
      const std::vector<TaskRow> rows = ReadTaskRows(own);
      if (std::ssize(rows) < spec.few_shot.count)
        throw Error(fmt::format("{}: {} examples are wanted before a question, in {}{} are {}",
                                spec.source, spec.few_shot.count, own.front().name,
                                own.size() > 1 ? fmt::format(" and {} more", own.size() - 1) : "",
                                rows.size()));
      AddExamples(group, rows, spec.few_shot.count);
    }
  }

  void AddExamples(const std::string& group, const std::vector<TaskRow>& rows, int64_t count) {
    std::string& text = examples_[group];
    for (const TaskRow& row : rows) {
      if (count-- == 0) return;
      const TaskItem item = ItemOf(spec_, row);
      text +=
          item.ContextOf(item.answer) + item.continuations[item.answer] + spec_.few_shot.separator;
    }
  }

  [[nodiscard]] std::string For(const TaskRow& row) const {
    std::map<std::string, std::string> named = names_;
    for (auto& [name, value] : named)
      if (const auto field = row.fields.find(name); field != row.fields.end())
        value = field->second.texts.at(0);
    const auto examples = examples_.find(GroupOf(named));
    if (examples == examples_.end() && spec_.few_shot.count > 0)
      throw Error(fmt::format("there are no examples for it in {}", spec_.few_shot.rows));
    return spec_.description.Fill(row) + (examples == examples_.end() ? "" : examples->second);
  }

 private:
  const TaskSpec& spec_;
  std::map<std::string, std::string> names_;     // parts of the names of files with examples
  std::map<std::string, std::string> examples_;  // by group
};

std::vector<TaskFile> FilesOf(const TaskSpec& spec, const std::string& folder) {
  std::vector<TaskFile> files = FindTaskFiles(folder, spec.name, spec.rows);
  if (files.empty())
    throw Error(fmt::format("task \"{0}\": no rows: {1}/{0}/{2} fits no file", spec.name, folder,
                            spec.rows));
  return files;
}

bool IsIn(TaskPart part, size_t index) {
  return part == TaskPart::kAll || (part == TaskPart::kEven) == (index % 2 == 0);
}

Task LoadText(const TaskSpec& spec, const std::string& folder, const TaskSelection& selection) {
  if (selection.part != TaskPart::kAll)
    throw Error(fmt::format("task \"{}\" measures a text, which has no halves", spec.name));
  Task task{spec.name, spec.scoring, false, {}, spec.window, selection.limit, {}};
  for (const TaskFile& file : FilesOf(spec, folder)) {
    const std::string text = ReadWholeFile(file.path, kLargestText);
    if (!IsUtf8(text)) throw Error(file.name + ": is not UTF-8");
    task.text += text;
  }
  return task;
}

}  // namespace

Task LoadTask(const TaskSpec& spec, const std::string& folder, const TaskSelection& selection) {
  if (spec.scoring == TaskScoring::kPerplexity) return LoadText(spec, folder, selection);
  Task task{spec.name, spec.scoring, spec.averages_norm, {}, 0, 0, {}};
  std::vector<TaskRow> rows = ReadTaskRows(FilesOf(spec, folder));
  Preambles preambles(spec, folder);
  if (spec.few_shot.count > 0 && spec.few_shot.rows.empty()) {
    const auto taken = std::min<ptrdiff_t>(spec.few_shot.count, std::ssize(rows));
    preambles.AddExamples("", {rows.begin(), rows.begin() + taken}, taken);
    rows.erase(rows.begin(), rows.begin() + taken);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (selection.limit > 0 && std::ssize(task.items) >= selection.limit) break;
    if (!IsIn(selection.part, i)) continue;
    TaskItem item = ItemOf(spec, rows[i]);
    const std::string before = AtRow(rows[i], [&] { return preambles.For(rows[i]); });
    for (std::string& context : item.contexts) context.insert(0, before);
    task.items.push_back(std::move(item));
  }
  if (task.items.empty())
    throw Error(fmt::format("task \"{}\": {}/{} holds no questions", spec.name, folder, spec.name));
  return task;
}

Task ParseQuestions(std::string_view text, const std::string& name) {
  TaskSpec spec;
  spec.name = "questions";
  spec.source = name;
  spec.continuation = TaskPattern::Parse("{choice}");
  TaskSpec pairs = spec;
  pairs.choices = {TaskPattern::Parse("{sentence_good}"), TaskPattern::Parse("{sentence_bad}")};
  pairs.answer = 0;
  spec.choices = {TaskPattern::Parse("{choices}")};
  spec.choices_are_a_field = true;
  TaskSpec csv = spec;
  csv.context = TaskPattern::Parse("{question}\nAnswer: ");
  TaskSpec asked = spec;
  asked.context = TaskPattern::Parse("{question}");
  spec.context = TaskPattern::Parse("{context}");
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const bool is_csv = begin != std::string_view::npos && text[begin] != '{';

  Task task{spec.name, TaskScoring::kChoices, false, {}, 0, 0, {}};
  for (const TaskRow& row : ParseTaskRows(text, name)) {
    const auto has = [&](const char* field) { return row.fields.contains(field); };
    const TaskSpec& own = is_csv                               ? csv
                          : has("sentence_good")               ? pairs
                          : has("question") && !has("context") ? asked
                                                               : spec;
    task.items.push_back(ItemOf(own, row));
  }
  if (task.items.empty()) throw Error(name + ": no questions");
  return task;
}

}  // namespace puzzle
