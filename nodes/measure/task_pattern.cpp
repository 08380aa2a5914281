#include "nodes/measure/task_pattern.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "graph/language/diagnostics.h"
#include "io/error.h"

namespace puzzle {

namespace {

constexpr std::string_view kBlanks = " \t\n\r\f\v";
constexpr std::string_view kChoice = "choice";

std::string Trim(const std::string& text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// Without its last character, which may have several bytes.
std::string Chop(std::string text) {
  while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.pop_back();
  if (!text.empty()) text.pop_back();
  return text;
}

std::string LowerFirst(std::string text) {
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] += 'a' - 'A';
  return text;
}

std::string Spaces(std::string text) {
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

using Simple = std::string (*)(std::string);
const std::map<std::string, Simple, std::less<>>& SimpleFilters() {
  static const std::map<std::string, Simple, std::less<>> kAll = {
      {"trim", [](std::string text) { return Trim(text); }},
      {"chop", Chop},
      {"lower_first", LowerFirst},
      {"spaces", Spaces}};
  return kAll;
}
constexpr std::string_view kCuts[] = {"before", "after", "before_last", "after_last"};

std::string Cut(const std::string& filter, const std::string& mark, const std::string& text) {
  const bool last = filter.ends_with("_last");
  const size_t at = last ? text.rfind(mark) : text.find(mark);
  if (at == std::string::npos) throw Error(fmt::format("\"{}\" has no \"{}\"", text, mark));
  return filter.starts_with("before") ? text.substr(0, at) : text.substr(at + mark.size());
}

void CheckFilter(const std::string& name, const std::string& argument) {
  const bool simple = SimpleFilters().contains(name);
  const bool cut = std::find(std::begin(kCuts), std::end(kCuts), name) != std::end(kCuts);
  if (!simple && !cut) {
    std::vector<std::string> known(std::begin(kCuts), std::end(kCuts));
    for (const auto& [own, function] : SimpleFilters()) known.push_back(own);
    const std::string hint = DidYouMean(name, known);
    throw Error(fmt::format(
        "there is no filter \"{}\"{}", name,
        hint.empty() ? fmt::format("; there are {}", fmt::join(known, ", ")) : " (" + hint + ")"));
  }
  if (cut && argument.empty()) throw Error(fmt::format("filter \"{0}\" needs a text: {0}:X", name));
  if (simple && !argument.empty()) throw Error(fmt::format("filter \"{}\" takes no text", name));
}

// The field and, for "choices.2", which element of it (-1: all).
std::pair<const TaskField*, int64_t> FindField(const TaskRow& row, const std::string& name) {
  if (const auto found = row.fields.find(name); found != row.fields.end())
    return {&found->second, -1};
  if (const size_t dot = name.rfind('.'); dot != std::string::npos) {
    const char* const end = name.data() + name.size();
    int64_t index = -1;
    const bool is_number = std::from_chars(name.data() + dot + 1, end, index).ptr == end;
    const auto found = row.fields.find(name.substr(0, dot));
    if (is_number && index >= 0 && found != row.fields.end() && found->second.is_list) {
      if (index >= std::ssize(found->second.texts))
        throw Error(fmt::format("there is no \"{}\": \"{}\" has {} elements", name, found->first,
                                found->second.texts.size()));
      return {&found->second, index};
    }
  }
  std::vector<std::string> has;
  for (const auto& [own, value] : row.fields) has.push_back(own);
  const std::string hint = DidYouMean(name, has);
  throw Error(fmt::format("has no field \"{}\"; it has {}{}", name, fmt::join(has, ", "),
                          hint.empty() ? "" : " (" + hint + ")"));
}

}  // namespace

TaskPattern::Piece TaskPattern::ParseField(std::string_view inside) {
  Piece piece;
  const size_t name_end = std::min(inside.find('|'), inside.size());
  piece.field = inside.substr(0, name_end);
  if (piece.field.empty()) throw Error("a field has no name: {}");
  while (inside.find('|') != std::string_view::npos) {
    inside.remove_prefix(inside.find('|') + 1);
    const std::string_view own = inside.substr(0, inside.find('|'));
    const size_t colon = std::min(own.find(':'), own.size());
    Filter filter{std::string(own.substr(0, colon)),
                  std::string(own.substr(std::min(colon + 1, own.size())))};
    CheckFilter(filter.name, filter.argument);
    piece.filters.push_back(std::move(filter));
  }
  return piece;
}

TaskPattern TaskPattern::Parse(std::string_view text) {
  TaskPattern pattern;
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{') {
      if (text.substr(i, 2) == "}}") ++i;  // as "{{"
      plain += text[i];
    } else if (text.substr(i, 2) == "{{") {
      plain += text[++i];
    } else {
      const size_t close = text.find('}', i);
      if (close == std::string_view::npos) throw Error("a brace is not closed");
      Piece piece = ParseField(text.substr(i + 1, close - i - 1));
      piece.text = std::exchange(plain, {});
      pattern.pieces_.push_back(std::move(piece));
      i = close;
    }
  }
  if (!plain.empty()) pattern.pieces_.push_back({plain, {}, {}});
  return pattern;
}

std::string TaskPattern::Apply(const std::vector<Filter>& filters, std::string text) {
  for (const Filter& filter : filters) {
    const auto simple = SimpleFilters().find(filter.name);
    text = simple != SimpleFilters().end() ? simple->second(std::move(text))
                                           : Cut(filter.name, filter.argument, text);
  }
  return text;
}

std::string TaskPattern::Fill(const TaskRow& row, const std::string* choice) const {
  std::string text;
  for (const Piece& piece : pieces_) {
    text += piece.text;
    if (piece.field.empty()) continue;
    if (choice != nullptr && piece.field == kChoice) {
      text += Apply(piece.filters, *choice);
      continue;
    }
    const auto [field, index] = FindField(row, piece.field);
    if (field->is_list && index < 0)
      throw Error(
          fmt::format("field \"{0}\" is a list; its first element is \"{0}.0\"", piece.field));
    text += Apply(piece.filters, field->texts[static_cast<size_t>(std::max<int64_t>(index, 0))]);
  }
  return text;
}

std::vector<std::string> TaskPattern::FillList(const TaskRow& row) const {
  if (pieces_.size() != 1 || pieces_[0].field.empty() || !pieces_[0].text.empty())
    throw Error("expected one field that is a list");
  const auto [field, index] = FindField(row, pieces_[0].field);
  if (!field->is_list || index >= 0)
    throw Error(fmt::format("field \"{}\" is no list", pieces_[0].field));
  std::vector<std::string> texts;
  for (const std::string& text : field->texts) texts.push_back(Apply(pieces_[0].filters, text));
  return texts;
}

bool TaskPattern::UsesChoice() const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [](const Piece& piece) { return piece.field == kChoice; });
}

}  // namespace puzzle
