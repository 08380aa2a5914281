// The page of `puzzle report`: well-formed, without script whatever anything is called, every
// figure as CSV, and honest about what is missing.
#include "apps/report/report_page.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/report/report.h"
#include "apps/report/report_charts.h"
#include "graph/store/store.h"
#include "io/file.h"
#include "io/hdf5_archive.h"
#include "nodes/catalogue.h"
#include "nodes/measure/plot.h"
#include "tests/graph/xml_check.h"
#include "tests/io/temp_folder.h"

namespace puzzle {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kEvil = "</pre></textarea><script>alert(1)</script>&\"'";

class ReportPageTest : public ::testing::Test {
 protected:
  ReportPageTest() {
    const auto text = std::make_shared<const JsonText>(JsonText::Parse(
        R"({"puzzle": 1, "nodes": {"stories": {"kind": "synthetic_text"},
            "more": {"kind": "synthetic_text", "doc": "<script>alert(2)</script>"}}})",
        "g.json"));
    Diagnostics diagnostics;
    plan_ = MakePlan(ParseSpec(text, {}, diagnostics), registry_, {}, diagnostics);
    EXPECT_TRUE(diagnostics.empty()) << diagnostics.Text();
    forecast_.steps.resize(plan_.steps.size());
    head_ = {"g.json", "puzzle run g.json", "puzzle 0", "today"};
  }

  std::string Page() {
    std::string page = ReportPage(plan_, forecast_, data_, head_);
    EXPECT_EQ(testing::XmlMistake(page), "");
    EXPECT_THAT(page, Not(HasSubstr("<script")));
    for (const char* address : {"src=\"http", "href=\"http", "url(", "@import"})
      EXPECT_THAT(page, Not(HasSubstr(address)));
    return page;
  }

  void AddModels() {
    ReportedModel parent{"parent_quality", "parent", "", 1000, 800, 4, {}, {}, {}, "Once", " upon"};
    parent.figures = {{"nll", 1.5}, {"nll_se", 0.01}, {"token_accuracy_top_1", 0.5}};
    parent.tasks = {{"piqa", "acc", 0.75, 0.02, 100}};
    ReportedModel child = parent;
    child.label = "75%, \"distilled\"";
    child.series = "searched";
    child.block_parameters = 600;
    child.figures["kl"] = 0.125;
    child.figures["kl_se"] = 0.003;
    child.sample = kEvil;
    data_.models = {child, parent};
  }

  void AddLayers() {
    data_.layers = {{100, 300, 1, 2, "attn:kv2", "ffn:64"}, {100, 300, 1, 2, "attn:kv2", "ffn:64"}};
    data_.variants = {{0, "ffn:50%", 0.4, 0.2, 0.03125, 0.001, 0.02, 150.0, 1.0},
                      {1, "ffn:50%", 0.4, 0.2, 0.5, 0.001, 0.02, 150.0, 1.0}};
    data_.choices = {{"choice[budget=75%]",
                      "exact",
                      "optimal",
                      0.03,
                      {{0, "attn:kv2", "attn"}, {0, "ffn:50%", "ffn"}, {1, "none", "block"}},
                      {}}};
  }

  const Registry registry_{PuzzleKinds()};
  Plan plan_;
  Forecast forecast_;
  ReportData data_;
  ReportHead head_;
};

TEST_F(ReportPageTest, ModelsAreATableBarsAFrontierAndCsv) {
  AddModels();
  const std::string page = Page();
  EXPECT_THAT(page,
              HasSubstr("<td>parent</td><td class=\"n\">1000</td><td class=\"n\">100.0%</td>"));
  EXPECT_THAT(page, HasSubstr("<td class=\"n\">75.0%</td>"));
  // CSV: a quote is doubled, all digits are there.
  EXPECT_THAT(page, HasSubstr("parent_quality,&quot;75%, &quot;&quot;distilled&quot;&quot;&quot;,"
                              "searched,1000,600,4,1.5,0.01,0.125,0.003,"));
  EXPECT_THAT(
      page,
      HasSubstr("searched,&quot;75%, &quot;&quot;distilled&quot;&quot;&quot;,75,0.125,0.003"));
  EXPECT_THAT(page, HasSubstr("parent,piqa,acc,0.75,0.02,100"));
  EXPECT_LT(page.find("<td>parent</td>"), page.find("<td>75%, "));  // the parent first
  for (const char* section : {"models", "frontier", "tasks", "samples", "graph", "configuration"})
    EXPECT_THAT(page, HasSubstr("<section id=\"" + std::string(section) + "\">"));
}

