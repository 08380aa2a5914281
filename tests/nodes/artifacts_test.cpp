// Every artifact comes back from an archive as it went in.
#include "nodes/cost/artifacts.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/states/artifacts.h"
#include "nodes/train/artifacts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/surgery.h"
#include "model/unread.h"
#include "nodes/cost/bench.h"
#include "nodes/cost/cost.h"
#include "nodes/cost/latency.h"
#include "nodes/precision/artifacts.h"
#include "nodes/train/teacher_logits.h"
#include "tests/io/test_files.h"
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

// An archive as somebody else may write it.
template <class T>
T LoadedFrom(const std::function<void(ArchiveWriter&)>& write) {
  const TempFolder folder;
  const auto writer = Hdf5Format().create(folder / "a.h5");
  write(*writer);
  writer->Close();
  return T::Load(Hdf5Format().open(folder / "a.h5"));  // an open archive keeps its file
}

constexpr std::array<double, 64> kNothing = {};

TEST(ArtifactsTest, TokensAndTextOfAnotherTypeOrShapeAreRefused) {
  const auto tokens = [](DType dtype, const Shape& shape, int64_t length, DType mask) {
    return ErrorOf([&] {
      (void)LoadedFrom<TokenSet>([&](ArchiveWriter& out) {
        out.SetAttribute("length", length);
        out.SetAttribute("vocab_size", 40);
        out.Write("ids", {dtype, shape, kNothing.data()});
        out.Write("mask", {mask, shape, kNothing.data()});
      });
    });
  };
  EXPECT_EQ(tokens(DType::kI64, {2, 3}, 3, DType::kU8),
            "array \"ids\" is i64 of shape [2, 3], expected i32 of shape [2, 3]");
  EXPECT_THAT(tokens(DType::kI32, {2, 3}, 2, DType::kU8), testing::HasSubstr("expected i32 of"));
  EXPECT_THAT(tokens(DType::kI32, {2, 3}, 0, DType::kU8), testing::HasSubstr("sequences of 0"));
  EXPECT_THAT(tokens(DType::kI32, {}, 1, DType::kU8), testing::HasSubstr("ids of shape []"));
  EXPECT_THAT(tokens(DType::kI32, {2, 3}, 3, DType::kI64), testing::HasSubstr("\"mask\" is i64"));
  EXPECT_THAT(ErrorOf([] {
                (void)LoadedFrom<TextArtifact>([](ArchiveWriter& out) {
                  out.Write("text", {DType::kF64, {8}, kNothing.data()});
                });
              }),
              testing::HasSubstr("array \"text\" is f64 of shape [8], expected u8"));
}

TEST(ArtifactsTest, StatesOfAnotherTypeOrShapeAreRefused) {
  const auto activations = LoadedFrom<Activations>([](ArchiveWriter& out) {
    for (const auto& [name, size] :
         {std::pair{"states", 1}, {"sequences", 2}, {"length", 3}, {"hidden", 4}})
      out.SetAttribute(name, size);
    out.SetAttribute("dtype", "f32");
    out.SetAttribute("parent_digest", "d");
    out.Write("state/0000", {DType::kF32, {2, 3, 8}, kNothing.data()});
    out.Write("ids", {DType::kI64, {2, 3}, kNothing.data()});
  });
  EXPECT_THAT(ErrorOf([&] { (void)activations.Read(0, 0, 2); }),
              testing::HasSubstr("shape [2, 3, 8], expected f32 of shape [2, 3, 4]"));
  EXPECT_THAT(ErrorOf([&] { (void)activations.Ids(0, 2); }), testing::HasSubstr("\"ids\" is i64"));

  const auto logits = LoadedFrom<TeacherLogits>([](ArchiveWriter& out) {
    for (const auto& [name, size] :
         {std::pair{"sequences", 2}, {"length", 3}, {"vocab_size", 40}, {"k", 2}})
      out.SetAttribute(name, size);
    out.SetAttribute("parent_digest", "d");
    out.SetAttribute("tokens_digest", "d");
    out.Write("ids", {DType::kI32, {2, 2, 2}, kNothing.data()});
    out.Write("log_probabilities", {DType::kF16, {2, 2, 2}, kNothing.data()});
    out.Write("log_rests", {DType::kF32, {2, 2}, kNothing.data()});
  });
  EXPECT_THAT(ErrorOf([&] { (void)logits.Read({0}); }),
              testing::HasSubstr("array \"ids\" is i32 of shape [2, 2, 2], expected u16"));
}

TEST(ArtifactsTest, WeightsOfAnotherShapeThanTheConfigSaysAreRefused) {
  Checkpoint checkpoint{TinyModel(), {}, "", {}};
  checkpoint.model.config.vocab_size = 41;
  EXPECT_EQ(ErrorOf([&] {
              (void)LoadedFrom<Checkpoint>([&](ArchiveWriter& out) { checkpoint.Save(out); });
            }),
            "model.embed_tokens.weight has shape [40, 32], the config implies [41, 32]");
}

