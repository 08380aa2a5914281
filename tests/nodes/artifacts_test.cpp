// Every artifact comes back from an archive as it went in.
#include "nodes/cost/artifacts.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/states/artifacts.h"
#include "nodes/train/artifacts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/surgery.h"
#include "model/unread.h"
#include "nodes/cost/cost.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

template <class T>
T RoundTrip(const T& value, const std::function<void(ArchiveWriter&)>& add = {}) {
  std::string name = (std::filesystem::temp_directory_path() / "puzzle_artifact_XXXXXX").string();
  const std::string folder = mkdtemp(name.data());
  auto writer = Hdf5Format().create(folder + "/a.h5");
  value.Save(*writer);
  if (add) add(*writer);
  writer->Close();
  const T loaded = T::Load(Hdf5Format().open(folder + "/a.h5"));
  std::filesystem::remove_all(folder);  // an open archive keeps its file
  return loaded;
}

TEST(ArtifactsTest, TextAndTokens) {
  EXPECT_EQ(RoundTrip(TextArtifact{"Grüße\n"}).text, "Grüße\n");
  const TokenSet tokens{{1, 2, 3, 4, 5, 6}, 3, 40, {{"byte_tokenizer.json", "{}"}}, {}};
  const TokenSet back = RoundTrip(tokens);
  EXPECT_EQ(back.ids, tokens.ids);
  EXPECT_EQ(back.length, 3);
  EXPECT_EQ(back.vocab_size, 40);
  EXPECT_EQ(back.tokenizer_files, tokens.tokenizer_files);
  EXPECT_TRUE(back.mask.empty());
  TokenSet masked = tokens;
  masked.mask = {0, 1, 1, 0, 0, 1};
  EXPECT_EQ(RoundTrip(masked).mask, masked.mask);
}

TEST(ArtifactsTest, HeterogeneousCheckpoint) {
  ModelConfig config = TinyConfig();
  config.blocks[0] = {{SubBlockForm::kLinear, 0}, {SubBlockForm::kNone, 0}};
  Checkpoint checkpoint{
      TinyModel(config), {{"tokenizer.json", "bytes"}}, "{\"a\": 1}", {{"loss", 0.25}}};
  Checkpoint back = RoundTrip(checkpoint);
  EXPECT_EQ(back.model.config, config);
  EXPECT_EQ(back.figures, checkpoint.figures);
  EXPECT_EQ(back.generation_config, checkpoint.generation_config);
  EXPECT_EQ(back.tokenizer_files, checkpoint.tokenizer_files);
  const auto a = Parameters(checkpoint.model), b = Parameters(back.model);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(InMemory(b[i])));
}

TEST(ArtifactsTest, TokenizerFilesHaveNamesThatStayInTheirFolder) {
  for (const char* name : {"../x.json", "/x.json", "config.json", "model.index.json", "x.py"}) {
    const Checkpoint checkpoint{TinyModel(TinyConfig()), {{name, "bytes"}}, "", {}};
    EXPECT_THROW(RoundTrip(checkpoint), Error) << name;
  }
}

TEST(ArtifactsTest, BlocksReadTheirWeightsWhenAsked) {
  const ModelWeights parent = TinyModel();
  Block block;
  block.layer = 1;
  block.variant = "ffn:50%";
  block.spec = ResolveVariant(block.variant, parent.config, 1);
  block.trained = InitVariant(parent, 1, block.spec);
  block.loss = 0.5;
  const Block back = RoundTrip(block);
  EXPECT_EQ(back.spec, block.spec);
  EXPECT_EQ(back.loss, 0.5);
  const auto a = Parameters(block.Weights(), block.spec), b = Parameters(back.Weights(), back.spec);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i]));
}

TEST(ArtifactsTest, WholeBlocksComeBackWithBothSubBlocks) {
  const ModelWeights parent = TinyModel();
  for (const char* name : {"attn:kv1+ffn:50%", "attn:none+ffn:linear", "none"}) {
    Block block;
    block.variant = name;
    block.spec = ResolveVariant(name, parent.config, 0);
    block.trained = InitVariant(parent, 0, block.spec);
    const Block back = RoundTrip(block);
    EXPECT_EQ(back.spec, block.spec);
    const auto a = Parameters(block.trained, block.spec), b = Parameters(back.Weights(), back.spec);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i]));
  }
}

