#include "nodes/measure/task_accuracy.h"

#include <gtest/gtest.h>

#include "io/error.h"
#include "io/tokenizer.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

class TaskAccuracyTest : public testing::Test {
 protected:
  TaskAccuracyTest() : tokenizer_(MakeByteTokenizer()), model_(TinyModel(Config())) {}

  ModelConfig Config() const {
    ModelConfig config = TinyConfig();
    config.vocab_size = tokenizer_->vocab_size();
    return config;
  }

  // One text at a time, one token at a time.
  double LogProbability(const std::string& context, const std::string& choice) const {
    const at::NoGradGuard no_grad;
    std::vector<int64_t> ids = {tokenizer_->bos_id()};
    for (int32_t id : tokenizer_->Encode(context)) ids.push_back(id);
    double sum = 0;
    for (int32_t id : tokenizer_->Encode(choice)) {
      const at::Tensor row = at::tensor(at::ArrayRef<int64_t>(ids), at::kLong).unsqueeze(0);
      sum += model_.Logits(row)[0][-1].log_softmax(0)[id].item<double>();
      ids.push_back(id);
    }
    return sum;
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  Transformer model_;
};

TEST_F(TaskAccuracyTest, TheLikeliestContinuationIsChosen) {
  std::vector<Question> questions;
  for (int i = 0; i < 40; ++i) {
    Question question{"Q" + std::to_string(i * 37), {}, 0};
    for (int c = 0; c < 2 + i % 3; ++c)
      question.choices.push_back(
          std::string(1 + (i * 5 + c) % 4, static_cast<char>('a' + c + i % 20)));
    double best = -1e30;
    for (size_t c = 0; c < question.choices.size(); ++c) {
      const double value = LogProbability(question.context, question.choices[c]);
      if (value <= best) continue;
      best = value;
      question.answer = c;
    }
    questions.push_back(question);
  }
  const auto silent = [](double) {};
  const TaskAccuracy all = AnswerQuestions(model_, *tokenizer_, questions, silent);
  EXPECT_EQ(all.questions, 40);
  EXPECT_EQ(all.right, 40);
  for (size_t i = 0; i < 10; ++i) questions[i].answer = questions[i].answer == 0 ? 1 : 0;
  const TaskAccuracy fewer = AnswerQuestions(model_, *tokenizer_, questions, silent);
  EXPECT_EQ(fewer.right, 30);
  EXPECT_NEAR(fewer.Mean(), 0.75, 1e-12);
  EXPECT_NEAR(fewer.StandardError(), std::sqrt(0.75 * 0.25 / 40), 1e-12);
}

TEST_F(TaskAccuracyTest, QuestionsThatDoNotFitAreRefused) {
  const auto silent = [](double) {};
  const std::vector<Question> endless = {{std::string(100, 'x'), {"a", "b"}, 0}};
  EXPECT_THROW((void)AnswerQuestions(model_, *tokenizer_, endless, silent), Error);
  const std::vector<Question> empty = {{"x", {"", "b"}, 0}};
  EXPECT_THROW((void)AnswerQuestions(model_, *tokenizer_, empty, silent), Error);
}

}  // namespace
}  // namespace puzzle
