// Texts with holes for a row's fields: the language that task files are written in. Needs no model;
// immutable, hence shared by threads.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nodes/measure/task_rows.h"

namespace puzzle {

/// "Question: {question|trim}\nAnswer:": plain text, and fields of the row in braces ("{{" is a
/// brace; "{choices.0}" is the first element of a list). Filters stand behind the name:
///   trim            without white space at both ends
///   chop            without the last character
///   lower_first     the first letter small (ASCII)
///   spaces          blanks for underscores
///   before:X after:X             what stands before, or behind, the first X
///   before_last:X after_last:X   ... the last X
class TaskPattern {
 public:
  TaskPattern() = default;
  /// Throws Error for an open brace, an empty name or a filter that is none of these.
  static TaskPattern Parse(std::string_view text);

  /// The text of `row`. "{choice}" is `choice`, when there is one. Throws Error for a field that
  /// the row has not (naming those it has), a list where a text belongs, and an X that is not
  /// there.
  [[nodiscard]] std::string Fill(const TaskRow& row, const std::string* choice = nullptr) const;
  /// The texts that a pattern which is one field only stands for: the list's elements, each through
  /// the filters. Throws Error as Fill does, and for a field that is no list.
  [[nodiscard]] std::vector<std::string> FillList(const TaskRow& row) const;
  /// Whether "{choice}" occurs.
  [[nodiscard]] bool UsesChoice() const;

 private:
  struct Filter {
    std::string name;
    std::string argument;
  };
  struct Piece {
    std::string text;   // as it stands, before the field
    std::string field;  // empty: none
    std::vector<Filter> filters;
  };
  static Piece ParseField(std::string_view inside);
  static std::string Apply(const std::vector<Filter>& filters, std::string text);

  std::vector<Piece> pieces_;
};

}  // namespace puzzle
