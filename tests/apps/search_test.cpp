// `puzzle search` from flags to text: the published library where it is present, small ones written
// here otherwise.
#include "apps/models/search.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

struct Output {
  int status = -1;
  std::string out;
  std::string err;
};

Output Searched(const SearchOptions& options) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int status = SearchCommand(options);
  std::fflush(stdout);
  std::string out = ::testing::internal::GetCapturedStdout();
  return {status, std::move(out), ::testing::internal::GetCapturedStderr()};
}

constexpr const char* kLibrary = R"({
  "layer_0": {"own\t&&\town": {"stats": {"memory_mib": 10, "runtime_ms": 4, "num_params": 100},
                               "metrics": {"kl_div": 0, "lm_loss": 2}},
              "none": {"stats": {"memory_mib": 0, "runtime_ms": 0, "num_params": 0},
                       "metrics": {"kl_div": 1, "lm_loss": 2.5}}},
  "layer_1": {"own\t&&\town": {"stats": {"memory_mib": 10, "runtime_ms": 4, "num_params": 100},
                               "metrics": {"kl_div": 0, "lm_loss": 2}},
              "none": {"stats": {"memory_mib": 0, "runtime_ms": 0, "num_params": 0},
                       "metrics": {"kl_div": 3, "lm_loss": 2.1}}}})";

class SearchVerbTest : public ::testing::Test {
 protected:
  SearchVerbTest() {
    std::string name = (fs::temp_directory_path() / "puzzle_search_XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    std::ofstream(folder_ / "library.json") << kLibrary;
    options_.library = (folder_ / "library.json").string();
    options_.objective = "kl_div";
    options_.json = true;
  }
  ~SearchVerbTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  fs::path folder_;
  SearchOptions options_;
};

TEST_F(SearchVerbTest, PrintsOneJsonObject) {
  options_.max = {"memory_mib=15"};
  const Output output = Searched(options_);
  EXPECT_EQ(output.status, kExitDone) << output.err;
  const json answer = json::parse(output.out);
  EXPECT_EQ(answer["status"], "optimal");
  std::vector<std::string> keys;
  for (const auto& [key, value] : answer.items()) keys.push_back(key);
  EXPECT_THAT(keys, UnorderedElementsAre("status", "objective", "bound", "gap", "time_s", "totals",
                                         "choice", "solutions"));
  EXPECT_EQ(answer["objective"], 1);
  EXPECT_EQ(answer["bound"], 1);
  EXPECT_EQ(answer["gap"], 0);
  EXPECT_TRUE(answer["time_s"].is_number());
  EXPECT_EQ(answer["totals"], json({{"memory_mib", 10}, {"runtime_ms", 4}, {"num_params", 100}}));
  EXPECT_EQ(answer["choice"], json({"none", "own\t&&\town"}));
  ASSERT_EQ(answer["solutions"].size(), 1u);
  EXPECT_EQ(answer["solutions"][0]["choice"], answer["choice"]);
}

TEST_F(SearchVerbTest, PrintsAReportWithTheBlocks) {
  options_.json = false;
  options_.compare = true;
  options_.max = {"memory_mib=15", "runtime_ms=90%"};
  const Output output = Searched(options_);
  EXPECT_EQ(output.status, kExitDone) << output.err;
  EXPECT_THAT(output.out,
              StartsWith("optimal (exact): objective 1.000000, bound 1.000000, gap 0 %"));
  EXPECT_THAT(output.out,
              HasSubstr("memory_mib                 10    50.0 % of the parent  <= 15\n"));
  EXPECT_THAT(output.out, HasSubstr("block_0:  none\nblock_1:  own && own\n"));
  EXPECT_THAT(output.out, HasSubstr("\nmax_params"));
}

TEST_F(SearchVerbTest, WeightsCombineMetrics) {
  options_.objective = R"({"kl_div": 1, "lm_loss": 20})";
  options_.max = {"memory_mib=15"};
  EXPECT_EQ(json::parse(Searched(options_).out)["choice"],
            json({"own\t&&\town", "none"}));  // 5 < 11
}

TEST_F(SearchVerbTest, TheSmallestChildWithinALoss) {
  options_.max_loss = 3.5;
  const json answer = json::parse(Searched(options_).out);
  EXPECT_EQ(answer["minimized"], "num_params");
  EXPECT_EQ(answer["objective"], 100);
  EXPECT_EQ(answer["loss"], 1) << "of the two that are as small";
  EXPECT_EQ(answer["choice"], json({"none", "own\t&&\town"}));
  options_.max_loss = -1;
  const Output none = Searched(options_);
  EXPECT_EQ(none.status, kExitFailed);
  EXPECT_EQ(json::parse(none.out)["explanation"],
            "loss (kl_div) <= -1 cannot be met by any choice: the least possible is 0");
}

TEST_F(SearchVerbTest, ThroughputBoundsTheRuntime) {
  options_.throughput = 1000 * 2 * 10 / 5.0;  // 20 tokens in 5 ms
  options_.batch = 2;
  options_.sequence = 10;
  const json answer = json::parse(Searched(options_).out);
  EXPECT_EQ(answer["totals"]["runtime_ms"], 4);
  EXPECT_EQ(answer["totals"]["throughput"], 5000);
}

TEST_F(SearchVerbTest, AnInfeasibleBudgetExplainsItself) {
  options_.max = {"memory_mib=-1"};
  const Output output = Searched(options_);
  EXPECT_EQ(output.status, kExitFailed);
  const json answer = json::parse(output.out);
  EXPECT_EQ(answer["status"], "infeasible");
  EXPECT_EQ(answer["objective"], nullptr);
  EXPECT_EQ(answer["explanation"],
            "memory_mib <= -1 cannot be met by any choice: the least possible is 0");
  EXPECT_EQ(answer["nearest"], json::parse(R"([{"resource": "memory_mib", "side": "max",
                                                "asked": -1, "works": 0}])"));
  EXPECT_THAT(answer["solutions"], ::testing::IsEmpty());
}

