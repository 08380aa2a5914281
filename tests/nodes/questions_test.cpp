#include "nodes/measure/questions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/error.h"

namespace puzzle {
namespace {

TEST(QuestionsTest, JsonLinesMayNameTheAnswerByNumberOrLetter) {
  const auto questions = ParseQuestions(
      "{\"context\": \"2 + 2 =\", \"choices\": [\" 3\", \" 4\"], \"answer\": 1}\n\n"
      "{\"question\": \"x\", \"choices\": [\"a\", \"b\", \"c\"], \"answer\": \"C\"}\n",
      "q");
  ASSERT_EQ(questions.size(), 2);
  EXPECT_EQ(questions[0], (Question{"2 + 2 =", {" 3", " 4"}, 1}));
  EXPECT_EQ(questions[1], (Question{"x", {"a", "b", "c"}, 2}));
}

TEST(QuestionsTest, BlimpPairsHaveNoContextAndTheGoodSentenceFirst) {
  const auto questions = ParseQuestions(
      R"({"sentence_good": "They sleep.", "sentence_bad": "They sleeps.", "field": "syntax"})",
      "q");
  EXPECT_EQ(questions.at(0), (Question{"", {"They sleep.", "They sleeps."}, 0}));
}

TEST(QuestionsTest, CsvFieldsMayBeQuotedAndHoldLineEnds) {
  const auto questions = ParseQuestions(
      "\"Which, of \"\"these\"\"?\nSay.\",one,two,\"three, or\",four,B\r\nq,a,b,A", "q");
  ASSERT_EQ(questions.size(), 2);
  EXPECT_EQ(questions[0].context, "Which, of \"these\"?\nSay.\nAnswer: ");
  EXPECT_EQ(questions[0].choices, (std::vector<std::string>{"one", "two", "three, or", "four"}));
  EXPECT_EQ(questions[0].answer, 1);
  EXPECT_EQ(questions[1].choices.size(), 2);
}

TEST(QuestionsTest, WhatIsNoQuestionIsRefusedByItsNumber) {
  const auto message = [](const char* text) -> std::string {
    try {
      (void)ParseQuestions(text, "file");
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing";
  };
  using testing::HasSubstr;
  EXPECT_EQ(message(""), "file: no questions");
  EXPECT_THAT(message("{\"context\": \"a\"}"), HasSubstr("file: question 1: "));
  EXPECT_THAT(message("{\"context\": \"a\", \"choices\": [\"b\"], \"answer\": 0}"),
              HasSubstr("two choices"));
  EXPECT_THAT(message("a,b,c,A\na,b,c,D"), HasSubstr("question 2: the answer is choice 4"));
  EXPECT_THAT(message("a,b,c,7"), HasSubstr("\"7\" is no letter"));
  EXPECT_THAT(message("a,\"b,c,A"), HasSubstr("does not end"));
  EXPECT_THAT(message("a,b"), HasSubstr("expected question"));
}

}  // namespace
}  // namespace puzzle
