// What steps make of their ports and parameters, where the algorithm behind them is tested by
// itself: which parameter goes where, which inputs are taken, and what is said to the run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint_digest.h"
#include "model/files/hf_config.h"
#include "nodes/cost/cost.h"
#include "nodes/cost/latency.h"
#include "nodes/cost/speed_report.h"
#include "nodes/data/story_corpus.h"
#include "nodes/data/synthetic_text.h"
#include "nodes/measure/long_context.h"
#include "nodes/measure/report.h"
#include "nodes/measure/tasks.h"
#include "nodes/measure/verdict.h"
#include "nodes/search/bisect.h"
#include "nodes/search/block_library.h"
#include "nodes/search/cost_tables.h"
#include "nodes/search/export_library.h"
#include "nodes/search/search.h"
#include "nodes/search/sweep.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/report_row.h"
#include "tests/nodes/token_metrics.h"

namespace puzzle {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::vector<std::string> kVariantsOfSteps = {"attn:kv1", "attn:none", "ffn:50%", "ffn:none"};

Checkpoint TinyParent() {
  return {TinyModel(), {}, {}, {}};
}

// One that notices that a user wants to stop.
class StoppedContext final : public FakeContext {
 public:
  void Poll(double, std::string_view) override { throw Cancelled(); }
};

// ---- costs

CostTable CostsOf(const CostParams& params, FakeInputs inputs = {}) {
  FakeContext context;
  return RunCost(params, inputs.Add("parent", "p", TinyParent()), context);
}

TEST(CostStepTest, TheLoadIsThatOfTheParameters) {
  CostParams params;
  params.variants = kVariantsOfSteps;
  params.batch = 3;
  params.prefill = 10;
  params.generation = 6;
  params.weights = "fp32";
  params.activations = "fp16";
  params.kv = "fp8";
  const CostTable table = CostsOf(params);
  EXPECT_EQ(table.scenario.batch, 3);
  EXPECT_EQ(table.scenario.prefill_length, 10);
  EXPECT_EQ(table.scenario.generation_length, 6);
  EXPECT_EQ(table.scenario.weights, "fp32");
  EXPECT_EQ(table.scenario.activations, "fp16");
  EXPECT_EQ(table.scenario.kv, "fp8");
  EXPECT_EQ(table.timing, "");
  const CostTable expected = CountCosts(TinyConfig(), kVariantsOfSteps, 8, table.scenario);
  ASSERT_EQ(table.rows.size(), expected.rows.size());
  for (size_t i = 0; i < table.rows.size(); ++i) {
    EXPECT_EQ(table.rows[i].variant, expected.rows[i].variant);
    EXPECT_EQ(table.rows[i].costs, expected.rows[i].costs);
  }
  params.multiple_of = 48;  // of 48 channels: half of them are all
  EXPECT_EQ(CostsOf(params).rows.size(), expected.rows.size() - 2);
  params.compat = "puzzletron";
  EXPECT_EQ(CostsOf(params).fixed[1] - table.fixed[1], 40 * 32) << "the tied head counts there";
}

TEST(CostStepTest, AModelCanBeACheckpointOfWhichNoWeightIsThere) {
  const TempFolder folder;
  WriteWholeFile(folder / "config.json", ToHfJson(TinyConfig()).dump());
  CostParams params;
  params.variants = kVariantsOfSteps;
  const CostTable expected = CostsOf(params);
  params.path = folder.path();
  FakeContext context;
  const CostTable table = RunCost(params, FakeInputs(), context);
  EXPECT_EQ(ToHfJson(table.parent), ToHfJson(expected.parent));
  ASSERT_EQ(table.rows.size(), expected.rows.size());
  for (size_t i = 0; i < table.rows.size(); ++i)
    EXPECT_EQ(table.rows[i].costs, expected.rows[i].costs);

  const std::string digest = DigestConfig(folder.path());
  WriteWholeFile(folder / "model.safetensors", "no weights either");
  EXPECT_EQ(DigestConfig(folder.path()), digest) << "whatever the weights are";
  ModelConfig other = TinyConfig();
  other.blocks.back().ffn = {SubBlockForm::kNone, 0};
  WriteWholeFile(folder / "config.json", ToHfJson(other).dump());
  EXPECT_NE(DigestConfig(folder.path()), digest);
}

TEST(CostStepTest, TimesComeFromMeasurementsOrADevice) {
  const TempFolder folder;
  WriteWholeFile(folder / "toy.json", R"({"name": "Toy", "peak_tflops": {"bf16": 1},
                                         "bandwidth_gb_per_s": 10, "launch_us": 1})");
  CostParams params;
  params.variants = {"ffn:none"};
  params.device = folder / "toy.json";
  params.prefill = params.generation = 4;
  EXPECT_EQ(CostsOf(params).timing, "roofline estimate for Toy, not measured");
  Latencies latencies{"cpu", {1, 4, 4}, {{1, 0}, {0.5, 0}}, {}};
  for (const char* name : {"attn:kv2", "ffn:48", "ffn:none"})
    latencies.times[name] = {{2, 0}, {0.25, 0}};
  EXPECT_EQ(CostsOf(params, FakeInputs().Add("latencies", "l", latencies)).timing,
            "measured on cpu");
}

