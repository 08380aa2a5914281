#include "nodes/measure/answer_tasks.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/error.h"
#include "io/tokenizer.h"
#include "nodes/measure/likelihood.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

class AnswerTasksTest : public testing::Test {
 protected:
  AnswerTasksTest() : tokenizer_(MakeByteTokenizer()), model_(TinyModel(Config())) {}

  ModelConfig Config() const {
    ModelConfig config = TinyConfig();
    config.vocab_size = tokenizer_->vocab_size();
    return config;
  }

  // One text at a time, one token at a time, all logits: the sum, and whether all are the
  // likeliest.
  ContinuationScore Plain(const Continuation& own) const {
    const at::NoGradGuard no_grad;
    ContinuationScore score{0, true};
    for (int64_t i = own.given; i < std::ssize(own.ids); ++i) {
      const std::vector<int64_t> ids(own.ids.begin(), own.ids.begin() + i);
      const at::Tensor row = at::tensor(at::ArrayRef<int64_t>(ids), at::kLong).unsqueeze(0);
      const at::Tensor log_p = model_.Logits(row)[0][-1].to(at::kDouble).log_softmax(0);
      const int32_t target = own.ids[static_cast<size_t>(i)];
      score.log_probability += log_p[target].item<double>();
      score.greedy = score.greedy && log_p.argmax().item<int64_t>() == target;
    }
    return score;
  }

  Continuation Of(const std::string& context, const std::string& text) const {
    Continuation own;
    own.ids = tokenizer_->Encode(context + text);
    own.ids.insert(own.ids.begin(), tokenizer_->bos_id());
    own.given = 1 + std::ssize(context);
    return own;
  }