TEST(ArtifactsTest, ScoresCostsChoicesAndEvaluations) {
  Score score;
  score.layer = 2;
  score.variant = "attn:kv1";
  score.spec = AttentionSpec{SubBlockForm::kFull, 1};
  score.metrics = {10, {5, 6, 1, 2, 0.5, 3, 4, 5, 9}, {6, 7, 2, 3, 1, 3, 4, 5, 8}, 0.25};
  score.increase = {10, {1, 2, 3, 4, 5, 6, 7, 8, 9}, {9, 8, 7, 6, 5, 4, 3, 2, 1}, 0.125};
  const Score score_back = RoundTrip(score);
  EXPECT_EQ(score_back.spec, score.spec);
  EXPECT_EQ(score_back.metrics, score.metrics);
  EXPECT_EQ(score_back.increase, score.increase);
  EXPECT_EQ(score_back.products, "fp32");
  score.products = "bf16";
  EXPECT_EQ(RoundTrip(score).products, "bf16");

  const CostTable costs = CountCosts(TinyConfig(), {"ffn:50%", "attn:none"}, 8, {});
  const CostTable costs_back = RoundTrip(costs);
  EXPECT_EQ(costs_back.parent, costs.parent);
  EXPECT_EQ(costs_back.parent_total, costs.parent_total);
  ASSERT_EQ(costs_back.rows.size(), costs.rows.size());
  EXPECT_EQ(costs_back.rows[1].costs, costs.rows[1].costs);
  EXPECT_EQ(costs_back.rows[1].spec, costs.rows[1].spec);

  Choice choice;
  choice.picks = {{0, "attn:none", AttentionSpec{SubBlockForm::kNone, 0}},
                  {0, "ffn:24", FfnSpec{SubBlockForm::kFull, 24}}};
  choice.status = "optimal";
  choice.totals = {{"parameters", 12}};
  const Choice choice_back = RoundTrip(choice);
  EXPECT_EQ(choice_back.Listing(), "block_0:  attention none    ffn 24\n");
  EXPECT_EQ(choice_back.totals, choice.totals);
  choice.picks = {{0, "attn:kv1+ffn:24", ResolveVariant("attn:kv1+ffn:24", TinyConfig(), 0)},
                  {1, "none", ResolveVariant("none", TinyConfig(), 1)}};
  EXPECT_EQ(RoundTrip(choice).Listing(),
            "block_0:  attention kv1     ffn 24      coupled\n"
            "block_1:  attention none    ffn none\n");

  Evaluation evaluation;
  evaluation.label = "child";
  evaluation.model_digest = "0123";
  evaluation.metrics = score.metrics;
  evaluation.has_kl = true;
  evaluation.tasks = {
      {"lambada", 3, 1, {{"acc", 0.25}, {"stderr", 0.1}, {"ppl", HUGE_VAL}}, "acc", "010"},
      {"wikitext2", 40, 0, {{"token_ppl", 20.5}}, "", ""}};
  evaluation.sample = "abc";
  evaluation.series = "greedy";
  const Evaluation evaluation_back = RoundTrip(evaluation);
  EXPECT_EQ(evaluation_back.series, "greedy");
  EXPECT_EQ(evaluation_back.model_digest, "0123");
  EXPECT_EQ(evaluation_back.metrics, evaluation.metrics);
  EXPECT_EQ(evaluation_back.tasks, evaluation.tasks);
  EXPECT_EQ(evaluation_back.sample, "abc");
}

TEST(ArtifactsTest, EvaluationsFromBeforeThereWereTasksKeepTheirQuestions) {
  Evaluation old;
  old.metrics = {10, {5, 6, 1, 2, 0.5, 3, 4, 5, 9}, {6, 7, 2, 3, 1, 3, 4, 5, 8}, 0.25};
  const Evaluation back = RoundTrip(old, [](ArchiveWriter& out) {
    out.SetAttribute("questions", 40);
    out.SetAttribute("questions_right", 30);
  });
  ASSERT_EQ(back.tasks.size(), 1);
  EXPECT_EQ(back.tasks[0].name, "questions");
  EXPECT_EQ(back.tasks[0].n, 40);
  EXPECT_DOUBLE_EQ(back.tasks[0].Accuracy(), 0.75);
}

TEST(ArtifactsTest, TasksComeBack) {
  TaskSet set;
  set.tasks = {{"t", TaskScoring::kChoices, true, {{{"a\nb"}, {" c", " é"}, {1, 2}, 1}}, 0, 0, ""},
               {"w", TaskScoring::kPerplexity, false, {}, 2048, 3, "some text"}};
  EXPECT_EQ(RoundTrip(set).tasks, set.tasks);
}

TEST(ArtifactsTest, ImportanceWithLayersThatHaveNone) {
  Importance importance;
  importance.channel_order = {at::tensor({2, 0, 1}, at::kLong), at::Tensor()};
  importance.head_scores = {at::Tensor(), at::tensor({0.5f, 1.0f})};
  const Importance back = RoundTrip(importance);
  EXPECT_TRUE(back.channel_order[0].equal(importance.channel_order[0]));
  EXPECT_FALSE(back.channel_order[1].defined());
  EXPECT_TRUE(back.head_scores[1].equal(importance.head_scores[1]));
}

}  // namespace
}  // namespace puzzle