TEST_F(SearchVerbTest, ATimeLimitThatIsTooShortSaysSo) {
  options_.max = {"memory_mib=15"};
  options_.time_limit_s = 1e-9;
  const Output output = Searched(options_);
  EXPECT_EQ(output.status, kExitFailed);
  const json answer = json::parse(output.out);
  EXPECT_EQ(answer["status"], "no solution");
  EXPECT_EQ(answer["explanation"],
            "no choice within the limits was found in the time limit of 1e-09 s; allow more time "
            "or wider limits");
}

TEST_F(SearchVerbTest, BadInputEndsInOneMessage) {
  const struct {
    const char* what;
    std::function<void(SearchOptions&)> change;
    const char* message;
  } cases[] = {
      {"no file", [](auto& o) { o.library = "/nonexistent.json"; }, "/nonexistent.json"},
      {"unknown resource", [](auto& o) { o.max = {"memory=1"}; },
       "max.memory: unknown resource \"memory\"; there are memory_mib, runtime_ms, num_params\n"},
      {"no value", [](auto& o) { o.max = {"memory_mib"}; },
       "--max memory_mib: expected RESOURCE=LIMIT such as memory_mib=80000\n"},
      {"no number", [](auto& o) { o.min = {"memory_mib=1GB"}; },
       "--min memory_mib: \"1GB\": expected a number or a percentage such as 70%\n"},
      {"twice",
       [](auto& o) {
         o.max = {"memory_mib=1", "memory_mib=2"};
       },
       "--max memory_mib: given twice\n"},
      {"throughput twice",
       [](auto& o) {
         o.min = {"throughput=5"};
         o.throughput = 6;
       },
       "--min throughput: given twice\n"},
      {"no time to first token", [](auto& o) { o.max = {"time_to_first_token_ms=1"}; },
       "max.time_to_first_token_ms: time_to_first_token_ms needs the resource \"prefill_ms\"; "
       "there are memory_mib, runtime_ms, num_params\n"},
      {"contradiction",
       [](auto& o) {
         o.max = {"memory_mib=1"};
         o.min = {"memory_mib=2"};
       },
       "memory_mib: min 2 is above max 1\n"},
      {"unknown metric", [](auto& o) { o.objective = "kl"; },
       "objective: unknown metric \"kl\"; there are kl_div, lm_loss\n"},
      {"broken weights", [](auto& o) { o.objective = "{kl}"; }, "--objective:1:2: "},
      {"throughput without a batch", [](auto& o) { o.throughput = 5; }, "min.throughput: "},
      {"distance", [](auto& o) { o.distance = 3; },
       "a distance of 3 is not between 1 and the 2 choices to make\n"},
      {"minimize alone", [](auto& o) { o.minimize = "memory_mib"; },
       "--minimize: say with --max-loss how much may be lost\n"},
      {"what to minimize",
       [](auto& o) {
         o.max_loss = 1;
         o.minimize = "disk";
       },
       "loss.minimize: unknown resource \"disk\"; there are memory_mib, runtime_ms, num_params\n"},
      {"an infinite loss", [](auto& o) { o.max_loss = HUGE_VAL; },
       "loss: expected {\"max\": 0.05}"},
      {"a baseline for a loss",
       [](auto& o) {
         o.max_loss = 1;
         o.solver = "greedy";
       },
       "the smallest child within a loss needs the method exact or cbc, not greedy\n"},
      {"comparing a loss",
       [](auto& o) {
         o.max_loss = 1;
         o.compare = true;
       },
       "--compare: other methods do not answer --max-loss\n"},
      {"sweeping a loss",
       [](auto& o) {
         o.max_loss = 1;
         o.sweep = "memory_mib=1..2:3";
       },
       "--sweep: neither --max-loss nor --uniform can be swept\n"},
      {"a limit on what is swept",
       [](auto& o) {
         o.max = {"memory_mib=1"};
         o.sweep = "memory_mib=1..2:3";
       },
       "max: memory_mib is what is swept\n"},
      {"range", [](auto& o) { o.sweep = "memory_mib=1..2"; },
       "\"memory_mib=1..2\": expected RESOURCE=FROM..TO:POINTS such as memory_mib=50%..100%:50\n"},
  };
  for (const auto& [what, change, message] : cases) {
    SCOPED_TRACE(what);
    SearchOptions options = options_;
    change(options);
    const Output output = Searched(options);
    EXPECT_EQ(output.status, kExitBadInput);
    EXPECT_EQ(output.out, "");
    EXPECT_THAT(output.err, StartsWith(message));
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
  }
}

