#include "nodes/measure/task_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "graph/store/files.h"
#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"
#include "io/utf8.h"

namespace puzzle {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 30;

std::string Text(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::map<std::string, TaskField> FieldsOf(const json& object) {
  if (!object.is_object()) throw Error("expected a JSON object");
  std::map<std::string, TaskField> fields;
  for (const auto& [name, value] : object.items()) {
    if (value.is_primitive() && !value.is_null()) {
      fields[name] = {{Text(value)}, false};
    } else if (value.is_array()) {
      TaskField list{{}, true};
      for (const json& element : value) list.texts.push_back(Text(element));
      fields[name] = std::move(list);
    }
  }
  return fields;
}

// One record of CSV (RFC 4180: fields may be quoted, quotes in them are doubled, and so may contain
// line ends), taken off the front of `text`.
std::vector<std::string> TakeRecord(std::string_view& text) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        fields.back() += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"' && fields.back().empty()) {  // elsewhere it is a character like others
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      break;
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  if (quoted) throw Error("a quoted field does not end");
  text.remove_prefix(std::min(i + 1, text.size()));
  return fields;
}

// The next row's fields, taken off the front of `text`; none for a blank line.
std::optional<std::map<std::string, TaskField>> TakeJson(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return std::nullopt;
  if (!IsUtf8(line)) throw Error("is not UTF-8");
  try {
    return FieldsOf(json::parse(line));
  } catch (const json::exception& error) {
    // Without its name in the library and the place, which counts lines of this one line.
    const std::string what = error.what();
    const size_t place = what.find(": ");
    throw Error("is no JSON object of texts and lists: " +
                (place == std::string::npos ? what : what.substr(place + 2)));
  }
}

std::optional<std::map<std::string, TaskField>> TakeCsv(std::string_view& text) {
  std::vector<std::string> fields = TakeRecord(text);
  if (fields.size() == 1 && fields.front().empty()) return std::nullopt;
  if (fields.size() < 4) throw Error("expected question,choice,choice,...,letter");
  for (const std::string& field : fields)
    if (!IsUtf8(field)) throw Error("is not UTF-8");
  return std::map<std::string, TaskField>{
      {"question", {{fields.front()}, false}},
      {"choices", {{fields.begin() + 1, fields.end() - 1}, true}},
      {"answer", {{fields.back()}, false}}};
}

// Whether `name` fits `pattern`; what its {names} stand for is put into `named`.
bool Fits(std::string_view name, std::string_view pattern,
          std::map<std::string, std::string>& named) {
  if (pattern.empty()) return name.empty();
  const size_t close = pattern.front() == '{' ? pattern.find('}') : std::string_view::npos;
  if (pattern.front() != '*' && close == std::string_view::npos)
    return !name.empty() && name.front() == pattern.front() &&
           Fits(name.substr(1), pattern.substr(1), named);
  const std::string_view rest = pattern.substr(close == std::string_view::npos ? 1 : close + 1);
  for (size_t taken = 0; taken <= name.size(); ++taken) {
    if (taken > 0 && name[taken - 1] == '/') return false;
    if (!Fits(name.substr(taken), rest, named)) continue;
    if (close != std::string_view::npos)
      named[std::string(pattern.substr(1, close - 1))] = name.substr(0, taken);
    return true;
  }
  return false;
}

// Names of all files below `folder`, relative to it, sorted; not of hidden ones, which other
// programs leave there, nor in hidden folders. Folders may lie elsewhere, behind a link.
std::vector<std::string> FilesBelow(const fs::path& folder) {
  std::vector<std::string> names;
  ForEachBelow(folder.string(), [&](const std::string& path, bool is_file) {
    const fs::path own(path);
    const bool is_hidden = own.filename().string().starts_with('.');
    if (is_file && !is_hidden) names.push_back(own.lexically_relative(folder).string());
    return !is_hidden;
  });
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::vector<TaskRow> ParseTaskRows(std::string_view text, const std::string& name) {
  std::vector<TaskRow> rows;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const bool is_json = begin != std::string_view::npos && text[begin] == '{';
  int64_t line = 1;
  while (!text.empty()) {
    const std::string_view before = text;
    const std::string where = fmt::format("{}:{}", name, line);
    try {
      if (auto fields = is_json ? TakeJson(text) : TakeCsv(text))
        rows.push_back({std::move(*fields), where});
    } catch (const Error& error) {
      throw WithContext(where, error);
    }
    const std::string_view taken = before.substr(0, before.size() - text.size());
    line += std::count(taken.begin(), taken.end(), '\n');
  }
  return rows;
}

std::vector<TaskFile> FindTaskFiles(const std::string& folder, const std::string& task,
                                    const std::string& pattern) {
  const fs::path own = fs::path(folder) / task;
  std::vector<TaskFile> files;
  if (!fs::is_directory(own)) return files;
  for (const std::string& name : FilesBelow(own)) {
    TaskFile file{(own / name).string(), task + "/" + name, {}};
    if (Fits(name, pattern, file.named)) files.push_back(std::move(file));
  }
  return files;
}

std::vector<TaskRow> ReadTaskRows(const std::vector<TaskFile>& files) {
  std::vector<std::vector<TaskRow>> by_file;
  size_t longest = 0;
  for (const TaskFile& file : files) {
    by_file.push_back(ParseTaskRows(ReadWholeFile(file.path, kLargestFile), file.name));
    for (TaskRow& row : by_file.back())
      for (const auto& [field, value] : file.named) row.fields[field] = {{value}, false};
    longest = std::max(longest, by_file.back().size());
  }
  std::vector<TaskRow> rows;
  for (size_t i = 0; i < longest; ++i)
    for (std::vector<TaskRow>& own : by_file)
      if (i < own.size()) rows.push_back(std::move(own[i]));
  return rows;
}

std::string DigestTaskRows(const std::string& folder) {
  Fingerprint fingerprint;
  for (const std::string& name : FilesBelow(folder))
    fingerprint.AddField(name).AddField(FingerprintFile((fs::path(folder) / name).string()));
  return fingerprint.Hex();
}

}  // namespace puzzle