TEST_F(ReportPageTest, LayersShowWhatWasChosenBesideWhatItLoses) {
  AddLayers();
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("What was chosen"));
  EXPECT_THAT(page, HasSubstr("What a variant loses"));
  EXPECT_THAT(page, HasSubstr("choice[budget=75%],exact,0,ffn,ffn:50%,0.5\n"));
  EXPECT_THAT(page, HasSubstr("choice[budget=75%],exact,0,attn,attn:kv2,1\n"));
  EXPECT_THAT(page, HasSubstr("1,ffn:50%,0.5,0.001,0.02,0.4,0.2,150,1\n"));
  // The cost by layer: all of the parent, then what the choice leaves.
  EXPECT_THAT(page, HasSubstr("0,parent,100,300,1,2\n0,choice[budget=75%],100,150,,\n"));
  data_.choices.front().method = "cbc";  // the other solver
  EXPECT_THAT(Page(), HasSubstr("0,parent,100,300,1,2\n0,choice[budget=75%],100,150,,\n"));
}

TEST_F(ReportPageTest, NothingThatAnybodyWroteIsMarkup) {
  AddModels();
  AddLayers();
  for (ReportedModel& model : data_.models) model.label = model.series = model.prompt = kEvil;
  for (ReportedVariant& variant : data_.variants) variant.variant = kEvil;
  data_.choices.front().step = data_.choices.front().picks.front().variant = kEvil;
  data_.models.front().tasks.front().name = kEvil;
  data_.trainings = {{kEvil, {{"loss", 1}}, {{0.5, 1.0}, {1.0, 0.5}}, {}}};
  data_.block_curves = {{std::string("blocks[variant=") + kEvil + "]", {{0.5, 1.0}}}};
  data_.steps = {{kEvil, kEvil, kEvil, kEvil, kEvil, kEvil, kEvil, 1, 1, 1}};
  data_.pictures = {{kEvil, "<svg onload=\"alert(1)\"/>"}};
  data_.environment = {{kEvil, kEvil}};
  data_.files = {{kEvil, kEvil}};
  head_ = {kEvil, kEvil, kEvil, kEvil};
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_THAT(page, Not(HasSubstr("onload")));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
}

TEST_F(ReportPageTest, AnEmptyStoreIsAShortPageThatSaysWhatToRun) {
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("2 steps have no result yet"));
  EXPECT_THAT(page, HasSubstr("puzzle run g.json"));
  EXPECT_THAT(page, Not(HasSubstr("id=\"models\"")));
}

// A store that others wrote says what it likes: a table of 10^15 rows is not made of it.
TEST_F(ReportPageTest, LayersThatNoModelHasAreLeftOut) {
  const TempFolder folder;
  Store store(folder / "store", Hdf5Format());
  const std::vector<nlohmann::json> layers = {1e15, 1e300, -1, 4096, "3", 3};
  std::vector<Record> records;
  for (size_t i = 0; i < layers.size(); ++i) {
    auto draft = store.Begin();
    draft->writer().SetAttribute("variant", "ffn:50%");
    draft->writer().SetAttribute("layer", layers[i]);
    draft->writer().SetAttribute("kl_increase", 0.5);
    draft->Close();
    RecordDraft record;
    record.key = std::string(63, 'a') + std::to_string(i);
    record.step = "stories";
    record.kind = record.type = "score";
    record.recipe_json = "{}";
    record.scalars_json = draft->scalars_json();
    records.push_back(store.Publish(std::move(draft), std::move(record), {}));
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    forecast_.steps[0].fate = Fate::kHit;
    forecast_.steps[0].record = records[i];
    data_ = CollectReport(plan_, forecast_, store, "");
    EXPECT_EQ(data_.variants.size(), layers[i] == 3 ? 1u : 0u) << layers[i];
    EXPECT_EQ(data_.steps[0].state, "found");
    (void)Page();
  }
}

// Without an events file, from what the records keep.
TEST_F(ReportPageTest, CurvesOfLossesAreThoseOfTheRecords) {
  const TempFolder folder;
  Store store(folder / "store", Hdf5Format());
  auto draft = store.Begin();
  draft->writer().SetAttribute("variant", "ffn:50%");
  draft->writer().SetAttribute("layer", 3);
  draft->Close();
  RecordDraft record;
  record.key = std::string(64, 'a');
  record.step = "stories";
  record.kind = "bld";
  record.type = "block";
  record.recipe_json = "{}";
  record.scalars_json = draft->scalars_json();
  record.curves_json = R"({"loss":[[0.1,0.75],[1,0.25]],"other":[[1,2]]})";
  forecast_.steps[0].fate = Fate::kHit;
  forecast_.steps[0].record = store.Publish(std::move(draft), std::move(record), {});
  data_ = CollectReport(plan_, forecast_, store, "");
  EXPECT_EQ(data_.block_curves["stories"], (ReportedCurve{{0.1, 0.75}, {1, 0.25}}));
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("Block by block: loss while they learn"));
  EXPECT_THAT(page, HasSubstr("stories,loss,0.1,0.75\nstories,loss,1,0.25\n"));
  // An events file has more points of the steps that it knows, and takes nothing away.
  WriteWholeFile(
      folder / "events.jsonl",
      R"({"event":"step_progress","step":"other","kind":"bld","fraction":0.5,"note":"loss 2"})"
      "\n");
  data_ = CollectReport(plan_, forecast_, store, folder / "events.jsonl");
  EXPECT_EQ(data_.block_curves["stories"].size(), 2u);
  EXPECT_EQ(data_.block_curves["other"], (ReportedCurve{{0.5, 2}}));
}