TEST(ArtifactsTest, TokenizerFilesHaveNamesThatStayInTheirFolder) {
  for (const char* name : {"../x.json", "/x.json", "config.json", "model.index.json", "x.py"}) {
    const Checkpoint checkpoint{TinyModel(TinyConfig()), {{name, "bytes"}}, "", {}};
    EXPECT_THROW(RoundTrip(checkpoint), Error) << name;
  }
}

TEST(ArtifactsTest, BlocksReadTheirWeightsWhenTheyAreUsed) {
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
  EXPECT_TRUE(std::get<FfnWeights>(back.Weights()).down.is_meta()) << "only when they are used";
  const auto a = Parameters(block.Weights(), block.spec),
             b = Parameters(InMemory(back.Weights()), back.spec);
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
    const auto a = Parameters(block.trained, block.spec),
               b = Parameters(InMemory(back.Weights()), back.spec);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i]));
  }
}

Score SomeScore() {
  Score score;
  score.layer = 2;
  score.variant = "attn:kv1";
  score.spec = AttentionSpec{SubBlockForm::kFull, 1};
  score.metrics = {10, {5, 6, 1, 2, 0.5, 3, 4, 5, 9}, {6, 7, 2, 3, 1, 3, 4, 5, 8}, 0.25};
  score.increase = {10, {1, 2, 3, 4, 5, 6, 7, 8, 9}, {9, 8, 7, 6, 5, 4, 3, 2, 1}, 0.125};
  return score;
}