// One that remembers what it was told.
class WatchedContext final : public FakeContext {
 public:
  void Poll(double fraction, std::string_view) override { fractions.push_back(fraction); }
  std::vector<double> fractions;
};

TEST(LatencyStepTest, TellsHowFarItIs) {
  FakeInputs inputs;
  inputs.Add("parent", "p", TinyParent()).Add("model", "p", TinyParent());
  LatencyParams params;
  params.variants = {"attn:kv1"};
  params.prefill = params.generation = 3;
  params.seconds = 0;
  WatchedContext parts, whole;
  (void)RunLatency(params, inputs, parts);
  ModelLatencyParams model;
  model.prefill = model.generation = 3;
  model.seconds = 0;
  (void)RunModelLatency(model, inputs, whole);
  for (const WatchedContext* context : {&parts, &whole}) {
    const std::vector<double>& told = context->fractions;
    ASSERT_FALSE(told.empty());
    EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
    // Visits are as long as each other, and told of while they last.
    const std::set<double> visits(told.begin(), told.end());
    EXPECT_EQ(told.front(), 0);
    EXPECT_NEAR(told.back(), 1 - 1 / static_cast<double>(visits.size()), 1e-12);
  }
}

TEST(LatencyStepTest, EveryShapeIsMeasuredForTheLoadAndPredictsModels) {
  FakeInputs inputs;
  inputs.Add("parent", "p", TinyParent());
  LatencyParams params;
  params.variants = {"attn:kv1", "attn:kv2+ffn:50%"};
  params.batch = 2;
  params.prefill = 5;
  params.generation = 3;
  params.seconds = 0;
  FakeContext context;
  const Latencies latencies = RunLatency(params, inputs, context);
  std::vector<std::string> names;
  for (const auto& [name, times] : latencies.times) {
    names.push_back(name);
    EXPECT_GE(times.prefill.ms, 0) << name;  // a difference, which a busy machine may hide
  }
  EXPECT_THAT(names, ElementsAre("attn:kv1", "attn:kv2", "ffn:24", "ffn:48"));
  EXPECT_GT(latencies.outside.decode.ms, 0);
  EXPECT_EQ(latencies.device, "cpu");
  EXPECT_EQ(latencies.load.batch, 2);
  EXPECT_EQ(latencies.load.prefill, 5);
  EXPECT_EQ(latencies.load.generation, 3);

  ModelLatencyParams whole;
  whole.label = "child";
  whole.batch = 2;
  whole.prefill = 5;
  whole.generation = 3;
  whole.seconds = 0;
  FakeInputs model;
  model.Add("model", "p", TinyParent());
  const ModelLatency alone = RunModelLatency(whole, model, context);
  EXPECT_EQ(alone.label, "child");
  EXPECT_GT(alone.measured.prefill.ms, 0);
  EXPECT_FALSE(alone.predicted.has_value());
  model.Add("times", "t", latencies);
  EXPECT_EQ(RunModelLatency(whole, model, context).predicted,
            PredictTimes(TinyConfig(), latencies));
  for (int64_t ModelLatencyParams::*field :
       {&ModelLatencyParams::batch, &ModelLatencyParams::prefill,
        &ModelLatencyParams::generation}) {
    ModelLatencyParams other = whole;
    ++(other.*field);
    EXPECT_THAT(ErrorOf([&] { (void)RunModelLatency(other, model, context); }),
                HasSubstr("are for batch 2, prefill 5, generation 3; this step is for "));
  }
  FakeContext gpu({"cuda", 0});
  EXPECT_THAT(ErrorOf([&] { (void)RunLatency(params, inputs, gpu); }),
              HasSubstr("times are wanted for \"cpu\""));
  EXPECT_THAT(ErrorOf([&] { (void)RunModelLatency(whole, model, gpu); }),
              HasSubstr("times are wanted for \"cpu\""));
}

