// Task files: JSON to TaskSpec.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "graph/language/diagnostics.h"
#include "io/error.h"
#include "io/json_text.h"
#include "nodes/measure/task.h"

namespace puzzle {

using nlohmann::ordered_json;

namespace {

// Reads members of a task file and remembers which ones a file may have.
class TaskReader {
 public:
  TaskReader(const JsonText& text, std::string at, const ordered_json& object)
      : text_(text), at_(std::move(at)), object_(object) {
    if (!object.is_object()) Fail("", "expected an object");
  }

  [[noreturn]] void Fail(const std::string& key, const std::string& what) const {
    const std::string pointer = key.empty() ? at_ : at_ + "/" + key;
    const TextPosition place = text_.Find(pointer);
    throw Error(fmt::format("{}:{}:{}: {}{}", text_.source(), place.line, place.column,
                            pointer.empty() ? "" : pointer + ": ", what));
  }

  // What is not among `known` is refused.
  void CheckKeys(const std::vector<std::string>& known) const {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      const std::string hint = DidYouMean(key, known);
      Fail(key,
           "unknown key" + (hint.empty() ? fmt::format("; there are {}", fmt::join(known, ", "))
                                         : " (" + hint + ")"));
    }
  }

  [[nodiscard]] const ordered_json* Find(const std::string& key) const {
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  void Text(const std::string& key, std::string& out) const {
    const ordered_json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_string()) Fail(key, "expected a text");
    out = value->get<std::string>();
  }
  void Count(const std::string& key, int64_t& out, int64_t least) const {
    const ordered_json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_number_integer() || value->get<int64_t>() < least)
      Fail(key, fmt::format("expected an integer, {} or more", least));
    out = value->get<int64_t>();
  }
  // One of `names`; its position.
  [[nodiscard]] size_t OneOf(const std::string& key, const std::vector<std::string>& names,
                             size_t otherwise) const {
    if (Find(key) == nullptr) return otherwise;
    std::string name;
    Text(key, name);
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      Fail(key, fmt::format("\"{}\" is none of {}", name, fmt::join(names, ", ")));
    return static_cast<size_t>(found - names.begin());
  }
  [[nodiscard]] TaskPattern Pattern(const std::string& key, std::string_view text) const {
    try {
      return TaskPattern::Parse(text);
    } catch (const Error& error) {
      Fail(key, error.what());
    }
  }
  [[nodiscard]] TaskPattern Pattern(const std::string& key, const char* otherwise) const {
    if (Find(key) == nullptr && otherwise == nullptr) Fail("", fmt::format("needs \"{}\"", key));
    std::string text = otherwise == nullptr ? "" : otherwise;
    Text(key, text);
    return Pattern(key, std::string_view(text));
  }
  [[nodiscard]] TaskReader Inside(const std::string& key) const {
    return {text_, at_ + "/" + key, *Find(key)};
  }
  [[nodiscard]] const ordered_json& object() const { return object_; }

 private:
  const JsonText& text_;
  std::string at_;
  const ordered_json& object_;
};

void ReadChoices(const TaskReader& file, TaskSpec& spec) {
  const ordered_json* choices = file.Find("choices");
  if (choices == nullptr || choices->is_string()) {
    spec.choices = {file.Pattern("choices", "{choices}")};
    spec.choices_are_a_field = true;
  } else {
    if (!choices->is_array() || choices->size() < 2)
      file.Fail("choices", "expected a list of two texts or more, or a text such as \"{choices}\"");
    for (size_t i = 0; i < choices->size(); ++i) {
      const std::string key = fmt::format("choices/{}", i);
      if (!(*choices)[i].is_string()) file.Fail(key, "expected a text");
      spec.choices.push_back(file.Pattern(key, std::string_view((*choices)[i].get<std::string>())));
    }
  }
  const ordered_json* answer = file.Find("answer");
  if (answer != nullptr && answer->is_number_integer()) {
    int64_t index = 0;
    file.Count("answer", index, 0);
    if (!spec.choices_are_a_field && index >= std::ssize(spec.choices))
      file.Fail("answer", fmt::format("the answer is choice {} counting from 0, but there are {}",
                                      index, spec.choices.size()));
    spec.answer = index;
  } else {
    file.Text("answer", spec.answer_field);
  }
}

void ReadFewShot(const TaskReader& file, TaskSpec& spec) {
  if (file.Find("fewshot") == nullptr) return;
  const TaskReader few = file.Inside("fewshot");
  few.CheckKeys({"rows", "count", "separator"});
  few.Text("rows", spec.few_shot.rows);
  if (few.Find("count") == nullptr) few.Fail("", "needs \"count\"");
  few.Count("count", spec.few_shot.count, 0);
  few.Text("separator", spec.few_shot.separator);
}

void ReadWords(const TaskReader& file, TaskSpec& spec) {
  if (file.Find("words") == nullptr) return;
  const TaskReader words = file.Inside("words");
  for (const auto& [field, values] : words.object().items()) {
    const TaskReader own = words.Inside(field);
    for (const auto& [value, word] : values.items()) {
      own.Text(value, spec.words[field][value]);
    }
  }
}

}  // namespace

TaskSpec ParseTask(std::string_view text, const std::string& name, const std::string& source) {
  const JsonText json = JsonText::Parse(text, source);
  const TaskReader file(json, "", json.value());
  TaskSpec spec;
  spec.name = name;
  spec.source = source;
  const std::vector<std::string> scorings = {"choices", "greedy", "perplexity"};
  spec.scoring = static_cast<TaskScoring>(file.OneOf("score", scorings, 0));
  std::vector<std::string> keys = {"doc", "score", "rows"};
  if (spec.scoring == TaskScoring::kPerplexity) {
    keys.insert(keys.end(), {"window"});
  } else {
    keys.insert(keys.end(), {"description", "context", "continuation", "fewshot", "words"});
    if (spec.scoring == TaskScoring::kChoices)
      keys.insert(keys.end(), {"choices", "answer", "normalize", "average"});
  }
  file.CheckKeys(keys);
  file.Text("doc", spec.doc);
  file.Text("rows", spec.rows);
  file.Count("window", spec.window, 2);
  if (spec.scoring == TaskScoring::kPerplexity) return spec;
  spec.description = file.Pattern("description", "");
  spec.context = file.Pattern("context", nullptr);
  const bool choices = spec.scoring == TaskScoring::kChoices;
  spec.continuation = file.Pattern("continuation", choices ? " {choice}" : nullptr);
  if (choices) {
    if (!spec.context.UsesChoice() && !spec.continuation.UsesChoice())
      file.Fail("continuation", "neither context nor continuation has {choice}");
    ReadChoices(file, spec);
    spec.bytes = file.OneOf("normalize", {"characters", "bytes"}, 0) == 1;
    spec.averages_norm = file.OneOf("average", {"acc", "acc_norm"}, 0) == 1;
  }
  ReadFewShot(file, spec);
  ReadWords(file, spec);
  return spec;
}

}  // namespace puzzle