TEST_F(ReportPageTest, ACurveOfAWholeModelIsDrawnBesideWhatWasHeldOut) {
  data_.trainings = {{"student", {{"loss", 1}}, {{0.5, 1.0}, {1.0, 0.5}}, {{1.0, 0.625}}}};
  const std::string page = Page();
  EXPECT_THAT(page,
              HasSubstr("student,loss,0.5,1\nstudent,loss,1,0.5\nstudent,held out,1,0.625\n"));
  EXPECT_THAT(page, HasSubstr("student, held out"));
  EXPECT_THAT(page, Not(HasSubstr("No curves")));
  data_.trainings.front().curve = data_.trainings.front().held_out = {};
  EXPECT_THAT(Page(), HasSubstr("No curves"));
}

TEST_F(ReportPageTest, FiguresOfModelsStandBesideTheParents) {
  AddModels();
  data_.models.front().figures["token_accuracy_top_1"] = 0.25;
  data_.models.front().figures["token_accuracy_top_1_se"] = 0.05;
  data_.models.front().tasks = {{"lambada", "ppl", 31, 0, 100}, {"piqa", "acc", 0.5, 0.03, 100}};
  data_.models.back().tasks.insert(data_.models.back().tasks.begin(),
                                   {"lambada", "ppl", 20, 0, 100});
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("<td>75%, &quot;distilled&quot;</td><td class=\"n\">1000</td>"
                              "<td class=\"n\">75.0%</td><td class=\"n\">4.00</td>"
                              "<td class=\"n\">1.5000 \xc2\xb1"
                              "0.0100</td><td class=\"n\">0.1250 \xc2\xb1"
                              "0.0030</td><td class=\"n\">0.250 \xc2\xb1"
                              "0.050</td><td class=\"n\">-</td><td class=\"n\">-</td></tr>"));
  const std::string child = "75%, \"distilled\"";
  EXPECT_THAT(page, HasSubstr(BarChartSvg({{"parent", child},
                                           {"block parameters, % of the parent's",
                                            "top-1 accuracy, % of the "
                                            "parent's"},
                                           {{BarChart::Value{100, 0}, BarChart::Value{100, 0}},
                                            {BarChart::Value{75, 0}, BarChart::Value{50, 10}}},
                                           ""})));
  // Perplexities are no accuracies: only in the CSV.
  EXPECT_THAT(page,
              HasSubstr(BarChartSvg({{"piqa acc"},
                                     {"parent", child},
                                     {{BarChart::Value{0.75, 0.02}, BarChart::Value{0.5, 0.03}}},
                                     ""})));
  EXPECT_THAT(page, HasSubstr(",lambada,ppl,31,0,100\n"));
  PlotSeries searched{"searched", {{75, 0.125, 0.003}}};
  EXPECT_THAT(
      page,
      HasSubstr(PlotSvg({"block parameters, % of the parent's", "KL to the parent", {searched}})));
  for (const char* card : {"<b>1000</b>parameters of the parent", "<b>1.5</b>its NLL",
                           "<b>1</b>children measured", "<b>0 of 2</b>steps have their results"})
    EXPECT_THAT(page, HasSubstr(card));
}

TEST_F(ReportPageTest, ChoicesLeaveWhatTheyPickAndBaselinesAreFiguresOnly) {
  AddLayers();
  data_.choices.push_back({"inner/memory_choice[budget=50%]",
                           "exact",
                           "optimal",
                           0.1,
                           {{0, "attn:kv2", "attn"}, {0, "ffn:none", "ffn"}},
                           {}});
  data_.choices.push_back(
      {"greedy_choice[budget=50%]", "greedy", "feasible", 0.2, {{1, "ffn:50%", "ffn"}}, {}});
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("layer,model,attention_parameters,ffn_parameters,attention_mib,"
                              "ffn_mib\n"
                              "0,parent,100,300,1,2\n0,choice[budget=75%],100,150,,\n"
                              "0,inner/memory_choice[budget=50%],100,,,\n"
                              "1,parent,100,300,1,2\n1,choice[budget=75%],0,0,,\n"
                              "1,inner/memory_choice[budget=50%],,,,\n"));
  // Nothing says what ffn:none costs here, nor what became of layer 1.
  EXPECT_THAT(page, HasSubstr("inner/memory_choice[budget=50%],exact,0,ffn,ffn:none,\n"));
  EXPECT_THAT(page, HasSubstr("choice[budget=75%],exact,1,block,none,0\n"));
  EXPECT_THAT(page, HasSubstr("greedy_choice[budget=50%],greedy,1,ffn,ffn:50%,0.5\n"));
  EXPECT_THAT(page, HasSubstr(StackedBarsSvg({{"layer 0", "layer 1"},
                                              {"attention, KV cache included", "FFN"},
                                              {{1, 2}, {1, 2}},
                                              " MiB"})));
  EXPECT_THAT(page,
              HasSubstr(HeatMapSvg({{"parent", "75%", "mem 50%"},
                                    {"layer 0", "layer 1"},
                                    {{400.0, 250.0, std::nullopt}, {400.0, 0.0, std::nullopt}},
                                    {{"400", "250", ""}, {"400", "0", ""}},
                                    false,
                                    " parameters"})));
  EXPECT_THAT(
      page,
      HasSubstr(HeatMapSvg({{"75% attn", "75% ffn", "mem 50% attn", "mem 50% ffn"},
                            {"layer 0", "layer 1"},
                            {{1.0, 0.5, 1.0, std::nullopt}, {0.0, 0.0, std::nullopt, std::nullopt}},
                            {{"kv2", "50%", "kv2", "none"}, {"none", "none", "", ""}},
                            false,
                            " of the parameters stay"})));
}