TEST(ArtifactsTest, ScoresCostsChoicesAndEvaluations) {
  Score score = SomeScore();
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

// Attributes by name.
template <class T>
nlohmann::json SavedAttributes(const T& value) {
  const TempFolder folder;
  auto writer = Hdf5Format().create(folder / "a.h5");
  value.Save(*writer);
  writer->Close();
  const auto reader = Hdf5Format().open(folder / "a.h5");
  nlohmann::json all = nlohmann::json::object();
  for (const std::string& name : reader->AttributeNames()) all[name] = reader->Attribute(name);
  return all;
}

// Nothing that was saved is lost on the way. Returns what was.
template <class T>
nlohmann::json ExpectSavedAlike(const T& value) {
  const nlohmann::json saved = SavedAttributes(value);
  EXPECT_EQ(SavedAttributes(RoundTrip(value)), saved) << T::kType;
  return saved;
}

TEST(ArtifactsTest, WhatIsLoadedIsSavedAgainAlike) {
  Score score = SomeScore();
  score.products = "bf16";
  score.tasks = {{{0.5, 0.125, 3}, {0.25, 0.0625, 3}}, {{-0.5, 0.375, 3}, {0.75, 0.875, 3}}};
  nlohmann::json saved = ExpectSavedAlike(score);
  EXPECT_EQ(saved["layer"], 2);
  EXPECT_EQ(saved["variant"], "attn:kv1");
  EXPECT_EQ(saved["products"], "bf16");
  EXPECT_EQ(saved["task_count"], 3);
  EXPECT_EQ(saved["task_accuracy"], 0.5);
  EXPECT_EQ(saved["task_kl_se"], 0.0625);
  EXPECT_EQ(saved["task_accuracy_increase"], -0.5);
  EXPECT_EQ(saved["task_kl_increase_se"], 0.875);

  CostTable costs = CountCosts(TinyConfig(), {"ffn:50%"}, 8, {3, 5, 7, "fp32", "fp16", "fp8"});
  costs.timing = "measured on cpu";
  saved = ExpectSavedAlike(costs);
  EXPECT_EQ(saved["batch"], 3);
  EXPECT_EQ(saved["prefill"], 5);
  EXPECT_EQ(saved["generation"], 7);
  EXPECT_EQ(saved["weights"], "fp32");
  EXPECT_EQ(saved["activations"], "fp16");
  EXPECT_EQ(saved["kv"], "fp8");
  EXPECT_EQ(saved["timing"], "measured on cpu");

  Choice choice;
  choice.picks = {{1, "ffn:24", FfnSpec{SubBlockForm::kFull, 24}}};
  choice.method = "exact";
  choice.status = "optimal";
  choice.objective = 0.5;
  choice.bound = 0.25;
  choice.gap = 0.125;
  choice.minimized = "parameters";
  choice.loss_max = 0.75;
  choice.uniform = "all alike";
  choice.batch = 4;
  choice.timing = "measured";
  choice.totals = {{"parameters", 12}};
  choice.comparison = "a table\n";
  choice.bracket = {"parameters", 10, 20};
  saved = ExpectSavedAlike(choice);
  EXPECT_EQ(saved["minimized"], "parameters");
  EXPECT_EQ(saved["loss_max"], 0.75);
  EXPECT_EQ(saved["uniform"], "all alike");
  EXPECT_EQ(saved["parameters"], 12) << "a total of its own, for summaries";
  EXPECT_EQ(saved["display"], choice.Report());
  EXPECT_EQ(choice.Report(),
            "optimal (exact): least parameters 12, bound 0.25, gap 12.5 %; loss 0.500000 <= 0.75\n"
            "all alike\n"
            "looked for between parameters 10, which loses too much, and 20\n"
            "    parameters                           12\n"
            "    times: measured, batch 4\n" +
                choice.Listing() + "\na table\n");

  FrontierArtifact frontier;
  frontier.resource = "parameters";
  frontier.points = {{"70%", "exact", 4, "optimal", 0.5, 0.25, true, {{"parameters", 7}}, {"a"}}};
  frontier.table = "table\n";
  frontier.picture_svg = "<svg/>";
  saved = ExpectSavedAlike(frontier);
  EXPECT_EQ(saved["display"], "table\n");
  EXPECT_EQ(saved["picture_svg"], "<svg/>");
  EXPECT_EQ(saved["points"][0]["dominated"], true);

  Evaluation evaluation;
  evaluation.label = "child";
  evaluation.series = "greedy";
  evaluation.model_digest = "0123";
  evaluation.metrics = score.metrics;
  evaluation.has_kl = true;
  evaluation.predicted = 0.375;
  evaluation.tasks = {{"t", 3, 1, {{"acc", 0.25}, {"stderr", 0.125}, {"x", NAN}}, "acc", "010"}};
  evaluation.parameters = 1000;
  evaluation.block_parameters = 800;
  evaluation.weights_mib = 1.5;
  evaluation.products = "bf16";
  evaluation.prompt = "Once";
  evaluation.sample = "upon";
  saved = ExpectSavedAlike(evaluation);
  EXPECT_EQ(saved["predicted_kl"], 0.375);
  EXPECT_EQ(saved["task_accuracy"], 0.25);
  EXPECT_EQ(saved["task_accuracy_se"], 0.125);
  EXPECT_EQ(saved["products"], "bf16");
  EXPECT_EQ(saved["positions"], 10);
  for (const MetricInfo& info : AllMetrics()) {
    const std::string name(info.name);
    EXPECT_EQ(saved[name], score.metrics.Mean(info.metric)) << name;
    EXPECT_EQ(saved[name + "_se"], score.metrics.Error(info.metric)) << name;
  }
  EXPECT_TRUE(std::isnan(RoundTrip(evaluation).tasks[0].figures.at("x")));

  EXPECT_EQ(ExpectSavedAlike(ReportText{"text", "<svg/>"})["picture_svg"], "<svg/>");
  EXPECT_EQ(ExpectSavedAlike(ReportText{"text", ""})["display"], "text");
  EXPECT_EQ(ExpectSavedAlike(ExportManifest{"out", {{"a", 7}}})["files"],
            nlohmann::json({{"a", 7}}));

  Block block;
  block.layer = 1;
  block.variant = "ffn:100%";
  block.spec = ParentVariant(TinyConfig(), 1, SubBlock::kFfn);
  block.parents_own = true;
  block.init_loss = 0.5;
  block.loss = 0.25;
  saved = ExpectSavedAlike(block);
  EXPECT_EQ(saved["layer"], 1);
  EXPECT_EQ(saved["init_loss"], 0.5);

  PrecisionScore precision_score{"0123", "layer 0 ffn", "ffn:64", {{"q8_0", score.increase}}};
  EXPECT_EQ(ExpectSavedAlike(precision_score)["kl_increase@q8_0"],
            score.increase.Mean(Metric::kKl));
  Precision precision;
  precision.model_digest = "0123";
  precision.picks = {{"layer 0 ffn", "ffn:64", "q8_0", 0.5, 640}};
  precision.status = "optimal";
  precision.objective = 0.5;
  precision.bound = 0.25;
  precision.file_mib = 1.25;
  precision.comparison = "compared";
  EXPECT_EQ(ExpectSavedAlike(precision)["display"],
            "optimal: sum of scores 0.500000, bound 0.250000, 1.250 MiB\n"
            "layer 0:  ffn:64@q8_0\n\ncompared");

  Latencies latencies{"cpu", {2, 3, 4}, {{1, .5}, {2, .25}}, {{"attn:kv2", {{10, 1}, {3, 4}}}}};
  (void)ExpectSavedAlike(latencies);
  (void)ExpectSavedAlike(
      ModelLatency{"child", {2, 3, 4}, {{3, .5}, {4, .25}}, ServingTimes{{5, 0}, {6, 0}}});
  Bench bench;
  bench.options = {decode::WeightType::kInt8, true, 3, 4, 5, 6, 7};
  bench.results = {{"parent", {1, 2, 3}, {4, 5, 6}, {7, 8, 9}, 10, 11, 12, 0.5, 1, 1},
                   {"child", {2, 2, 3}, {5, 5, 6}, {8, 8, 9}, 9, 8, 7, 0.25, 2, 3}};
  saved = ExpectSavedAlike(bench);
  EXPECT_EQ(saved["dtype"], "int8");
  EXPECT_EQ(saved["ratio"], 2);
  EXPECT_EQ(saved["decode_tok_s"], 5);
  EXPECT_EQ(saved["first_token_ms"], 8);
}

}  // namespace
}  // namespace puzzle
