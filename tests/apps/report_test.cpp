// The page of `puzzle report`: well-formed, without script whatever anything is called, every
// figure as CSV, and honest about what is missing.
#include "apps/report/report_page.h"

#include <gmock/gmock.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "apps/report/report_charts.h"
#include "graph/store/store.h"
#include "io/file.h"
#include "io/hdf5_archive.h"
#include "nodes/catalogue.h"
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
  EXPECT_THAT(page, HasSubstr("0,parent,100,300,1,2\n0,75%,100,150,,\n"));
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