// ---- searches

class SearchStepTest : public testing::Test {
 protected:
  SearchStepTest() : costs_(CountCosts(TinyConfig(), kVariantsOfSteps, 8, {})) {
    double damage = 0.125;
    for (int64_t layer = 0; layer < 2; ++layer) {
      for (const std::string& variant : kVariantsOfSteps) {
        Score score;
        score.layer = layer;
        score.variant = variant;
        score.spec = ResolveVariant(variant, TinyConfig(), layer);
        score.increase = MetricsWith(Metric::kKl, damage);
        scores_.push_back(score);
        damage += 0.0625;
      }
    }
    Connect();
  }
  void Connect() {
    inputs_ = FakeInputs();
    inputs_.Add("costs", "c", costs_);
    for (const Score& score : scores_) inputs_.Add("scores", score.variant, score);
  }
  [[nodiscard]] Choice Direct(const SearchParams& params) const {
    return FindChild(params, {costs_}, scores_, [](const auto&) {}, {});
  }

  CostTable costs_;
  std::vector<Score> scores_;
  FakeInputs inputs_;
  FakeContext context_;
};

TEST_F(SearchStepTest, ASearchTakesAllCostsAndScores) {
  SearchParams params;
  params.max = {{"block_parameters", "60%"}};
  const Choice choice = RunSearch(params, inputs_, context_);
  EXPECT_EQ(choice.method, "exact");
  EXPECT_EQ(choice.totals, Direct(params).totals);
  EXPECT_EQ(choice.objective, Direct(params).objective);
  EXPECT_TRUE(context_.warnings.empty());
  params.method = "greedy";
  EXPECT_EQ(RunSearch(params, inputs_, context_).method, "greedy");
  scores_.pop_back();
  Connect();
  (void)RunSearch(params, inputs_, context_);
  EXPECT_THAT(context_.warnings,
              ElementsAre("layer 1 ffn: variant \"ffn:none\" has no kl and is left out"));
  // A batch size for each cost table.
  ServingScenario larger;
  larger.batch = costs_.scenario.batch + 7;
  inputs_.Add("costs", "d", CountCosts(TinyConfig(), kVariantsOfSteps, 8, larger));
  params.max = {{"kv_mib", costs_.parent_total[5]}};
  params.method = "exact";
  EXPECT_EQ(RunSearch(params, inputs_, context_).batch, costs_.scenario.batch);
}

