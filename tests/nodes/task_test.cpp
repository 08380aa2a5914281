#include "nodes/measure/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "io/error.h"
#include "io/file.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <class F>
std::string MessageOf(F&& what) {
  try {
    (void)what();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing";
}

TaskRow Row(const char* json) {
  return ParseTaskRows(json, "rows").at(0);
}

std::string Filled(const char* pattern, const char* row) {
  return TaskPattern::Parse(pattern).Fill(Row(row));
}

TEST(TaskPatternTest, FieldsAreFilledIn) {
  EXPECT_EQ(Filled("Q: {q}\nA{{}} {c.1} {n}", R"({"q": "why?", "c": ["x", "y"], "n": 3})"),
            "Q: why?\nA{} y 3");
  const std::string choice = "The cat";
  EXPECT_EQ(TaskPattern::Parse("{a} {choice|lower_first}").Fill(Row(R"({"a": "so"})"), &choice),
            "so the cat");
}

TEST(TaskPatternTest, FiltersChangeAField) {
  EXPECT_EQ(Filled("{q|trim|chop}!", R"({"q": "  It rained.\n"})"), "It rained!");
  EXPECT_EQ(Filled("{q|chop}", R"({"q": "café"})"), "caf");
  EXPECT_EQ(Filled("{q|before:_}|{q|after:_|trim}", R"({"q": "the _ is _ small"})"),
            "the |is _ small");
  EXPECT_EQ(Filled("{q|before_last: }|{q|after_last: }", R"({"q": "said the man"})"),
            "said the|man");
  EXPECT_EQ(Filled("{q|spaces}", R"({"q": "high_school_biology"})"), "high school biology");
}

TEST(TaskPatternTest, WhatCannotBeFilledIsNamed) {
  const auto parse = [](const char* text) {
    return MessageOf([&] { return TaskPattern::Parse(text); });
  };
  EXPECT_THAT(parse("{q"), HasSubstr("not closed"));
  EXPECT_THAT(parse("{}"), HasSubstr("no name"));
  EXPECT_THAT(parse("{q|trimm}"), HasSubstr("did you mean \"trim\"?"));
  EXPECT_THAT(parse("{q|before}"), HasSubstr("needs a text"));
  EXPECT_THAT(parse("{q|trim:x}"), HasSubstr("takes no text"));
  const auto fill = [](const char* text) {
    return MessageOf([&] { return Filled(text, R"({"question": "a", "c": ["x", "y"]})"); });
  };
  EXPECT_THAT(fill("{quesion}"), HasSubstr("did you mean \"question\"?"));
  EXPECT_THAT(fill("{c}"), HasSubstr("is a list"));
  EXPECT_THAT(fill("{c.2}"), HasSubstr("has 2 elements"));
  EXPECT_THAT(fill("{question|after:_}"), HasSubstr("has no \"_\""));
}

class TaskFolderTest : public testing::Test {
 protected:
  TaskFolderTest()
      : folder_(std::filesystem::temp_directory_path() /
                ("task_test." + std::to_string(::getpid()))) {}
  ~TaskFolderTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    WriteWholeFile((folder_ / name).string(), text);
  }
  Task Load(const char* file, const TaskSelection& selection = {}) const {
    return LoadTask(ParseTask(file, "t", "t.json"), folder_.string(), selection);
  }

  std::filesystem::path folder_;
};

TEST_F(TaskFolderTest, RowsBecomeQuestions) {
  Write("t/a.jsonl",
        "{\"question\": \"2+2?\", \"choices\": [\"3\", \"vier é\"], \"answer\": 1}\n\n"
        "{\"question\": \"x\", \"choices\": [\"a\", \"b\", \"c\"], \"answer\": \"C\"}\n");
  const Task task = Load(R"({"context": "Question: {question}\nAnswer:"})");
  ASSERT_EQ(task.items.size(), 2);
  EXPECT_EQ(task.items[0], (TaskItem{{"Question: 2+2?\nAnswer:"}, {" 3", " vier é"}, {1, 6}, 1}));
  EXPECT_EQ(task.items[1].answer, 2);
  EXPECT_EQ(Load(R"({"context": "{question}", "normalize": "bytes"})").items[0].lengths,
            (std::vector<int64_t>{1, 7}));
}

TEST_F(TaskFolderTest, HiddenFilesAreNoRows) {
  const std::string row = "{\"question\": \"2+2?\", \"choices\": [\"3\", \"4\"], \"answer\": 1}\n";
  Write("t/a.jsonl", row);
  Write("t/._a.jsonl", "no row");
  Write("t/.cache/b.jsonl", row);
  EXPECT_EQ(Load(R"({"context": "{question}"})").items.size(), 1);
}

