// Questions about long texts, answered by reading the text with other means than made it.
#include "nodes/measure/long_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "io/error.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

constexpr int64_t kAsked = 20;

std::vector<std::smatch> AllMatches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return {std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()};
}

// " 1234" -> "1234".
std::string RightOf(const TaskItem& item) {
  return item.continuations[item.answer].substr(1);
}

class LongContextTest : public testing::Test {
 protected:
  [[nodiscard]] Task Make(const std::string& form, int64_t length = 800, uint64_t seed = 1) const {
    return MakeLongContext(form, length, kAsked, seed, *tokenizer_);
  }
  const std::vector<std::string> forms_ = LongContextParams().forms;
  std::shared_ptr<const Tokenizer> tokenizer_ = MakeByteTokenizer();
};

TEST_F(LongContextTest, QuestionsAreAsLongAsAsked) {
  for (const std::string& form : forms_) {
    for (const int64_t length : {512, 800, 3000}) {
      for (const TaskItem& item : Make(form, length).items) {
        size_t most = 0;
        for (const std::string& choice : item.continuations) most = std::max(most, choice.size());
        // Bytes are tokens here, and one stands before them.
        const auto tokens = static_cast<int64_t>(1 + item.contexts[0].size() + most);
        EXPECT_LE(tokens, length) << form;
        EXPECT_GE(tokens, length - 28) << form;  // the longest sentence and a blank
      }
    }
  }
}

TEST_F(LongContextTest, TheNeedleIsToldOnce) {
  for (const TaskItem& item : Make("needle").items) {
    const std::string& text = item.contexts[0];
    std::map<std::string, std::string> told;
    for (const std::smatch& m : AllMatches(text, "The number of the (\\w+) is (\\d+)\\."))
      EXPECT_TRUE(told.insert({m[1], m[2]}).second);
    EXPECT_EQ(told.size(), 4u);
    const auto asked = AllMatches(text, "\nThe number of the (\\w+) is$");
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(told.at(asked[0][1]), RightOf(item));
  }
}

TEST_F(LongContextTest, VariablesAreAssignedBeforeTheyAreRead) {
  for (const TaskItem& item : Make("variables").items) {
    const std::string& text = item.contexts[0];
    std::map<std::string, std::string> value;
    for (const std::smatch& m : AllMatches(text, "VAR (\\w) = (VAR (\\w)|\\d+)\\.")) {
      const std::string from = m[3];
      ASSERT_TRUE(from.empty() || value.contains(from));
      EXPECT_TRUE(value.insert({m[1], from.empty() ? m[2].str() : value[from]}).second);
    }
    EXPECT_EQ(value.size(), 12u);
    const auto asked = AllMatches(text, "\nThe number in VAR (\\w) is$");
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(value.at(asked[0][1]), RightOf(item));
  }
}

TEST_F(LongContextTest, TheCommonWordIsTheCommonest) {
  for (const TaskItem& item : Make("words").items) {
    std::istringstream words(item.contexts[0].substr(0, item.contexts[0].find('.')));
    std::map<std::string, int> count;
    std::string word;
    words >> word;
    while (words >> word) ++count[word];
    for (const std::string& choice : item.continuations) {
      EXPECT_GT(count[choice.substr(1)], 0);
      if (choice.substr(1) != RightOf(item)) {
        EXPECT_GT(count[RightOf(item)], 2 * count[choice.substr(1)]);
      }
    }
  }
}

TEST_F(LongContextTest, ChoicesDifferAndAnswersAreSpread) {
  for (const std::string& form : forms_) {
    std::set<size_t> answers;
    const Task task = Make(form);
    EXPECT_EQ(std::ssize(task.items), kAsked);
    for (const TaskItem& item : task.items) {
      answers.insert(item.answer);
      EXPECT_EQ(std::set<std::string>(item.continuations.begin(), item.continuations.end()).size(),
                4u);
    }
    EXPECT_EQ(answers.size(), 4u) << form;
    EXPECT_EQ(task.name, form + " 800");
  }
}

TEST_F(LongContextTest, SeedsDecide) {
  EXPECT_EQ(Make("needle"), Make("needle"));
  EXPECT_NE(Make("needle"), Make("needle", 800, 2));
}

TEST_F(LongContextTest, ALengthWithoutRoomIsRefused) {
  EXPECT_THAT(ErrorOf([&] { (void)Make("variables", 64); }),
              HasSubstr("a question of the form variables takes"));
}

}  // namespace
}  // namespace puzzle