  void ExpectAsPlain(const std::vector<std::vector<Continuation>>& questions) const {
    double done = 0;
    const auto scores =
        ScoreContinuations(model_, questions, [&](double fraction) { done = fraction; });
    EXPECT_EQ(done, 1);
    ASSERT_EQ(scores.size(), questions.size());
    for (size_t q = 0; q < questions.size(); ++q) {
      for (size_t c = 0; c < questions[q].size(); ++c) {
        const ContinuationScore expected = Plain(questions[q][c]);
        EXPECT_NEAR(scores[q][c].log_probability, expected.log_probability, 2e-4) << q << ' ' << c;
        EXPECT_EQ(scores[q][c].greedy, expected.greedy) << q << ' ' << c;
      }
    }
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  Transformer model_;
};

TEST_F(AnswerTasksTest, ContinuationsOfOneContextAreScoredAsEachAlone) {
  std::vector<std::vector<Continuation>> questions;
  for (int i = 0; i < 25; ++i) {
    std::vector<Continuation> choices;
    const std::string context = fmt::format("Q{:q<{}}", "", i % 9);
    for (int c = 0; c < 1 + i % 4; ++c)
      choices.push_back(Of(context, std::string(static_cast<size_t>(1 + (i * 5 + c) % 6),
                                                static_cast<char>('a' + c + i % 20))));
    questions.push_back(choices);
  }
  ExpectAsPlain(questions);
}

TEST_F(AnswerTasksTest, ContextsMayDifferAndContinuationsBeTheSame) {
  ExpectAsPlain({{Of("the cat", " ran."), Of("the dog sat", " ran.")},
                 {Of("no", "n"), Of("no", "y")},  // one row does for both
                 {Of("a", "b"), Of("a", "bc"), Of("a", "bcd")},
                 {Of("", "xyz"), Of("", "abc")}});
}

TEST_F(AnswerTasksTest, ALongBeginningThatQuestionsShareIsReadOnce) {
  ModelConfig config = Config();
  config.max_positions = 256;
  model_ = Transformer(TinyModel(config));
  const std::string red(90, 'r'), blue(120, 'b');
  std::vector<std::vector<Continuation>> questions;
  for (int i = 0; i < 12; ++i) {
    const std::string context = (i % 3 == 0   ? red
                                 : i % 3 == 1 ? blue
                                              : "") +
                                "q" + std::string(static_cast<size_t>(i), 'x');
    questions.push_back({Of(context, "A"), Of(context, i % 2 == 0 ? "B" : "BB")});
  }
  ExpectAsPlain(questions);
}

TEST_F(AnswerTasksTest, TheGreedyContinuationIsRecognised) {
  const std::vector<int32_t> prompt = {tokenizer_->bos_id(), 'a', 'b'};
  std::vector<int32_t> ids = prompt;
  for (const int32_t id : Generate(model_, prompt, 3)) ids.push_back(id);
  Continuation greedy{ids, 3};
  Continuation other = greedy;
  other.ids.back() = (other.ids.back() + 1) % 256;
  const auto scores = ScoreContinuations(model_, {{greedy}, {other}}, [](double) {});
  EXPECT_TRUE(scores[0][0].greedy);
  EXPECT_FALSE(scores[1][0].greedy);
}

TEST_F(AnswerTasksTest, AModelThatPrefersNothingMatchesNothing) {
  ModelConfig config = Config();
  Transformer silent{TinyModel(config)};
  silent.weights().norm.zero_();  // all logits are 0
  EXPECT_FALSE(ScoreContinuations(silent, {{Of("a", "b")}}, [](double) {})[0][0].greedy);
}

TEST_F(AnswerTasksTest, TheLikeliestChoiceIsTheAnswer) {
  Task task;
  task.name = "t";
  for (int i = 0; i < 20; ++i) {
    TaskItem item{{fmt::format("Q{}", i * 37)}, {}, {}, 0};
    double best = -1e30;
    for (int c = 0; c < 2 + i % 3; ++c) {
      const std::string text(static_cast<size_t>(1 + (i * 5 + c) % 4),
                             static_cast<char>('a' + c + i % 20));
      item.continuations.push_back(text);
      item.lengths.push_back(std::ssize(text));
      const double value = Plain(Of(item.contexts[0], text)).log_probability;
      if (value > best) item.answer = static_cast<size_t>(c);
      best = std::max(best, value);
    }
    if (i < 5) item.answer = item.answer == 0 ? 1 : 0;
    task.items.push_back(item);
  }
  const TaskResult result = AnswerTask(model_, *tokenizer_, task, [](double) {});
  EXPECT_EQ(result.n, 20);
  EXPECT_EQ(result.right, "00000111111111111111");
  EXPECT_EQ(result.cut, 0);
}

TEST_F(AnswerTasksTest, TrailingBlanksOfAContextBelongToTheContinuation) {
  Task task, moved;
  task.items = {{{"Answer: "}, {"yes", "no"}, {3, 2}, 0}};
  moved.items = {{{"Answer:"}, {" yes", " no"}, {3, 2}, 0}};
  task.scoring = moved.scoring = TaskScoring::kGreedy;
  const auto ppl = [&](const Task& asked) {
    return AnswerTask(model_, *tokenizer_, asked, [](double) {}).figures.at("ppl");
  };
  EXPECT_DOUBLE_EQ(ppl(task), ppl(moved));
}

TEST_F(AnswerTasksTest, WhatIsLongerThanTheContextLosesItsBeginningAndIsCounted) {
  const auto positions = static_cast<size_t>(model_.config().max_positions);
  Task task;
  task.items = {{{std::string(3 * positions, 'x')}, {"a", "b"}, {1, 1}, 0},
                {{"x"}, {"a", "b"}, {1, 1}, 0},
                {{"x"}, {std::string(2 * positions, 'a'), "b"}, {1, 1}, 0}};
  const TaskResult result = AnswerTask(model_, *tokenizer_, task, [](double) {});
  EXPECT_EQ(result.n, 3);
  EXPECT_EQ(result.cut, 2);
  // What is left of the first is the end of it.
  Task same;
  same.scoring = TaskScoring::kGreedy;
  same.items = {{{std::string(positions, 'x')}, {"a"}, {}, 0}};
  Continuation left{tokenizer_->Encode(std::string(positions, 'x') + "a"),
                    static_cast<int64_t>(positions)};
  EXPECT_NEAR(std::log(AnswerTask(model_, *tokenizer_, same, [](double) {}).figures.at("ppl")),
              -Plain(left).log_probability, 2e-4);
}

TEST_F(AnswerTasksTest, AContinuationThatAddsNothingIsRefused) {
  Task task;
  task.items = {{{"x"}, {"", "b"}, {1, 1}, 0}};
  EXPECT_THROW((void)AnswerTask(model_, *tokenizer_, task, [](double) {}), Error);
}

TEST_F(AnswerTasksTest, ATextIsMeasuredInWindows) {
  Task task;
  task.name = "text";
  task.scoring = TaskScoring::kPerplexity;
  task.window = 9;
  task.text = "the cat sat on the mat and\nthe dog ran  away";  // 44 bytes, BOS: 5 windows
  const TaskResult result = AnswerTask(model_, *tokenizer_, task, [](double) {});
  EXPECT_EQ(result.n, 40);
  std::vector<int32_t> ids = tokenizer_->Encode(task.text);
  ids.insert(ids.begin(), tokenizer_->bos_id());
  double nats = 0;
  for (int64_t w = 0; w < 5; ++w)
    nats -= Plain({{ids.begin() + 9 * w, ids.begin() + 9 * (w + 1)}, 1}).log_probability;
  const double mean = nats / 40;
  EXPECT_NEAR(result.figures.at("token_ppl"), std::exp(mean), 1e-2);
  EXPECT_NEAR(std::log(result.figures.at("word_ppl")), mean * 45 / 11, 1e-3);
  EXPECT_NEAR(std::log(result.figures.at("byte_ppl")), mean * 45 / 44, 1e-4);
  EXPECT_EQ(result.counts, "");
  task.windows = 2;
  EXPECT_EQ(AnswerTask(model_, *tokenizer_, task, [](double) {}).n, 16);
}

}  // namespace
}  // namespace puzzle