// A task's folder may be a link; what is read there has to be in the key.
TEST_F(TaskFolderTest, FoldersBehindLinksAreReadAndDigested) {
  const char* const row = R"({"question": "2+2?", "choices": ["3", "4"], "answer": 1})";
  Write("elsewhere/more/a.jsonl", row);
  std::filesystem::create_directory(folder_ / "data");
  std::filesystem::create_directory_symlink("../elsewhere", folder_ / "data/t");
  std::filesystem::create_symlink("nowhere", folder_ / "elsewhere/gone");
  const std::string data = (folder_ / "data").string();
  const TaskSpec spec =
      ParseTask(R"({"rows": "more/*.jsonl", "context": "{question}"})", "t", "t.json");
  const std::string before = DigestTaskRows(data);
  EXPECT_EQ(LoadTask(spec, data, {}).items.size(), 1);
  Write("elsewhere/more/a.jsonl", row + std::string("\n") + row);
  EXPECT_EQ(LoadTask(spec, data, {}).items.size(), 2);
  EXPECT_NE(DigestTaskRows(data), before);
}

TEST_F(TaskFolderTest, AChoiceMayStandInTheContext) {
  Write("t/a.jsonl", R"({"s": "I liked the _ more.", "choices": ["cat", "dog"], "answer": 0})");
  const Task task =
      Load(R"({"context": "{s|before:_}{choice}", "continuation": " {s|after:_|trim}"})");
  EXPECT_THAT(task.items[0].contexts, ElementsAre("I liked the cat", "I liked the dog"));
  EXPECT_THAT(task.items[0].continuations, ElementsAre(" more.", " more."));
}

TEST_F(TaskFolderTest, WordsReplaceAFieldsValues) {
  Write("t/a.jsonl",
        R"({"p": "It fell.", "asks": "cause", "choices": ["It broke.", "I slept."], "answer": 0})");
  const char* const file =
      R"({"context": "{p|trim|chop} {asks}", "choices": "{choices|lower_first}",
                               "words": {"asks": {"cause": "because", "effect": "so"}}})";
  EXPECT_EQ(Load(file).items[0].contexts[0], "It fell because");
  EXPECT_EQ(Load(file).items[0].continuations[0], " it broke.");
  Write("t/a.jsonl", R"({"p": "It.", "asks": "why", "choices": ["A", "B"], "answer": 0})");
  EXPECT_EQ(MessageOf([&] { return Load(file); }),
            "t/a.jsonl:1: field \"asks\" is \"why\", none of cause, effect");
}

TEST_F(TaskFolderTest, ExamplesComeFromFilesOfTheSameName) {
  Write("t/val/red_val.csv", "q1,a,b,B\nq2,c,d,A\n");
  Write("t/val/blue_val.csv", "q3,e,f,A\n");
  Write("t/dev/red_dev.csv", "r1,x,y,A\nr2,x,y,B\nr3,x,y,B\n");
  Write("t/dev/blue_dev.csv", "\"b1\n\"\"quoted\"\"\",x,y,B\nb2,x,y,A\n");
  const Task task = Load(R"({"rows": "val/{subject}_val.csv", "description": "About {subject}.\n\n",
      "context": "{question}\nA. {choices.0}\nAnswer:", "choices": ["A", "B"],
      "fewshot": {"rows": "dev/{subject}_dev.csv", "count": 2}})");
  // The first row of each file, then the second.
  ASSERT_EQ(task.items.size(), 3);
  EXPECT_EQ(task.items[0].contexts[0],
            "About blue.\n\nb1\n\"quoted\"\nA. x\nAnswer: B\n\nb2\nA. x\nAnswer: A\n\n"
            "q3\nA. e\nAnswer:");
  EXPECT_THAT(task.items[1].contexts[0], AllOf(HasSubstr("About red.\n\nr1\nA. x\nAnswer: A\n\nr2"),
                                               testing::Not(HasSubstr("r3"))));
  EXPECT_THAT(task.items[2].contexts[0], HasSubstr("q2"));
}

TEST_F(TaskFolderTest, FilesOfOneNameHaveTheirExamplesTogether) {
  Write("t/val.csv", "q,a,b,A\n");
  Write("t/dev/1.csv", "r1,x,y,A\nr2,x,y,B\n");
  Write("t/dev/2.csv", "s1,x,y,B\ns2,x,y,B\n");
  const auto file = [](int count) {
    return R"({"rows": "val.csv", "context": "{question}:", "fewshot": {"rows": "dev/*.csv",
      "separator": "\n", "count": )" +
           std::to_string(count) + "}}";
  };
  // The first of each file, then the second.
  EXPECT_EQ(Load(file(3).c_str()).items.at(0).contexts[0], "r1: x\ns1: y\nr2: y\nq:");
  EXPECT_EQ(MessageOf([&] { return Load(file(5).c_str()); }),
            "t.json: 5 examples are wanted before a question, in t/dev/1.csv and 1 more are 4");
}

TEST_F(TaskFolderTest, WithoutFilesOfTheirOwnExamplesAreTheFirstRowsAndNoQuestions) {
  Write("t/a.jsonl",
        "{\"q\": \"1\", \"choices\": [\"a\", \"b\"], \"answer\": 1}\n"
        "{\"q\": \"2\", \"choices\": [\"a\", \"b\"], \"answer\": 0}\n");
  const Task task = Load(R"({"context": "{q}:", "fewshot": {"count": 1, "separator": "\n"}})");
  ASSERT_EQ(task.items.size(), 1);
  EXPECT_EQ(task.items[0].contexts[0], "1: b\n2:");
}

TEST_F(TaskFolderTest, HalvesAreDisjointAndALimitTakesTheFirst) {
  std::string rows;
  for (int i = 0; i < 5; ++i) rows += "{\"text\": \"w " + std::to_string(i) + "\"}\n";
  Write("t/a.jsonl", rows);
  const char* const file =
      R"({"score": "greedy", "context": "{text|before_last: }", "continuation": " {text|after_last: }"})";
  const auto words = [&](const TaskSelection& selection) {
    std::string text;
    for (const TaskItem& item : Load(file, selection).items) text += item.continuations[0];
    return text;
  };
  EXPECT_EQ(words({}), " 0 1 2 3 4");
  EXPECT_EQ(words({2, TaskPart::kAll}), " 0 1");
  EXPECT_EQ(words({0, TaskPart::kEven}), " 0 2 4");
  EXPECT_EQ(words({1, TaskPart::kOdd}), " 1");
}

TEST_F(TaskFolderTest, WrongRowsAreNamedByFileAndLine) {
  const char* const file = R"({"context": "{question}"})";
  const auto message = [&](const char* rows) {
    Write("t/a.jsonl", rows);
    return MessageOf([&] { return Load(file); });
  };
  const std::string good = R"({"question": "q", "choices": ["a", "b"], "answer": 0})";
  EXPECT_THAT(message((good + "\n\n{\"question\": \"q\", \"answer\": 0}").c_str()),
              AllOf(HasSubstr("t/a.jsonl:3: "), HasSubstr("no field \"choices\"")));
  EXPECT_EQ(
      message((good + "\n" + R"({"question": "q", "choices": ["a", "b"], "answer": 2})").c_str()),
      "t/a.jsonl:2: the answer is choice 3, but there are 2");
  EXPECT_THAT(message(R"({"question": "q", "choices": ["a", "b"], "answer": -1})"),
              HasSubstr("t/a.jsonl:1: the answer \"-1\""));
  EXPECT_THAT(message(R"({"question": "q", "choices": ["a"], "answer": 0})"),
              HasSubstr("two choices"));
  EXPECT_THAT(message("{\"question\": "),
              AllOf(HasSubstr("t/a.jsonl:1: is no JSON object of texts and lists: syntax error"),
                    Not(HasSubstr("json.exception")), Not(HasSubstr("line 1"))));
  EXPECT_EQ(message((good + "\n{\"question\": \"\xFF\"}").c_str()), "t/a.jsonl:2: is not UTF-8");
  EXPECT_THAT(message(""), HasSubstr("holds no questions"));
  std::filesystem::remove_all(folder_ / "t");
  EXPECT_THAT(MessageOf([&] { return Load(file); }), HasSubstr("/t/*.jsonl fits no file"));
}

TEST(TaskFileTest, UnknownAndMissingKeysAreNamedWithTheirPlace) {
  const auto message = [](const char* text) {
    return MessageOf([&] { return ParseTask(text, "t", "t.json"); });
  };
  EXPECT_EQ(message("{\n  \"contxt\": \"a\"\n}"),
            "t.json:2:3: /contxt: unknown key (did you mean \"context\"?)");
  EXPECT_THAT(message("{\"doc\": \"a\"}"), HasSubstr("t.json:1:1: needs \"context\""));
  EXPECT_THAT(message("{\"context\": 3}"), HasSubstr("/context: expected a text"));
  EXPECT_THAT(message("{\"context\": \"{q|trm}\"}"), HasSubstr("did you mean \"trim\"?"));
  EXPECT_THAT(message("{\"context\": \"a\", \"continuation\": \"b\"}"), HasSubstr("{choice}"));
  EXPECT_THAT(message("{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"answer\": 2}"),
              HasSubstr("/answer: the answer is choice 2"));
  EXPECT_THAT(message("{\"context\": \"a\", \"score\": \"guess\"}"), HasSubstr("none of choices"));
  EXPECT_THAT(message("{\"score\": \"perplexity\", \"context\": \"a\"}"), HasSubstr("unknown key"));
  EXPECT_THAT(message("{\"context\": \"a\", \"fewshot\": {\"rows\": \"x\"}}"),
              HasSubstr("/fewshot: needs \"count\""));
}

TEST(QuestionsTest, JsonLinesMayNameTheAnswerByNumberOrLetter) {
  const Task task = ParseQuestions(
      "{\"context\": \"2 + 2 =\", \"choices\": [\" 3\", \" 4\"], \"answer\": 1}\n\n"
      "{\"question\": \"x\", \"choices\": [\"a\", \"b\", \"c\"], \"answer\": \"C\"}\n",
      "q");
  ASSERT_EQ(task.items.size(), 2);
  EXPECT_EQ(task.name, "questions");
  EXPECT_EQ(task.items[0], (TaskItem{{"2 + 2 ="}, {" 3", " 4"}, {2, 2}, 1}));
  EXPECT_EQ(task.items[1], (TaskItem{{"x"}, {"a", "b", "c"}, {1, 1, 1}, 2}));
}

TEST(QuestionsTest, BlimpPairsHaveNoContextAndTheGoodSentenceFirst) {
  const Task task = ParseQuestions(
      R"({"sentence_good": "They sleep.", "sentence_bad": "They sleeps.", "field": "syntax"})",
      "q");
  EXPECT_EQ(task.items.at(0), (TaskItem{{""}, {"They sleep.", "They sleeps."}, {11, 12}, 0}));
}

TEST(QuestionsTest, CsvFieldsMayBeQuotedAndHoldLineEnds) {
  const Task task = ParseQuestions(
      "\"Which, of \"\"these\"\"?\nSay.\",one,two,\"three, or\",four,B\r\nq,a,b,A", "q");
  ASSERT_EQ(task.items.size(), 2);
  EXPECT_THAT(task.items[0].contexts, ElementsAre("Which, of \"these\"?\nSay.\nAnswer: "));
  EXPECT_THAT(task.items[0].continuations, ElementsAre("one", "two", "three, or", "four"));
  EXPECT_EQ(task.items[0].answer, 1);
  EXPECT_EQ(task.items[1].continuations.size(), 2);
}

TEST(QuestionsTest, AQuoteInsideACsvFieldIsACharacter) {
  const Task task = ParseQuestions("A 5\" pipe?\",one,two,B\nq,a,b,A", "q");
  ASSERT_EQ(task.items.size(), 2);
  EXPECT_EQ(task.items[0].contexts[0], "A 5\" pipe?\"\nAnswer: ");
}

TEST(QuestionsTest, WhatIsNoQuestionIsRefusedByItsLine) {
  const auto message = [](const char* text) {
    return MessageOf([&] { return ParseQuestions(text, "file"); });
  };
  EXPECT_EQ(message(""), "file: no questions");
  EXPECT_THAT(message("{\"context\": \"a\"}"), HasSubstr("file:1: "));
  EXPECT_THAT(message("{\"context\": \"a\", \"choices\": [\"b\"], \"answer\": 0}"),
              HasSubstr("two choices"));
  EXPECT_THAT(message("a,b,c,A\na,b,c,D"), HasSubstr("file:2: the answer is choice 4"));
  EXPECT_THAT(message("a,b,c,?"), HasSubstr("\"?\" is no letter"));
  EXPECT_THAT(message("a,\"b,c,A"), HasSubstr("does not end"));
  EXPECT_THAT(message("a,b"), HasSubstr("expected question"));
}

TEST(ShippedTaskFilesTest, AreAllWellFormed) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(PUZZLE_SOURCE_DIR) + "/configs/tasks")) {
    const TaskSpec spec = ParseTask(ReadWholeFile(entry.path().string(), 1 << 20),
                                    entry.path().stem().string(), entry.path().string());
    EXPECT_NE(spec.doc, "") << entry.path();
    ++files;
  }
  EXPECT_GE(files, 14);
}

}  // namespace
}  // namespace puzzle
