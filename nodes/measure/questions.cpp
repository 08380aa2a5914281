#include "nodes/measure/questions.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle {

using nlohmann::json;

namespace {

// The index that "B" or "b" stands for.
std::optional<size_t> FromLetter(std::string_view text) {
  if (text.size() != 1 || std::isalpha(static_cast<unsigned char>(text[0])) == 0)
    return std::nullopt;
  return static_cast<size_t>(std::toupper(static_cast<unsigned char>(text[0])) - 'A');
}

void Check(const Question& question) {
  if (question.choices.size() < 2) throw Error("needs two choices at least");
  if (question.answer >= question.choices.size())
    throw Error(fmt::format("the answer is choice {}, but there are {}", question.answer + 1,
                            question.choices.size()));
}

Question FromJson(const json& line) {
  Question question;
  if (line.contains("sentence_good")) {
    question.choices = {line.at("sentence_good"), line.at("sentence_bad")};
    return question;
  }
  question.context = line.at(line.contains("context") ? "context" : "question");
  question.choices = line.at("choices").get<std::vector<std::string>>();
  const json& answer = line.at("answer");
  if (answer.is_string()) {
    const auto index = FromLetter(answer.get<std::string>());
    if (!index) throw Error(fmt::format("the answer {} is no letter", answer.dump()));
    question.answer = *index;
  } else {
    question.answer = answer.get<size_t>();
  }
  return question;
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
    } else if (c == '"') {
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

Question FromRecord(const std::vector<std::string>& fields) {
  if (fields.size() < 4) throw Error("expected question,choice,choice,...,letter");
  Question question;
  question.context = fields.front() + "\nAnswer: ";
  question.choices.assign(fields.begin() + 1, fields.end() - 1);
  const auto answer = FromLetter(fields.back());
  if (!answer) throw Error(fmt::format("the answer \"{}\" is no letter", fields.back()));
  question.answer = *answer;
  return question;
}

}  // namespace

double TaskAccuracy::Mean() const {
  return static_cast<double>(right) / static_cast<double>(questions);
}

double TaskAccuracy::StandardError() const {
  return std::sqrt(Mean() * (1 - Mean()) / static_cast<double>(questions));
}

std::vector<Question> ParseQuestions(std::string_view text, const std::string& name) {
  std::vector<Question> questions;
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const bool is_json = begin != std::string_view::npos && text[begin] == '{';
  size_t line = 0;
  while (!text.empty()) {
    ++line;
    try {
      if (is_json) {
        const std::string_view own = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(own.size() + 1, text.size()));
        if (own.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        questions.push_back(FromJson(json::parse(own)));
      } else {
        const std::vector<std::string> fields = TakeRecord(text);
        if (fields.size() == 1 && fields.front().empty()) continue;
        questions.push_back(FromRecord(fields));
      }
      Check(questions.back());
    } catch (const json::exception& error) {
      throw Error(fmt::format("{}: question {}: {}", name, line, error.what()));
    } catch (const Error& error) {
      throw Error(fmt::format("{}: question {}: {}", name, line, error.what()));
    }
  }
  if (questions.empty()) throw Error(name + ": no questions");
  return questions;
}

}  // namespace puzzle