TEST_F(SearchStepTest, ABisectionNeedsTheEvaluationOfWhatItChose) {
  BisectParams params;
  params.loss = {{"kl", 0.25}};
  params.from = "10%";
  const Choice first = RunBisect(params, inputs_, context_);
  const auto direct = [&](const MeasuredChild* before) {
    return NextToMeasure(params, costs_, scores_, before, nullptr, [](const auto&) {}, {});
  };
  EXPECT_EQ(first.totals, direct(nullptr).totals);
  inputs_.Add("previous", "p", first);
  MeasuredChild measured{first, {}};
  measured.evaluation.label = "child";
  measured.evaluation.has_kl = true;
  measured.evaluation.predicted = first.objective;
  measured.evaluation.block_parameters = static_cast<int64_t>(first.totals.at("block_parameters"));
  measured.evaluation.metrics = MetricsWith(Metric::kKl, 0.5);
  inputs_.Add("evaluation", "e", measured.evaluation);
  const Choice second = RunBisect(params, inputs_, context_);
  EXPECT_EQ(second.totals, direct(&measured).totals);
  EXPECT_EQ(second.bracket->fails, first.totals.at("block_parameters")) << "too much was lost";
  // Of task accuracy the parent's own is needed, at a port of its own.
  params.loss = {{"task_accuracy", 0.1}};
  const auto asked = [](double accuracy) {
    return std::vector<TaskResult>{{"t", 100, 0, {{"acc", accuracy}, {"stderr", 0}}, "acc", {}}};
  };
  measured.evaluation.tasks = asked(0.5);
  Evaluation parent;
  parent.label = "parent";
  parent.tasks = asked(0.55);
  FakeInputs with_tasks;
  with_tasks.Add("costs", "c", costs_).Add("previous", "p", first);
  for (const Score& score : scores_) with_tasks.Add("scores", score.variant, score);
  with_tasks.Add("evaluation", "e", measured.evaluation).Add("parent_evaluation", "q", parent);
  EXPECT_EQ(RunBisect(params, with_tasks, context_).bracket->keeps,
            first.totals.at("block_parameters"));
}

TEST_F(SearchStepTest, EveryPointOfASweepIsTheAnswerOfASearch) {
  SweepParams params;
  params.budgets = "block_parameters=40%..100%:4";
  params.baselines = {"greedy"};
  const FrontierArtifact frontier = RunSweep(params, inputs_, context_);
  EXPECT_EQ(frontier.resource, "block_parameters");
  EXPECT_THAT(frontier.picture_svg, HasSubstr("<svg"));
  std::map<std::string, int> points;
  for (const FrontierArtifact::Point& point : frontier.points) {
    ++points[point.method];
    if (point.method != "exact") continue;
    EXPECT_THAT(frontier.table, HasSubstr(point.budget));
    SearchParams search;
    search.compare = false;
    search.max = {{"block_parameters", point.budget}};
    const Choice expected = Direct(search);
    EXPECT_NEAR(point.objective, expected.objective, 1e-12) << point.budget;
    EXPECT_EQ(point.status, "optimal");
    EXPECT_LE(point.bound, point.objective);
    EXPECT_EQ(point.totals.at("block_parameters"), expected.totals.at("block_parameters"));
    std::vector<std::string> variants;
    for (const Choice::Pick& pick : expected.picks) variants.push_back(VariantName(pick.spec));
    std::vector<std::string> own;
    for (size_t g = 0; g < point.variants.size(); ++g)
      own.push_back(VariantName(
          ResolveVariant(point.variants[g], TinyConfig(), static_cast<int64_t>(g) / 2)));
    EXPECT_EQ(own, variants);
  }
  EXPECT_EQ(points, (std::map<std::string, int>{{"exact", 4}, {"greedy", 4}}));
  // Within the other limits.
  params.max = {{"kv_heads", 1}};
  for (const FrontierArtifact::Point& point : RunSweep(params, inputs_, context_).points) {
    if (!point.totals.empty()) {
      EXPECT_LE(point.totals.at("kv_heads"), 1);
    }
  }
  StoppedContext stopped;
  EXPECT_THROW((void)RunSweep(params, inputs_, stopped), Cancelled);
}

TEST_F(SearchStepTest, PointsOfASweepNameTheVariantsOfTheirOwnBatch) {
  ServingScenario larger;
  larger.batch = costs_.scenario.batch + 1;
  inputs_.Add("costs", "d", CountCosts(TinyConfig(), {"ffn:none"}, 8, larger));
  SweepParams params;
  params.budgets = "block_parameters=60%..90%:2";
  params.baselines = {};
  const FrontierArtifact frontier = RunSweep(params, inputs_, context_);
  ASSERT_EQ(frontier.points.size(), 4u);
  EXPECT_EQ(frontier.points[2].batch, 2);
  EXPECT_THAT(frontier.points[2].variants,
              ElementsAre("attn:kv2", "ffn:none", "attn:kv2", "ffn:none"))
      << "the other batch has ffn:50% in that place";
}

