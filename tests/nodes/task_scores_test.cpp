// Scores in tasks against the definition: one text at a time, one token at a time, all logits.
#include "nodes/measure/task_scores.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "io/tokenizer.h"
#include "model/surgery.h"
#include "nodes/cost/cost.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/score.h"
#include "nodes/search/search.h"
#include "nodes/states/activations.h"
#include "nodes/train/artifacts.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/tiny_tokens.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

ModelWeights ByteModel() {
  ModelConfig config = TinyConfig();
  config.vocab_size = MakeByteTokenizer()->vocab_size();
  config.max_positions = 64;
  return TinyModel(config);
}

// Two tasks, unlike in size, of two and three choices.
TaskSet Questions() {
  TaskSet set;
  for (int t = 0; t < 2; ++t) {
    Task task;
    task.name = fmt::format("task {}", t);
    task.averages_norm = t == 1;
    for (int i = 0; i < 12 + 7 * t; ++i) {
      TaskItem item{{fmt::format("Q{}", i * 37 + t)}, {}, {}, static_cast<size_t>(i % (2 + t))};
      for (int c = 0; c < 2 + t; ++c) {
        const std::string text(static_cast<size_t>(1 + (i * 5 + c) % 4),
                               static_cast<char>('a' + c + i % 20));
        item.continuations.push_back(text);
        item.lengths.push_back(std::ssize(text));
      }
      task.items.push_back(item);
    }
    set.tasks.push_back(task);
  }
  return set;
}

double LogProbability(const Transformer& model, const std::string& context,
                      const std::string& text) {
  const at::NoGradGuard no_grad;
  const auto tokenizer = MakeByteTokenizer();
  std::vector<int32_t> ids = tokenizer->Encode(context + text);
  ids.insert(ids.begin(), tokenizer->bos_id());
  double sum = 0;
  for (auto i = static_cast<int64_t>(1 + context.size()); i < std::ssize(ids); ++i) {
    const std::vector<int64_t> before(ids.begin(), ids.begin() + i);
    const at::Tensor row = at::tensor(at::ArrayRef<int64_t>(before), at::kLong).unsqueeze(0);
    sum += model.Logits(row)[0][-1]
               .to(at::kDouble)
               .log_softmax(0)[ids[static_cast<size_t>(i)]]
               .item<double>();
  }
  return sum;
}

struct PlainFigures {
  double accuracy = 0, kl = 0;  // means over tasks
};

PlainFigures ByDefinition(const TaskSet& set, const Transformer& parent, const Transformer& model) {
  PlainFigures all;
  for (const Task& task : set.tasks) {
    double right = 0, kl = 0;
    for (const TaskItem& item : task.items) {
      std::vector<double> p, q;
      double sum_p = 0, sum_q = 0, best = -HUGE_VAL;
      size_t likeliest = 0;
      for (size_t c = 0; c < item.continuations.size(); ++c) {
        const std::string& text = item.continuations[c];
        p.push_back(std::exp(LogProbability(parent, item.contexts[0], text)));
        q.push_back(std::exp(LogProbability(model, item.contexts[0], text)));
        sum_p += p.back();
        sum_q += q.back();
        const double value =
            task.averages_norm ? std::log(q.back()) / static_cast<double>(text.size()) : q.back();
        if (value > best) likeliest = c;
        best = std::max(best, value);
      }
      right += likeliest == item.answer ? 1 : 0;
      for (size_t c = 0; c < p.size(); ++c)
        kl += p[c] / sum_p * std::log(p[c] / sum_p / (q[c] / sum_q));
    }
    all.accuracy += right / static_cast<double>(task.items.size()) / 2;
    all.kl += kl / static_cast<double>(task.items.size()) / 2;
  }
  return all;
}

class TaskScoresTest : public testing::Test {
 protected:
  TaskScoresTest() : parent_(ByteModel()), child_(With(parent_.weights(), 0, "ffn:none")) {
    tokens_ = TinyTokens(4, 16, 256);
    tokens_.vocab_size = parent_.config().vocab_size;  // beside the bytes
  }