// A pair that was trained as one is no row of the costs; its halves are.
TEST_F(ReportPageTest, WholeBlocksLeaveWhatTheirHalvesDo) {
  AddLayers();
  ReportedVariant half = data_.variants[0];
  half.variant = "attn:kv1";
  half.parameters = 25;
  data_.variants.push_back(half);
  data_.choices.front().picks = {{0, "attn:kv1+ffn:50%", "block"},
                                 {1, "attn:kv2+ffn:25%", "block"}};
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("choice[budget=75%],exact,0,block,attn:kv1+ffn:50%,0.4375\n"));
  EXPECT_THAT(page, HasSubstr("choice[budget=75%],exact,1,block,attn:kv2+ffn:25%,\n"));
  EXPECT_THAT(page, HasSubstr("0,choice[budget=75%],25,150,,\n"));
  EXPECT_THAT(page, HasSubstr("1,choice[budget=75%],100,,,\n"));
  EXPECT_THAT(page, HasSubstr(HeatMapSvg({{"75% attn", "75% ffn"},
                                          {"layer 0", "layer 1"},
                                          {{0.25, 0.5}, {1.0, std::nullopt}},
                                          {{"kv1", "50%"}, {"kv2", "25%"}},
                                          false,
                                          " of the parameters stay"})));
  // Where costs list nothing but pairs, both halves are said to keep what the pair does.
  data_.variants = {half};
  data_.variants[0].variant = "attn:kv1+ffn:50%";
  data_.variants[0].parameters = 100;
  EXPECT_THAT(Page(), HasSubstr("0,choice[budget=75%],25,75,,\n"));
}

TEST_F(ReportPageTest, SharesOfAParentThatWasNotMeasuredAreNotMadeUp) {
  AddModels();
  data_.models.pop_back();
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("<td>75%, &quot;distilled&quot;</td><td class=\"n\">1000</td>"
                              "<td class=\"n\">-</td>"));
  EXPECT_THAT(page, Not(HasSubstr("100.0%")));
  EXPECT_THAT(page, HasSubstr("<b>1</b>children measured"));
}

TEST_F(ReportPageTest, AModelMadeFromScratchIsNoParent) {
  AddModels();
  ReportedModel scratch = data_.models.back();
  scratch.label = "from scratch";
  scratch.block_parameters = 600;
  data_.models.insert(data_.models.begin(), scratch);
  const std::string page = Page();
  EXPECT_THAT(page,
              HasSubstr("<td>parent</td><td class=\"n\">1000</td><td class=\"n\">100.0%</td>"));
  EXPECT_THAT(
      page, HasSubstr("<td>from scratch</td><td class=\"n\">1000</td><td class=\"n\">75.0%</td>"));
}

TEST_F(ReportPageTest, CurvesOfBlocksAreMeansOverTheirLayers) {
  data_.block_curves = {{"blocks[layer=0,variant=ffn:50%]", {{0.05, 1.0}, {1.0, 0.5}}},
                        {"blocks[layer=1,variant=ffn:50%]", {{0.05, 3.0}}},
                        {"alone[layer=1]", {{0.55, 4.0}}}};
  data_.trainings = {{"student", {{"held_out_kl_before", 0.5}, {"held_out_kl", 0.25}}, {}, {}}};
  const std::string page = Page();
  EXPECT_THAT(
      page,
      HasSubstr(PlotSvg({"% of the steps",
                         "relative error, mean over layers",
                         {{"alone", {{55, 4, 0}}}, {"ffn:50%", {{5, 2, 0}, {95, 0.5, 0}}}}})));
  EXPECT_THAT(page, HasSubstr("<td>student</td><td class=\"n\">0.5</td><td class=\"n\">0.25</td>"
                              "<td class=\"n\"></td>"));
}