TEST_F(SearchStepTest, TheTimeThatASearchMayTakeIsThatOfItsParameter) {
  SearchParams search;
  search.max = {{"block_parameters", "60%"}};
  search.time_limit_s = 0;
  EXPECT_THAT(ErrorOf([&] { (void)RunSearch(search, inputs_, context_); }),
              HasSubstr("no child found"));
  BisectParams bisect;
  bisect.loss = {{"kl", 0.25}};
  bisect.time_limit_s = 0;
  EXPECT_THAT(ErrorOf([&] { (void)RunBisect(bisect, inputs_, context_); }),
              HasSubstr("no child found"));
  SweepParams sweep;
  sweep.budgets = "block_parameters=40%..90%:3";
  sweep.baselines = {};
  sweep.time_limit_s = 0;
  for (const FrontierArtifact::Point& point : RunSweep(sweep, inputs_, context_).points)
    EXPECT_NE(point.status, "optimal") << point.budget;
}

TEST_F(SearchStepTest, WhatIsDrawnIsDrawnBySeed) {
  SearchParams params;
  params.method = "random";
  params.compare = false;
  params.max = {{"block_parameters", "80%"}};
  std::set<double> found;
  for (params.seed = 1; params.seed <= 12; ++params.seed) {
    const Choice choice = RunSearch(params, inputs_, context_);
    EXPECT_EQ(choice.objective, Direct(params).objective);
    found.insert(choice.objective);
  }
  EXPECT_GT(found.size(), 1u);
}

TEST_F(SearchStepTest, ALibraryIsWrittenIntoItsFolder) {
  const TempFolder folder;
  const ExportManifest manifest = RunBlockLibrary({folder / "a/library"}, inputs_, context_);
  EXPECT_EQ(manifest.folder, folder / "a/library");
  const auto files = WriteBlockLibrary(BlockTableOf(costs_, scores_));
  ASSERT_EQ(manifest.files.size(), files.size());
  for (const auto& [name, text] : files) {
    EXPECT_EQ(manifest.files.at(name), text.size());
    EXPECT_EQ(ReadBytes(manifest.folder + "/" + name), text);
  }
}

// ---- texts for people

TEST(ReportStepTest, RowsStandInOrderAndSamplesAndFilesBehindThem) {
  Evaluation b = ReportRow("b", 500, 0.5);
  b.prompt = "Once";
  b.sample = "upon\na time";
  FakeInputs inputs;
  inputs.Add("rows", "1", b)
      .Add("rows", "2", ReportRow("z first", 1000, -1))
      .Add("rows", "3", ReportRow("a", 700, 0.25));
  ReportParams params;
  params.order = {"z first"};
  FakeContext context;
  ReportText report = RunReport(params, inputs, context);
  EXPECT_THAT(report.text, StartsWith("model"));
  const auto line = [&](const std::string& label) { return report.text.find("\n" + label + "  "); };
  EXPECT_LT(line("z first"), line("a      "));
  EXPECT_LT(line("a      "), line("b      "));
  EXPECT_NE(line("b      "), std::string::npos);
  EXPECT_THAT(report.text, HasSubstr("\nb continues \"Once\":\n    upon\n    a time\n"));
  EXPECT_EQ(report.picture_svg, "");
  Choice choice;
  choice.status = "optimal";
  choice.objective = 0.25;
  choice.picks = {{0, "ffn:none", FfnSpec{SubBlockForm::kNone, 0}}};
  choice.comparison = "compared\n";
  inputs.Add("choice", "c", choice)
      .Add("exported", "x", ExportManifest{"out/child", {{"config.json", 123}}});
  report = RunReport(params, inputs, context);
  EXPECT_THAT(report.text, HasSubstr("\nchild (optimal, sum of scores 0.2500):\n" +
                                     choice.Listing() + "\ncompared\n"));
  EXPECT_THAT(report.text, HasSubstr("\nwritten to out/child:\n    config.json"));
  EXPECT_THAT(report.text, HasSubstr(" 123 bytes\n"));
}