  static ModelWeights With(const ModelWeights& model, int64_t layer, const std::string& variant) {
    ModelWeights replaced = Clone(model);
    const VariantSpec spec = ResolveVariant(variant, model.config, layer);
    Replace(replaced, layer, spec, InitVariant(model, layer, spec));
    return replaced;
  }

  Checkpoint CheckpointOf(const Transformer& model) const {
    return {model.weights(), MakeByteTokenizer()->files(), {}, {}};
  }

  Activations Capture(const Transformer& model, const std::string& name) {
    FakeInputs inputs;
    inputs.Add("parent", name, CheckpointOf(model)).Add("tokens", "t", tokens_);
    ActivationsParams params;
    params.dtype = "fp32";
    FakeContext context;
    const std::string path = folder_ / (name + ".h5");
    auto archive = Hdf5Format().create(path);
    RunActivations(params, inputs, context, *archive);
    archive->Close();
    return Activations::Load(Hdf5Format().open(path));
  }

  Block BlockOf(int64_t layer, const std::string& variant) const {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), layer);
    const SubBlockWeights weights = InitVariant(parent_.weights(), layer, spec);
    return {layer, variant, spec, false, weights, nullptr};
  }

  FakeInputs InputsFor(const Block& block) {
    FakeInputs inputs;
    inputs.Add("parent", "parent", CheckpointOf(parent_))
        .Add("activations", "states", Capture(parent_, "parent"))
        .Add("block", "block", block);
    return inputs;
  }

  Transformer parent_, child_;
  TokenSet tokens_;
  TempFolder folder_;
  FakeContext context_;
};

TEST_F(TaskScoresTest, AccuracyAndKlAreThoseOfTheDefinition) {
  const TaskSet set = Questions();
  const PlainFigures before = ByDefinition(set, parent_, parent_);
  EXPECT_NEAR(before.kl, 0, 1e-12);
  for (const char* variant : {"ffn:none", "attn:none", "ffn:8"}) {
    FakeInputs inputs = InputsFor(BlockOf(1, variant));
    inputs.Add("tasks", "tasks", set);
    const Score score = RunScore({}, inputs, context_);
    const PlainFigures after =
        ByDefinition(set, parent_, Transformer(With(parent_.weights(), 1, variant)));
    ASSERT_TRUE(score.tasks.has_value());
    EXPECT_NEAR(score.tasks->figures.accuracy.mean, after.accuracy, 1e-9) << variant;
    EXPECT_NEAR(score.tasks->figures.kl.mean, after.kl, 1e-4 * (1 + after.kl)) << variant;
    EXPECT_NEAR(score.tasks->increase.accuracy.mean, after.accuracy - before.accuracy, 1e-9);
    EXPECT_NEAR(score.tasks->increase.kl.mean, after.kl, 1e-4 * (1 + after.kl));
    EXPECT_EQ(score.tasks->figures.kl.tasks, 2);
    EXPECT_GT(after.kl, 1e-4) << "the variant changes nothing: the test would see nothing";
  }
}

TEST_F(TaskScoresTest, InAChildTheIncreaseIsThatOverTheChild) {
  const TaskSet set = Questions();
  FakeInputs inputs = InputsFor(BlockOf(1, "attn:none"));
  inputs.Add("tasks", "tasks", set)
      .Add("context", "child", CheckpointOf(child_))
      .Add("context_activations", "child states", Capture(child_, "child"));
  const Score score = RunScore({}, inputs, context_);
  const PlainFigures without = ByDefinition(set, parent_, child_);
  const PlainFigures with =
      ByDefinition(set, parent_, Transformer(With(child_.weights(), 1, "attn:none")));
  EXPECT_NEAR(score.tasks->figures.kl.mean, with.kl, 1e-4 * (1 + with.kl));
  EXPECT_NEAR(score.tasks->increase.kl.mean, with.kl - without.kl, 2e-4 * (1 + with.kl));
  EXPECT_NEAR(score.tasks->increase.accuracy.mean, with.accuracy - without.accuracy, 1e-9);
}