TEST_F(ReportPageTest, SecondsAreAddedUpByDevice) {
  data_.steps = {{"a", "n", "k", "found", "cpu", "then", "here", 1, 2, 3},
                 {"b", "n", "k", "found", "cpu", "then", "here", 2, 3.5, 0},
                 {"c", "n", "k", "found", "", "then", "here", 0.5, 0.3, 0},
                 {"d", "n", "k", "missing", "cuda", "", "", 0, 0, 0}};
  EXPECT_THAT(Page(), Not(HasSubstr("<section id=\"time\">")));
  data_.timeline.rows = {{Timeline::Row::Type::kLane, "cpu 1"}};
  data_.timeline.spans = {{Span::Type::kComputing, 0, 0, 0, 1, Outcome::kOk, ""}};
  data_.timeline.end_s = 1;
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("<td>cpu</td><td class=\"n\">3.0</td><td class=\"n\">5.5</td>"));
  EXPECT_THAT(page, HasSubstr("<td>host</td><td class=\"n\">0.5</td><td class=\"n\">0.3</td>"));
  EXPECT_THAT(page, Not(HasSubstr("<td>cuda</td>")));
  EXPECT_THAT(page, HasSubstr("b,n,k,found,cpu,here,then,2,3.5,0\n"));
  EXPECT_THAT(page, HasSubstr("<b>3.5s</b>of work in them"));
  forecast_.hits = 1;
  forecast_.steps[1].fate = Fate::kHit;
  const std::string half = Page();
  EXPECT_THAT(half, HasSubstr("1 steps have no result yet"));
  EXPECT_THAT(half, HasSubstr("stories,synthetic_text,1,0,1\nmore,synthetic_text,1,1,0\n"));
}

// What the steps of a store say, of every type that a page shows.
class CollectReportTest : public ReportPageTest {
 protected:
  CollectReportTest() { forecast_.steps[0].fate = Fate::kHit; }

  /// Of one result in the place of a step; `fill` writes its attributes.
  ReportData Collected(const std::string& type,
                       const std::function<void(ArchiveWriter&, RecordDraft&)>& fill,
                       StepId step = 0) {
    RecordDraft record;
    record.key = std::string(63, 'a') + std::to_string(published_++);
    record.step = "stories";
    record.kind = "synthetic_text";
    record.type = type;
    record.recipe_json = "{}";
    auto draft = store_.Begin();
    fill(draft->writer(), record);
    draft->Close();
    record.scalars_json = draft->scalars_json();
    forecast_.steps[step].fate = Fate::kHit;
    forecast_.steps[step].record = store_.Publish(std::move(draft), std::move(record), {});
    return CollectReport(plan_, forecast_, store_, "");
  }

  const TempFolder folder_;
  Store store_{folder_ / "store", Hdf5Format()};
  int published_ = 0;
};

TEST_F(CollectReportTest, AnEvaluationIsAModelWithItsTasks) {
  const ReportData data = Collected("evaluation", [](ArchiveWriter& out, RecordDraft& record) {
    out.SetAttribute("label", "75%");
    out.SetAttribute("series", "searched");
    out.SetAttribute("parameters", 1000);
    out.SetAttribute("block_parameters", 800);
    out.SetAttribute("weights_mib", 4.5);
    out.SetAttribute("predicted_kl", 0.5);
    out.SetAttribute("nll", 1.25);
    out.SetAttribute("tasks", nlohmann::json::parse(R"([
        {"name": "piqa", "n": 9, "counts": "acc", "figures": {"acc": 0.75, "stderr": 0.1}},
        {"name": "arc", "n": 8, "counts": "acc_norm",
         "figures": {"acc_norm": 0.5, "acc_norm_stderr": 0.2, "stderr": 0.1}},
        {"name": "none", "counts": "acc", "figures": {}}, "odd"])"));
    record.device = "cpu";
    record.host = "here";
    record.tool = "puzzle 1";
    record.environment_json = R"({"blas": "SKYLAKEX"})";
    record.finished = "2026-11-29T05:00:10Z";
    record.wall_s = 4;
    record.cpu_s = 7;
    record.memory_mib = 12;
  });
  ASSERT_EQ(data.models.size(), 1u);
  const ReportedModel& model = data.models[0];
  EXPECT_EQ(model.step, "stories");
  EXPECT_EQ(model.label, "75%");
  EXPECT_EQ(model.series, "searched");
  EXPECT_EQ(model.parameters, 1000);
  EXPECT_EQ(model.block_parameters, 800);
  EXPECT_EQ(model.weights_mib, 4.5);
  EXPECT_EQ(model.predicted_kl, 0.5);
  EXPECT_EQ(model.Find("nll"), 1.25);
  EXPECT_EQ(model.Find("kl"), std::nullopt);
  ASSERT_EQ(model.tasks.size(), 2u);
  EXPECT_EQ(model.tasks[0].name, "piqa");
  EXPECT_EQ(model.tasks[0].value, 0.75);
  EXPECT_EQ(model.tasks[0].error, 0.1);
  EXPECT_EQ(model.tasks[0].n, 9);
  EXPECT_EQ(model.tasks[1].metric, "acc_norm");
  EXPECT_EQ(model.tasks[1].error, 0.2) << "its own before that of another figure";
  EXPECT_EQ(data.environment, (std::map<std::string, std::string>{
                                  {"blas", "SKYLAKEX"}, {"host", "here"}, {"puzzle", "puzzle 1"}}));
  const ReportedStep& step = data.steps[0];
  EXPECT_EQ(step.state, "found");
  EXPECT_EQ(step.device, "cpu");
  EXPECT_EQ(step.wall_s, 4);
  EXPECT_EQ(step.cpu_s, 7);
  EXPECT_EQ(step.memory_mib, 12);
  ASSERT_EQ(data.timeline.spans.size(), 1u);
  EXPECT_EQ(data.timeline.rows[0].name, "cpu 1");
  EXPECT_EQ(data.timeline.spans[0].begin_s, 0);
  EXPECT_EQ(data.timeline.spans[0].end_s, 4);
}