TEST(VerdictStepTest, AFindingStandsAboveItsClaimsAndTheTable) {
  FakeInputs inputs;
  const std::vector<Evaluation> rows = {ReportRow("a", 700, 0.25), ReportRow("b", 500, 0.5)};
  inputs.Add("rows", "1", rows[1]).Add("rows", "2", rows[0]);
  VerdictParams params;
  params.finding = "larger is better";
  params.better = nlohmann::json::parse(R"([["a", "b"]])");
  FakeContext context;
  const std::string text = RunVerdict(params, inputs, context).text;
  EXPECT_THAT(text, StartsWith("larger is better\n  confirmed  a better than b: kl 0.2500"));
  EXPECT_THAT(text, HasSubstr("  1 of 1 confirmed here, 0 refuted\n\n" + EvaluationTable(rows)));
}

// With more rows than a sort that is not stable leaves alone.
TEST(ReportStepTest, NamesakesStandAsThePortGivesThem) {
  std::vector<Evaluation> rows = {ReportRow("a", 10, 0.25), ReportRow("b", 10, 0.5)};
  for (int64_t size = 1000; size > 960; --size) rows.push_back(ReportRow("child", size, 0.5));
  FakeInputs inputs;
  for (const Evaluation& row : rows)
    inputs.Add("rows", fmt::format("{} {}", row.label, row.block_parameters), row);
  FakeContext context;
  EXPECT_THAT(RunReport({}, inputs, context).text, StartsWith(EvaluationTable(rows)));
  VerdictParams params;
  params.better = nlohmann::json::parse(R"([["a", "b"]])");
  EXPECT_THAT(RunVerdict(params, inputs, context).text, HasSubstr(EvaluationTable(rows)));
}

TEST(SpeedReportStepTest, TheTableIsOfAllEvaluationsAndBenches) {
  std::vector<Evaluation> rows = {ReportRow("parent", 1000, -1), ReportRow("child", 500, 0.5)};
  for (Evaluation& row : rows)
    row.tasks = {{"t", 100, 0, {{"acc", 0.5}, {"stderr", 0.01}}, "acc", {}}};
  Bench bench;
  BenchResult parent, child;
  parent.model = "parent";
  child.model = "child";
  parent.decode_tok_s = {100, 99, 101};
  child.decode_tok_s = {250, 249, 251};
  child.ratio = child.predicted_ratio = 2.5;
  bench.results = {parent, child};
  FakeInputs inputs;
  inputs.Add("evaluations", "1", rows[0])
      .Add("evaluations", "2", rows[1])
      .Add("benches", "b", bench);
  FakeContext context;
  EXPECT_EQ(RunSpeedReport({}, inputs, context).text, SpeedTable({}, rows, {bench}));
}

// ---- questions and texts

TEST(TasksStepTest, RowsAreChosenByPartAndLimit) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "rows/story");
  std::string rows;
  for (int i = 0; i < 5; ++i) rows += "{\"text\": \"w " + std::to_string(i) + "\"}\n";
  WriteWholeFile(folder / "rows/story/a.jsonl", rows);
  WriteWholeFile(folder / "story.json", R"({"score": "greedy", "context": "{text|before_last: }",
                                        "continuation": " {text|after_last: }"})");
  FakeContext context;
  const auto asked = [&](const std::string& part, int64_t limit) {
    TasksParams params;
    params.folder = folder.path();
    params.data = folder / "rows";
    params.tasks = {"story"};
    params.part = part;
    params.limit = limit;
    const TaskSet set = RunTasks(params, FakeInputs(), context);
    EXPECT_EQ(set.tasks.size(), 1u);
    std::string words;
    for (const TaskItem& item : set.tasks.front().items) words += item.continuations[0];
    return words;
  };
  EXPECT_EQ(asked("all", 0), " 0 1 2 3 4");
  EXPECT_EQ(asked("even", 0), " 0 2 4");
  EXPECT_EQ(asked("odd", 0), " 1 3");
  EXPECT_EQ(asked("odd", 1), " 1");
  EXPECT_THAT(ErrorOf([&] { (void)ReadTaskFile(folder.path(), "stry"); }),
              HasSubstr("there is no task \"stry\": "));
  EXPECT_THAT(ErrorOf([&] { (void)ReadTaskFile(folder.path(), "stry"); }),
              HasSubstr("did you mean \"story\"?"));
}