TEST_F(SearchVerbTest, ASweepPrintsItsPointsAndDrawsThem) {
  options_.sweep = "memory_mib=0%..100%:3";
  options_.svg = (folder_ / "frontier.svg").string();
  options_.compare = true;
  const json answer = json::parse(Searched(options_).out);
  EXPECT_EQ(answer["resource"], "memory_mib");
  std::vector<double> objectives;
  for (const json& point : answer["points"]) {
    if (point["method"] == "exact") objectives.push_back(point["objective"]);
  }
  EXPECT_THAT(objectives, ElementsAre(4, 1, 0));
  std::ifstream svg(options_.svg);
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(svg), {}), HasSubstr("optimum</text>"));
  options_.json = false;
  EXPECT_THAT(Searched(options_).out,
              HasSubstr("         50%              10      1.000000  optimal\n"));
}

// The three scenarios of the published notebook, on its own files.
class PublishedLibraryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("PUZZLE_DATA");
    const fs::path folder =
        data != nullptr ? fs::path(data) : fs::path(PUZZLE_SOURCE_DIR) / "../shared/data";
    options_.library = (folder / "llama-3.3-70b/block_library.json").string();
    if (!fs::exists(options_.library)) {
      GTEST_SKIP() << "no " << options_.library << " (set PUZZLE_DATA)";
    }
    options_.objective = "kl_div";
    options_.json = true;
  }

  SearchOptions options_;
};