TEST_F(CollectReportTest, TimesAtWhichNothingRanAreLeftOut) {
  const auto ran = [&](StepId step, const char* finished, double wall_s, const char* device) {
    return Collected(
        "text",
        [&](ArchiveWriter&, RecordDraft& record) {
          record.finished = finished;
          record.wall_s = wall_s;
          record.device = device;
        },
        step);
  };
  (void)ran(0, "2026-11-29T05:00:10Z", 4, "cpu");
  Timeline later = ran(1, "2026-11-29T05:02:00Z", 10, "cpu").timeline;
  ASSERT_EQ(later.spans.size(), 2u);
  EXPECT_EQ(later.rows.size(), 1u);
  EXPECT_EQ(later.spans[1].begin_s, 4);
  EXPECT_EQ(later.spans[1].end_s, 14);
  EXPECT_EQ(later.end_s, 14);
  // Two at once on one device stand below each other.
  const Timeline beside = ran(1, "2026-11-29T05:00:11Z", 4, "cpu").timeline;
  ASSERT_EQ(beside.rows.size(), 2u);
  EXPECT_EQ(beside.rows[1].name, "cpu 2");
  EXPECT_EQ(beside.spans[1].row, 1u);
  EXPECT_EQ(beside.spans[1].begin_s, 1);
  EXPECT_EQ(beside.end_s, 5);
  const Timeline host = ran(1, "2026-11-29T05:00:14Z", 4, "").timeline;
  EXPECT_EQ(host.rows[1].name, "host 1");
  EXPECT_EQ(host.end_s, 8);
}

TEST_F(CollectReportTest, AChoiceHasItsPicks) {
  const ReportData data = Collected("choice", [](ArchiveWriter& out, RecordDraft&) {
    out.SetAttribute("method", "exact");
    out.SetAttribute("status", "optimal");
    out.SetAttribute("objective", 0.25);
    out.SetAttribute("totals", nlohmann::json{{"memory_mib", 3.5}});
    out.SetAttribute("picks", nlohmann::json::parse(R"([
        {"layer": 0, "variant": "attn:kv1"}, {"layer": 0, "variant": "ffn:50%"},
        {"layer": 1, "variant": "attn:none+ffn:50%"}, {"layer": 2, "variant": "none"},
        {"layer": -1, "variant": "ffn:50%"}])"));
  });
  ASSERT_EQ(data.choices.size(), 1u);
  const ReportedChoice& choice = data.choices[0];
  EXPECT_EQ(choice.method, "exact");
  EXPECT_EQ(choice.status, "optimal");
  EXPECT_EQ(choice.objective, 0.25);
  EXPECT_EQ(choice.totals.at("memory_mib"), 3.5);
  std::vector<std::string> picks;
  for (const ReportedChoice::Pick& pick : choice.picks)
    picks.push_back(std::to_string(pick.layer) + " " + pick.variant + " " + pick.part);
  EXPECT_EQ(picks, (std::vector<std::string>{"0 attn:kv1 attn", "0 ffn:50% ffn",
                                             "1 attn:none+ffn:50% block", "2 none block"}));
}

TEST_F(CollectReportTest, CostsAreThoseOfTheParentAndOfVariants) {
  const ReportData data = Collected("costs", [](ArchiveWriter& out, RecordDraft&) {
    out.SetAttribute("resources", nlohmann::json({"memory_mib", "kv_mib", "block_parameters"}));
    out.SetAttribute("rows", nlohmann::json::parse(R"([
        {"layer": 1, "variant": "attn:kv2", "parents_own": true, "costs": [2, 0, 20]},
        {"layer": 1, "variant": "ffn:64", "parents_own": true, "costs": [3, 0, 30]},
        {"layer": 1, "variant": "ffn:50%", "costs": [1.5, 0, 15]},
        {"layer": 1, "variant": "ffn:25%", "costs": [1, 0]}])"));
  });
  ASSERT_EQ(data.layers.size(), 2u);
  EXPECT_EQ(data.layers[0].attention, "");
  EXPECT_EQ(data.layers[1].attention, "attn:kv2");
  EXPECT_EQ(data.layers[1].attention_parameters, 20);
  EXPECT_EQ(data.layers[1].attention_mib, 2);
  EXPECT_EQ(data.layers[1].ffn, "ffn:64");
  EXPECT_EQ(data.layers[1].ffn_parameters, 30);
  EXPECT_EQ(data.layers[1].ffn_mib, 3);
  ASSERT_EQ(data.variants.size(), 1u) << "a row without the column is left out";
  EXPECT_EQ(data.variants[0].variant, "ffn:50%");
  EXPECT_EQ(data.variants[0].parameters, 15);
  EXPECT_EQ(data.variants[0].memory_mib, 1.5);
}