// A task that the program brings along is known by its name alone.
TEST(TasksStepTest, ShippedTasksNeedNoFile) {
  const TempFolder folder;
  ASSERT_TRUE(ShippedTasks().contains("piqa"));
  EXPECT_THAT(ErrorOf([&] { (void)ChosenTasks({"piqa"}, folder.path(), {}); }),
              HasSubstr("task \"piqa\": no rows: "));
  EXPECT_THAT(ErrorOf([&] { (void)ChosenTasks({"piqqa"}, folder.path(), {}); }),
              testing::AllOf(HasSubstr("piqqa"), HasSubstr("did you mean \"piqa\"?")));
  EXPECT_THAT(ErrorOf([&] { (void)ChosenTasks({"all"}, folder.path(), {}); }),
              HasSubstr("holds rows of no task that is shipped"));
}

TEST(TasksStepTest, EveryTaskThatIsNamedIsAskedInItsPlace) {
  const TempFolder folder;
  std::vector<std::string> files;
  for (const char* name : {"tale", "story"}) {
    const std::string rows = folder / (std::string("rows/") + name);
    std::filesystem::create_directories(rows);
    WriteWholeFile(rows + "/a.jsonl", "{\"text\": \"once there\"}\n");
    files.push_back(folder / (std::string(name) + ".json"));
    WriteWholeFile(files.back(), R"({"score": "greedy", "context": "{text|before_last: }",
                                     "continuation": " {text|after_last: }"})");
  }
  const auto names = [&](const std::vector<std::string>& wanted) {
    std::vector<std::string> found;
    for (const Task& task : ChosenTasks(wanted, folder / "rows", {})) found.push_back(task.name);
    return found;
  };
  EXPECT_THAT(names(files), ElementsAre("tale", "story"));
  EXPECT_THAT(names({files[1]}), ElementsAre("story"));
  EXPECT_THAT(ErrorOf([&] {
                (void)names({files[0], files[1], files[0]});
              }),
              HasSubstr("task \"tale\" is named twice"));
  WriteWholeFile(folder / "notes.txt", "no task");
  EXPECT_THAT(ErrorOf([&] { (void)ReadTaskFile(folder.path(), "hellaswag"); }),
              testing::EndsWith("; there are story, tale"));
}

TEST(LongContextStepTest, EveryFormIsAskedInEveryLength) {
  Checkpoint model = TinyParent();
  LongContextParams params;
  params.forms = {"words", "needle"};
  params.lengths = {300, 256};
  params.questions = 3;
  params.seed = 5;
  FakeContext context;
  EXPECT_THAT(ErrorOf([&] {
                (void)RunLongContext(params, FakeInputs().Add("model", "m", model), context);
              }),
              HasSubstr("the model brought no tokenizer"));
  const auto tokenizer = MakeByteTokenizer();
  model.tokenizer_files = tokenizer->files();
  const TaskSet set = RunLongContext(params, FakeInputs().Add("model", "m", model), context);
  std::vector<std::string> names;
  for (const Task& task : set.tasks) {
    names.push_back(task.name);
    EXPECT_EQ(task.items.size(), 3u);
  }
  EXPECT_THAT(names, ElementsAre("words 300", "words 256", "needle 300", "needle 256"));
  EXPECT_EQ(set.tasks[2], MakeLongContext("needle", 300, 3, 5, *tokenizer));
}

TEST(SyntheticTextStepTest, StoriesAreThoseOfTheSeed) {
  SyntheticTextParams params;
  params.stories = 5;
  params.seed = 2;
  FakeContext context;
  const std::string text = RunSyntheticText(params, FakeInputs(), context).text;
  EXPECT_EQ(text, GenerateStories({5, 2}));
  EXPECT_NE(text, GenerateStories({5, 1}));
}

}  // namespace
}  // namespace puzzle