TEST_F(TaskScoresTest, WithoutTasksAScoreIsWhatItWas) {
  const FakeInputs plain = InputsFor(BlockOf(1, "ffn:none"));
  FakeInputs asked = plain;
  asked.Add("tasks", "tasks", Questions());
  const Score without = RunScore({}, plain, context_), with = RunScore({}, asked, context_);
  EXPECT_FALSE(without.tasks.has_value());
  EXPECT_EQ(without.metrics, with.metrics);
  EXPECT_EQ(without.increase, with.increase);
}

TEST_F(TaskScoresTest, SurvivesTheStore) {
  FakeInputs inputs = InputsFor(BlockOf(1, "ffn:none"));
  inputs.Add("tasks", "tasks", Questions());
  const Score score = RunScore({}, inputs, context_);
  const std::string path = folder_ / "score.h5";
  auto archive = Hdf5Format().create(path);
  score.Save(*archive);
  archive->Close();
  const Score loaded = Score::Load(Hdf5Format().open(path));
  ASSERT_TRUE(loaded.tasks.has_value());
  EXPECT_EQ(loaded.tasks->increase.kl.mean, score.tasks->increase.kl.mean);
  EXPECT_EQ(loaded.tasks->increase.accuracy.error, score.tasks->increase.accuracy.error);
  EXPECT_EQ(loaded.tasks->figures.accuracy.tasks, 2);
}

TEST_F(TaskScoresTest, ASearchFollowsWhatWasAskedFor) {
  // KL on text prefers to lose the attention, tasks prefer to lose the FFN.
  const std::vector<std::string> variants = {"attn:none", "ffn:none"};
  std::vector<Score> scores;
  for (const std::string& variant : variants) {
    Score score{1, variant, ResolveVariant(variant, parent_.config(), 1), {}, {}};
    score.increase.tokens = 1;
    score.increase.sum[static_cast<size_t>(Metric::kKl)] = variant == "attn:none" ? 0.1 : 0.5;
    score.tasks.emplace();
    score.tasks->increase.accuracy.mean = variant == "attn:none" ? -0.2 : -0.1;
    score.tasks->increase.kl.mean = variant == "attn:none" ? 0.7 : 0.3;
    scores.push_back(score);
  }
  const CostTable costs = CountCosts(parent_.config(), variants, 8, {});
  SearchParams params;
  params.compare = false;
  params.max = {{"block_parameters", costs.parent_total[0] - 1}};
  const auto dropped = [&](const std::string& objective) {
    params.objective = objective;
    const Choice choice = FindChild(params, {costs}, scores, [](const auto&) {}, {});
    std::string names;
    for (const Choice::Pick& pick : choice.picks)
      if (IsNone(pick.spec)) names += pick.variant + " ";
    return names;
  };
  EXPECT_EQ(dropped("kl"), "attn:none ");
  EXPECT_EQ(dropped("task_kl"), "ffn:none ");
  EXPECT_EQ(dropped("task_accuracy"), "ffn:none ");
  for (Score& score : scores) score.tasks.reset();
  EXPECT_THAT(ErrorOf([&] { (void)dropped("task_kl"); }),
              HasSubstr("no score has task_kl; connect `tasks`"));
}

TEST_F(TaskScoresTest, ATextIsNoQuestion) {
  TaskSet texts = Questions();
  texts.tasks[1].scoring = TaskScoring::kPerplexity;
  FakeInputs inputs = InputsFor(BlockOf(1, "ffn:none"));
  inputs.Add("tasks", "tasks", texts);
  EXPECT_THAT(ErrorOf([&] { (void)RunScore({}, inputs, context_); }),
              HasSubstr("task 1 is a text without questions"));
}

TEST_F(TaskScoresTest, AModelWithoutTokenizerCannotBeAsked) {
  FakeInputs mute;
  mute.Add("parent", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
      .Add("activations", "states", Capture(parent_, "parent"))
      .Add("block", "block", BlockOf(1, "ffn:none"))
      .Add("tasks", "tasks", Questions());
  EXPECT_THAT(ErrorOf([&] { (void)RunScore({}, mute, context_); }), HasSubstr("no tokenizer"));
}

}  // namespace
}  // namespace puzzle