TEST_F(CollectReportTest, PicturesAreTaken) {
  const auto picture = [&](const std::string& svg) {
    return Collected(
        "report", [&](ArchiveWriter& out, RecordDraft&) { out.SetAttribute("picture_svg", svg); });
  };
  EXPECT_TRUE(picture("").pictures.empty());
  const ReportData data = picture("<svg/>");
  ASSERT_EQ(data.pictures.size(), 1u);
  EXPECT_EQ(data.pictures[0].first, "stories");
  EXPECT_EQ(data.pictures[0].second, "<svg/>");
}

// ---- charts, by coordinates worked out by hand: names take 170 pixels, the longest bar 400

TEST(ReportCommandTest, AGraphThatIsWrongOrNeverRanIsBadInput) {
  const TempFolder folder;
  const Registry registry(PuzzleKinds());
  const auto report = [&](const char* kind) {
    WriteWholeFile(folder / "g.json",
                   std::string(R"({"puzzle": 1, "nodes": {"s": {"kind": ")") + kind + R"("}}})");
    ReportOptions options;
    options.graph.graph = folder / "g.json";
    options.graph.store = folder / "store";
    options.output = folder / "page.html";
    ::testing::internal::CaptureStderr();
    const int status = ReportCommand(options, registry, {});
    return std::pair(status, ::testing::internal::GetCapturedStderr());
  };
  EXPECT_THAT(report("synthetic_txt"),
              ::testing::Pair(2, HasSubstr("unknown kind \"synthetic_txt\"")));
  EXPECT_THAT(report("synthetic_text"), ::testing::Pair(2, HasSubstr("run it first: puzzle run ")));
}

TEST(ReportChartTest, BarsAreAsLongAsTheirValuesAndWhiskersAsTheirErrors) {
  const BarChart chart{
      {"g", "h"},
      {"a", "b"},
      {{BarChart::Value{6, 2}, BarChart::Value{4, 0}}, {std::nullopt, BarChart::Value{2, 0}}},
      " MiB"};
  EXPECT_EQ(
      BarChartSvg(chart),
      R"(<p class="legend"><span><i class="c0"></i>a</span> <span><i class="c1"></i>b</span> </p>)"
      R"(<svg class="chart" role="img" aria-label="bar chart" viewBox="0 0 660 76" width="660" height="76">)"
      R"(<text x="162.0" y="22.0" text-anchor="end">g</text>)"
      R"(<g><title>g, a: 6 MiB</title><rect class="c0" x="170.0" y="4.0" width="300.0" height="12.0"/>)"
      R"(<path class="whisker" d="M370.0 10.0H570.0M370.0 7.0v6M570.0 7.0v6"/>)"
      R"(<text x="575.0" y="15.0" text-anchor="start">6 MiB</text></g>)"
      R"(<g><title>g, b: 4 MiB</title><rect class="c1" x="170.0" y="18.0" width="200.0" height="12.0"/>)"
      R"(<text x="375.0" y="29.0" text-anchor="start">4 MiB</text></g>)"
      R"(<text x="162.0" y="58.0" text-anchor="end">h</text>)"
      R"(<g><title>h, b: 2 MiB</title><rect class="c1" x="170.0" y="54.0" width="100.0" height="12.0"/>)"
      R"(<text x="275.0" y="65.0" text-anchor="start">2 MiB</text></g></svg>)"
      "\n");
}

TEST(ReportChartTest, PartsOfAStackFollowEachOther) {
  EXPECT_EQ(
      StackedBarsSvg({{"r", "s"}, {"p", "q"}, {{3, 1}, {2, 0}}, " x"}),
      R"(<p class="legend"><span><i class="c0"></i>p</span> <span><i class="c1"></i>q</span> </p>)"
      R"(<svg class="chart" role="img" aria-label="stacked bars" viewBox="0 0 660 36" width="660" height="36">)"
      R"(<text x="162.0" y="15.0" text-anchor="end">r</text>)"
      R"(<g><title>r, p: 3 x</title><rect class="c0" x="170.0" y="4.0" width="300.0" height="12.0"/></g>)"
      R"(<g><title>r, q: 1 x</title><rect class="c1" x="470.0" y="4.0" width="100.0" height="12.0"/></g>)"
      R"(<text x="575.0" y="15.0" text-anchor="start">4 x</text>)"
      R"(<text x="162.0" y="29.0" text-anchor="end">s</text>)"
      R"(<g><title>s, p: 2 x</title><rect class="c0" x="170.0" y="18.0" width="200.0" height="12.0"/></g>)"
      R"(<g><title>s, q: 0 x</title><rect class="c1" x="370.0" y="18.0" width="0.0" height="12.0"/></g>)"
      R"(<text x="375.0" y="29.0" text-anchor="start">2 x</text></svg>)"
      "\n");
}

TEST(ReportChartTest, CellsStandBelowTheirNames) {
  // Two lines of names; cells of 40 pixels behind 64.
  EXPECT_EQ(
      HeatMapSvg(
          {{"80% attn", "b"}, {"0", "1"}, {{1.0, std::nullopt}, {3.0, 2.0}}, {}, false, "x"}),
      R"(<svg class="chart" role="img" aria-label="coloured table" viewBox="0 0 152 76" width="152" height="76">)"
      R"(<text x="84.0" y="26.0" text-anchor="middle">attn</text>)"
      R"(<text x="84.0" y="13.0" text-anchor="middle">80%</text>)"
      R"(<text x="124.0" y="26.0" text-anchor="middle">b</text>)"
      R"(<text x="58.0" y="45.0" text-anchor="end">0</text>)"
      R"(<g><title>0, 80% attn: 1x</title><rect class="heat" x="64.5" y="32.5" width="39.0" height="17.0" fill-opacity="0.060"/></g>)"
      R"(<text x="58.0" y="63.0" text-anchor="end">1</text>)"
      R"(<g><title>1, 80% attn: 3x</title><rect class="heat" x="64.5" y="50.5" width="39.0" height="17.0" fill-opacity="0.960"/></g>)"
      R"(<g><title>1, b: 2x</title><rect class="heat" x="104.5" y="50.5" width="39.0" height="17.0" fill-opacity="0.510"/></g>)"
      "</svg>\n");
  // With labels cells are 54 pixels; a label alone is a cell too.
  const std::string labelled =
      HeatMapSvg({{"a", "b"}, {"r"}, {{1.0, std::nullopt}}, {{"kv1", "?"}}, false, ""});
  EXPECT_THAT(labelled, HasSubstr(R"(viewBox="0 0 180 45")"));
  EXPECT_THAT(labelled, HasSubstr("<title>r, a: kv1 1</title>"));
  EXPECT_THAT(labelled,
              HasSubstr(R"(<text class="off" x="91.0" y="32.0" text-anchor="middle">kv1)"));
  EXPECT_THAT(labelled, HasSubstr("<title>r, b: ? </title>"));
  EXPECT_THAT(labelled, HasSubstr(R"(<rect class="heat" x="118.5")"));
}

TEST(ReportChartTest, NumbersHaveAsManyDigitsAsAReaderCanUse) {
  const std::pair<double, const char*> numbers[] = {
      {1.5e9, "1.50 G"},   {1e9, "1.00 G"},  {1e6, "1.0 M"},     {999999, "999999"},
      {1000, "1000"},      {1234.6, "1235"}, {999.5, "999.5"},   {100.26, "100.3"},
      {100, "100"},        {12.345, "12.3"}, {0.01, "0.01"},     {0.01234, "0.0123"},
      {0.00371, "0.0037"}, {-2.5, "-2.5"},   {-1.5e6, "-1.5 M"}, {0, "0"},
      {HUGE_VAL, "inf"}};
  for (const auto& [number, text] : numbers) EXPECT_EQ(ShortNumber(number), text);
}

TEST(ReportChartTest, OddNumbersAreDrawnAllTheSame) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const HeatMap map{{"a", "b"}, {"r"}, {{nan, infinity}}, {}, true, ""};
  EXPECT_EQ(testing::XmlMistake(HeatMapSvg(map)), "");
  EXPECT_THAT(HeatMapSvg(map), Not(HasSubstr("\"nan\"")));
  const BarChart bars{{"g"}, {"s"}, {{BarChart::Value{0, 0}}}, ""};
  EXPECT_THAT(BarChartSvg(bars), HasSubstr("<rect"));
  EXPECT_THAT(BarChartSvg({}), HasSubstr("<svg"));
  EXPECT_EQ(ShortNumber(134515008), "134.5 M");
  EXPECT_EQ(ShortNumber(0.00371), "0.0037");
  EXPECT_EQ(ShortNumber(12), "12");
}

// The largest is darkest, the smallest lightest; of logarithms the middle is the geometric mean.
TEST(ReportChartTest, AHeatMapGoesFromLightToDark) {
  const std::string svg = HeatMapSvg({{"a", "b", "c"}, {"r"}, {{1.0, 10.0, 100.0}}, {}, true, ""});
  EXPECT_THAT(svg, HasSubstr("r, a: 1</title><rect class=\"heat\""));
  EXPECT_THAT(svg, HasSubstr("fill-opacity=\"0.060\""));
  EXPECT_THAT(svg, HasSubstr("fill-opacity=\"0.510\""));
  EXPECT_THAT(svg, HasSubstr("fill-opacity=\"0.960\""));
}

}  // namespace
}  // namespace puzzle
