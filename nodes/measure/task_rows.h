// Rows of a task's data: fields by name, from JSON lines or CSV, and the files they lie in. Needs
// no model; thread-safe (functions of their arguments).
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace puzzle {

/// A field's value: one text, or a list of texts. Numbers and truth values are texts as JSON writes
/// them.
struct TaskField {
  std::vector<std::string> texts;
  bool is_list = false;

  bool operator==(const TaskField&) const = default;
};

struct TaskRow {
  std::map<std::string, TaskField> fields;  // objects and null are left out
  std::string where;                        // "arc_easy/test.jsonl:12"
};

/// The rows of a text: JSON objects, one to a line, or CSV (RFC 4180) `question,choice,...,answer`,
/// which gives the fields "question", "choices" and "answer". The first character tells them apart.
/// `name` (a file's) begins every message and every row's `where`. Throws Error naming the line
/// that is neither.
[[nodiscard]] std::vector<TaskRow> ParseTaskRows(std::string_view text, const std::string& name);

/// A file of rows, and what its name says.
struct TaskFile {
  std::string path;                          // to open
  std::string name;                          // for messages: relative to the folder of all tasks
  std::map<std::string, std::string> named;  // {"subject": "anatomy"}

  bool operator==(const TaskFile&) const = default;
};

/// The files of `folder` + "/" + `task` whose relative names fit `pattern`, sorted: "*" stands for
/// any part of a name, "{subject}" for a part that becomes a field, and neither for a '/'.
[[nodiscard]] std::vector<TaskFile> FindTaskFiles(const std::string& folder,
                                                  const std::string& task,
                                                  const std::string& pattern);

/// The rows of all `files`, the first of each, then the second of each, ...: the first rows are a
/// fair sample of all files. What files' names say is a field of their rows.
[[nodiscard]] std::vector<TaskRow> ReadTaskRows(const std::vector<TaskFile>& files);

/// Of everything in the files that ReadTaskRows could read below `folder`; for keys. Throws Error
/// when there is no such folder.
[[nodiscard]] std::string DigestTaskRows(const std::string& folder);

}  // namespace puzzle