TEST_F(PublishedLibraryTest, MemoryAndThroughput) {
  options_.max = {"memory_mib=80000"};
  options_.throughput = 6000;
  options_.batch = 256;
  options_.sequence = 1200;
  const json by_throughput = json::parse(Searched(options_).out);
  EXPECT_EQ(by_throughput["status"], "optimal");
  EXPECT_NEAR(by_throughput["objective"], 6.861455, 5e-7);
  EXPECT_NEAR(by_throughput["totals"]["memory_mib"], 79994.6, 0.05);
  EXPECT_NEAR(by_throughput["totals"]["runtime_ms"], 46980.2, 0.05);
  EXPECT_EQ(by_throughput["choice"].size(), 80u);

  options_.batch = options_.sequence = 0;  // as measurement_info.json says
  EXPECT_EQ(json::parse(Searched(options_).out)["choice"], by_throughput["choice"]);
  options_.throughput = 0;
  options_.max = {"memory_mib=80000", "runtime_ms=51200"};
  EXPECT_EQ(json::parse(Searched(options_).out)["choice"], by_throughput["choice"]);
}

TEST_F(PublishedLibraryTest, MemoryAlone) {
  options_.max = {"memory_mib=40000"};
  const json answer = json::parse(Searched(options_).out);
  EXPECT_NEAR(answer["objective"], 18.935023, 5e-7);
  EXPECT_NEAR(answer["totals"]["memory_mib"], 39998.9, 0.05);
  EXPECT_NEAR(answer["totals"]["runtime_ms"], 25166.2, 0.05);
}

TEST_F(PublishedLibraryTest, APoolAt85Percent) {
  options_.max = {"memory_mib=85%", "runtime_ms=85%"};
  options_.pool = 3;
  options_.distance = 20;
  const json answer = json::parse(Searched(options_).out);
  ASSERT_EQ(answer["solutions"].size(), 3u);
  const double objectives[] = {3.282073, 3.341735, 3.382206};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(answer["solutions"][i]["status"], "optimal");
    EXPECT_NEAR(answer["solutions"][i]["objective"], objectives[i], 5e-7);
  }
}

// The inverse of what a memory budget gives: with the loss of that child no smaller one exists.
TEST_F(PublishedLibraryTest, TheLossOfABudgetAsksForTheBudgetBack) {
  options_.max = {"memory_mib=70%"};
  const json within = json::parse(Searched(options_).out);
  options_.max = {};
  options_.max_loss = within["objective"].get<double>();
  options_.minimize = "memory_mib";
  const json smallest = json::parse(Searched(options_).out);
  EXPECT_EQ(smallest["status"], "optimal");
  EXPECT_LE(smallest["objective"], within["totals"]["memory_mib"]);
  EXPECT_LE(smallest["loss"].get<double>(), *options_.max_loss * (1 + 1e-9));
  options_.minimize = "";
  EXPECT_EQ(json::parse(Searched(options_).out)["minimized"], "num_params");
}

// Llama 70B offers one kv count and seven FFN sizes; the fourth of them is half the parent's.
TEST_F(PublishedLibraryTest, UniformLayersAreOneOfSevenChildren) {
  options_.max = {"num_params=60%"};
  options_.uniform = "all";
  const json answer = json::parse(Searched(options_).out);
  EXPECT_EQ(answer["uniform"]["shape"], "8 kv heads, intermediate size 14336");
  EXPECT_DOUBLE_EQ(answer["totals"]["ffn_intermediate_size"], 80 * 14336.0);
  EXPECT_LT(answer["uniform"]["free_objective"], answer["objective"]);
}

TEST_F(PublishedLibraryTest, LmLossCountsAsTheIncreaseOverTheParent) {
  options_.objective = "lm_loss";
  options_.max = {"memory_mib=100%"};
  const json answer = json::parse(Searched(options_).out);
  // Some variants are better than the parent on the measured text, so the optimum is below zero,
  // and far from 80 times the parent's loss of 1.64.
  EXPECT_LT(answer["objective"], 0.0);
  EXPECT_GT(answer["objective"], -1.0);
}

}  // namespace
}  // namespace puzzle
