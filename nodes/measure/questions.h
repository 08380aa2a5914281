// Multiple-choice questions in the forms benchmarks come in, and how many were answered. Needs no
// model; thread-safe (pure functions).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace puzzle {

struct Question {
  std::string context;               // may be empty
  std::vector<std::string> choices;  // continuations of the context, two or more
  size_t answer = 0;                 // index of the right one

  bool operator==(const Question&) const = default;
};

/// How many of some questions were answered.
struct TaskAccuracy {
  int64_t questions = 0;
  int64_t right = 0;

  /// REQUIRES: there are questions.
  [[nodiscard]] double Mean() const;
  [[nodiscard]] double StandardError() const;

  bool operator==(const TaskAccuracy&) const = default;
};

/// Reads questions, one to a line:
///   JSON   {"context": "...", "choices": ["...", ...], "answer": 1}, answer counting from 0 or a
///          letter; "question" may stand for "context"
///   BLiMP  {"sentence_good": "...", "sentence_bad": "..."}: an empty context
///   MMLU   CSV: question,choice,...,letter, quoted where needed; the context ends in "\nAnswer: "
/// The first character tells JSON from CSV. `name` (a file's) begins every message. Throws Error
/// naming the line that is none of these.
[[nodiscard]] std::vector<Question> ParseQuestions(std::string_view text, const std::string& name);

}  // namespace puzzle
