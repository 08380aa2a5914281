#include "nodes/search/block_library.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "nodes/search/variant_table.h"
#include "nodes/solver/search_methods.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class BlockLibraryTest : public ::testing::Test {
 protected:
  BlockLibraryTest() {
    std::string name = (fs::temp_directory_path() / "puzzle_library_XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~BlockLibraryTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  VariantTable Read(const std::string& text) {
    Write("block_library.json", text);
    return ReadBlockLibrary((folder_ / "block_library.json").string(),
                            [&](const std::string& warning) { warnings_.push_back(warning); });
  }
  std::string MessageOf(const std::string& text) {
    try {
      (void)Read(text);
    } catch (const Error& error) {
      return std::string(error.what()).substr(folder_.string().size() + 1);
    }
    return "no error";
  }

  fs::path folder_;
  std::vector<std::string> warnings_;
};

std::string Variant(const std::string& stats, const std::string& metrics) {
  return R"({"stats": {)" + stats + R"(}, "metrics": {)" + metrics + "}}";
}
std::string Layers(const std::string& zero, const std::string& one) {
  return R"({"layer_0": {)" + zero + R"(}, "layer_1": {)" + one + "}}";
}
const std::string kParent = R"("a\t&&\tb": )" + Variant(R"("ms": 4, "mib": 2)", R"("kl": 0)");
const std::string kSmall = R"("none": )" + Variant(R"("ms": 0, "mib": 0.5)", R"("kl": 3.5)");

TEST_F(BlockLibraryTest, ReadsCostsAndMetricsByNameInTheOrderOfTheLayers) {
  const VariantTable table =
      Read(R"({"layer_1": {)" + kParent + R"(}, "layer_0": {)" + kParent + "," + kSmall + "}}");
  EXPECT_THAT(table.resources, ElementsAre("ms", "mib"));
  EXPECT_THAT(table.metrics, ElementsAre("kl"));
  ASSERT_EQ(table.groups.size(), 2u);
  EXPECT_EQ(table.groups[0].name, "layer_0");
  ASSERT_EQ(table.groups[0].variants.size(), 2u);
  EXPECT_EQ(table.groups[0].variants[0].name, "a\t&&\tb");
  EXPECT_THAT(table.groups[0].variants[1].costs, ElementsAre(0, 0.5));
  EXPECT_THAT(table.groups[0].variants[1].metrics, ElementsAre(3.5));
  EXPECT_THAT(table.ParentTotals(), ElementsAre(8, 4));
  EXPECT_EQ(table.tokens, 0);
}

TEST_F(BlockLibraryTest, ReadsHowItWasMeasured) {
  Write("measurement_info.json", R"({"batch_size": 256, "sequence_length": 1200,
                                     "non_block_stats": {"mib": 7}})");
  const VariantTable table = Read(Layers(kParent, kParent));
  EXPECT_EQ(table.batch, 256);
  EXPECT_EQ(table.tokens, 256 * 1200);
  EXPECT_THAT(table.fixed, ElementsAre(0, 7));
  Write("measurement_info.json", R"({"batch_size": -1})");
  EXPECT_THAT(MessageOf(Layers(kParent, kParent)),
              HasSubstr("batch_size: expected a positive number, got -1"));
  Write("measurement_info.json", R"({"non_block_stats": {"mb": 7}})");
  EXPECT_THAT(MessageOf(Layers(kParent, kParent)),
              HasSubstr("non_block_stats: \"mb\" is not a cost of the library's variants"));
  Write("measurement_info.json", R"({"non_block_stats": {"mib": -7}})");
  EXPECT_THAT(MessageOf(Layers(kParent, kParent)),
              HasSubstr("non_block_stats: mib is negative: -7"));
  Write("measurement_info.json", R"({"batch_size": 1e200, "sequence_length": 1e200})");
  EXPECT_THAT(MessageOf(Layers(kParent, kParent)),
              HasSubstr("batch_size times sequence_length is too large"));
}

TEST_F(BlockLibraryTest, ManyNamesOfMetricsAreRefusedBeforeEveryVariantHasRoomForThem) {
  const auto with = [](int n) {
    std::string metrics = R"("m0": 0)";
    for (int i = 1; i < n; ++i) metrics += ", \"m" + std::to_string(i) + "\": 0";
    return Layers(R"("a": )" + Variant(R"("ms": 1)", metrics),
                  R"("b": )" + Variant(R"("ms": 1)", ""));
  };
  EXPECT_EQ(Read(with(256)).groups[1].variants[0].metrics.size(), 256u);
  EXPECT_THAT(MessageOf(with(257)), HasSubstr("more than 256 different metrics"));
}

TEST_F(BlockLibraryTest, MalformedLibrariesAreRefusedWithPlaceAndReason) {
  const struct {
    const char* what;
    std::string text;
    const char* message;
  } cases[] = {
      {"empty file", "", "block_library.json:1:1: "},
      {"cut", R"({"layer_0": {)", "block_library.json:1:14: "},
      {"no object", "[]", "block_library.json:1:1: expected an object with layer_0, layer_1, ..."},
      {"no layers", "{}", "block_library.json:1:1: expected an object with layer_0, layer_1, ..."},
      {"another key", R"({"block_0": {}})",
       R"(block_library.json:1:2: "block_0" is not a layer; expected layer_0, layer_1, ...)"},
      {"a gap", R"({"layer_0": {)" + kParent + R"(}, "layer_2": {}})",
       "\"layer_2\", but there are 2 layers: layer_0 to layer_1 are expected without gaps"},
      {"twice", R"({"layer_0": {)" + kParent + R"(}, "layer_00": {}})", "layer 0 is given twice"},
      {"no variants", R"({"layer_0": {}})", "block_library.json:1:2: expected variants by name"},
      {"no stats", R"({"layer_0": {"a": {"metrics": {}}}})", R"(variant "a" has no "stats")"},
      {"no metrics", R"({"layer_0": {"a": {"stats": {}}}})", R"(variant "a" has no "metrics")"},
      {"variant is a number", R"({"layer_0": {"a": 1}})", "expected {\"stats\""},
      {"a cost is missing", Layers(kParent, R"("b\tc": )" + Variant(R"("ms": 4)", R"("kl": 0)")),
       R"(variant "b c" has no mib)"},
      {"only the first has no stats",
       Layers(R"("a": )" + Variant("", R"("kl": 0)"), R"("b": )" + Variant(R"("mib": 4)", "")),
       R"(variant "b" has mib, but the first variant of all has no stats)"},
      {"negative time", Layers(kParent, R"("b": )" + Variant(R"("ms": -4, "mib": 1)", "")),
       R"(ms of "b" is negative: -4)"},
      {"null cost", Layers(kParent, R"("b": )" + Variant(R"("ms": null, "mib": 1)", "")),
       R"(ms of "b" is null, expected a number)"},
      {"text as a metric",
       Layers(kParent, R"("b": )" + Variant(R"("ms": 1, "mib": 1)", R"("kl": "0.1")")),
       R"(kl of "b" is "0.1", expected a number)"},
      {"null metric",
       Layers(kParent, R"("b": )" + Variant(R"("ms": 1, "mib": 1)", R"("kl": null)")),
       R"(kl of "b" is null, expected a number)"},
      {"NaN", Layers(kParent, R"("b": )" + Variant(R"("ms": 1, "mib": 1)", R"("kl": NaN)")),
       "block_library.json:1:"},
      {"the same variant twice", Layers(kParent + "," + kParent, kParent), "block_library.json:1:"},
  };
  for (const auto& [what, text, message] : cases) {
    EXPECT_THAT(MessageOf(text), AllOf(StartsWith("block_library.json:"), HasSubstr(message)))
        << what;
  }
  EXPECT_THROW((void)ReadBlockLibrary("/nonexistent/library.json", [](const auto&) {}), Error);
}

TEST_F(BlockLibraryTest, LayersThatDifferInTheirVariantsAreNamed) {
  (void)Read(Layers(kParent + "," + kSmall, kParent));
  EXPECT_THAT(warnings_,
              ElementsAre(HasSubstr("layers differ in their variants: layer_1 lacks \"none\"")));
  warnings_.clear();
  (void)Read(Layers(kParent, kParent + "," + kSmall));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("layer_1 has besides \"none\"")));
}

TEST_F(BlockLibraryTest, ManyLayersThatDifferAreOneWarning) {
  const std::string two = "{" + kParent + "," + kSmall + "}";
  (void)Read(R"({"layer_0": {)" + kParent + R"(}, "layer_1": )" + two + R"(, "layer_2": )" + two +
             R"(, "layer_3": {)" + kSmall + "}}");
  EXPECT_THAT(warnings_,
              ElementsAre(testing::EndsWith("layers differ in their variants: layer_1 has besides "
                                            "\"none\"; 2 more differ from layer_0")));
}

TEST_F(BlockLibraryTest, AMissingMetricDropsTheVariantLoudly) {
  const VariantTable table =
      Read(Layers(kParent + R"(, "b": )" + Variant(R"("ms": 1, "mib": 1)", ""), kParent));
  std::vector<std::string> warnings;
  const SearchProblem search = MakeSearchProblem(
      table, {{"kl", 1}}, {}, [&](const std::string& warning) { warnings.push_back(warning); });
  EXPECT_EQ(search.problem.groups[0].size(), 1u);
  EXPECT_THAT(warnings, ElementsAre("layer_0: variant \"b\" has no kl and is left out"));
}

TEST_F(BlockLibraryTest, AParentWithoutTheMetricIsRefused) {
  const VariantTable table =
      Read(Layers(kParent, R"("b": )" + Variant(R"("ms": 1, "mib": 1)", R"("lm": 3)")));
  try {
    (void)MakeSearchProblem(table, {{"kl", 1}}, {}, [](const auto&) {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "layer_1: variant \"b\" has no kl, and the others are compared with it");
  }
}

TEST_F(BlockLibraryTest, WhatIsWrittenReadsBackTheSame) {
  VariantTable table = Read(Layers(
      kParent + "," + kSmall, kParent + R"(, "b": )" + Variant(R"("ms": 0.1, "mib": 1e-3)", "")));
  table.fixed = {0.25, 7};
  table.batch = 8;
  table.tokens = 8 * 512;
  for (const auto& [name, text] : WriteBlockLibrary(table)) Write(name, text);
  const VariantTable again =
      ReadBlockLibrary((folder_ / "block_library.json").string(), [](const std::string&) {});
  EXPECT_EQ(again.resources, table.resources);
  EXPECT_EQ(again.metrics, table.metrics);
  EXPECT_EQ(again.fixed, table.fixed);
  EXPECT_EQ(again.batch, table.batch);
  EXPECT_EQ(again.tokens, table.tokens);
  ASSERT_EQ(again.groups.size(), table.groups.size());
  for (size_t g = 0; g < table.groups.size(); ++g) {
    EXPECT_EQ(again.groups[g].name, table.groups[g].name);
    ASSERT_EQ(again.groups[g].variants.size(), table.groups[g].variants.size());
    for (size_t v = 0; v < table.groups[g].variants.size(); ++v) {
      EXPECT_EQ(again.groups[g].variants[v].name, table.groups[g].variants[v].name);
      EXPECT_EQ(again.groups[g].variants[v].costs, table.groups[g].variants[v].costs);
      EXPECT_EQ(again.groups[g].variants[v].metrics, table.groups[g].variants[v].metrics);
    }
  }
}

// Two layers; dropping one saves 4 ms and 1.5 MiB.
VariantTable SmallTable() {
  VariantTable table;
  table.resources = {"memory_mib", "runtime_ms"};
  table.metrics = {"kl", "lm_loss", "accuracy"};
  table.fixed = {10, 2};
  for (const char* layer : {"layer_0", "layer_1"}) {
    table.groups.push_back(
        {layer, {{"own", {2, 4}, {0, 1.5, 0.9}}, {"none", {0.5, 0}, {3, 2, 0.4}}}});
  }
  table.batch = 4;
  table.tokens = 4 * 100;
  return table;
}

TEST(VariantTableTest, LimitsAreAbsoluteOrOfTheParent) {
  const VariantTable table = SmallTable();
  const auto limits =
      ReadLimits(table, json{{"memory_mib", 11}}, json{{"memory_mib", "90%"}, {"latency_ms", 7}});
  ASSERT_EQ(limits.size(), 2u);
  EXPECT_EQ(limits[0].resource, "runtime_ms");
  EXPECT_EQ(limits[0].high, 7);
  EXPECT_EQ(limits[0].fixed, 2);
  EXPECT_EQ(limits[1].resource, "memory_mib");
  EXPECT_EQ(limits[1].low, 11);
  EXPECT_DOUBLE_EQ(limits[1].high, 0.9 * 14);
}

TEST(VariantTableTest, ThroughputBoundsTheRuntime) {
  const VariantTable table = SmallTable();  // the parent: 400 tokens in 10 ms
  const auto fast = ReadLimits(table, json{{"throughput", 80'000}}, json::object());
  ASSERT_EQ(fast.size(), 1u);
  EXPECT_DOUBLE_EQ(fast[0].high, 5);
  const auto faster = ReadLimits(table, json{{"throughput", "200%"}}, json{{"runtime_ms", 4}});
  EXPECT_DOUBLE_EQ(faster[0].high, 4);  // the tighter of 4 and 5
  EXPECT_DOUBLE_EQ(TotalsByName(table, {0, 1}).at("throughput"), 400 / 0.006);
  VariantTable one = table;
  one.tokens = 1;
  EXPECT_DOUBLE_EQ(TotalsByName(one, {0, 1}).at("throughput"), 1 / 0.006);
  one.tokens = 0;  // not known
  EXPECT_FALSE(TotalsByName(one, {0, 1}).contains("throughput"));
}

TEST(VariantTableTest, ScoresAreWeightedDamagesAgainstTheParentsOwn) {
  const SearchProblem search = MakeSearchProblem(
      SmallTable(), {{"kl", 2}, {"lm_loss", 1}, {"accuracy", 10}}, {}, [](const auto&) {});
  EXPECT_EQ(search.problem.groups[0][0].score, 0);
  EXPECT_DOUBLE_EQ(search.problem.groups[0][1].score, 2 * 3 + 0.5 + 10 * 0.5);
}

TEST(VariantTableTest, TheLossOfAnAccuracyIsDamage) {
  const SearchProblem search =
      MakeSearchProblem(SmallTable(), ReadObjective("accuracy"), {}, [](const auto&) {});
  EXPECT_EQ(search.problem.groups[0][0].score, 0);
  EXPECT_DOUBLE_EQ(search.problem.groups[0][1].score, 0.5);
  EXPECT_TRUE(HigherIsBetter("token_accuracy_top_10"));
  EXPECT_FALSE(HigherIsBetter("nmse_tensor"));
}

TEST(VariantTableTest, ANanIsRefusedByName) {
  VariantTable table = SmallTable();
  table.groups[1].variants[1].metrics[0] = std::nan("");
  EXPECT_THROW((void)MakeSearchProblem(table, {{"kl", 1}}, {}, [](const auto&) {}), Error);
}

std::string LimitFailure(const VariantTable& table, const json& min, const json& max) {
  try {
    (void)ReadLimits(table, min, max);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(VariantTableTest, WrongLimitsAreRefusedByName) {
  const VariantTable table = SmallTable();
  const json none = json::object();
  EXPECT_EQ(LimitFailure(table, none, {{"memry", 1}}),
            "max.memry: unknown resource \"memry\"; there are memory_mib, runtime_ms");
  EXPECT_THAT(LimitFailure(table, none, {{"memory_mib", "70"}}),
              HasSubstr("max.memory_mib: expected a number or a percentage"));
  EXPECT_THAT(LimitFailure(table, none, {{"memory_mib", nullptr}}), HasSubstr("got null"));
  EXPECT_THAT(LimitFailure(table, {{"memory_mib", 3}}, {{"memory_mib", 2}}),
              HasSubstr("memory_mib: min 3 is above max 2"));
  EXPECT_THAT(LimitFailure(table, {{"throughput", 0}}, none), HasSubstr("a positive number"));
  EXPECT_THAT(LimitFailure(table, none, json::array()),
              HasSubstr("max: expected {resource: limit}"));
  VariantTable untimed = table;
  untimed.tokens = 0;
  EXPECT_THAT(LimitFailure(untimed, {{"throughput", 5}}, none),
              HasSubstr("min.throughput: throughput needs the resource runtime_ms and the batch"));
  EXPECT_THAT(LimitFailure(table, none, {{"time_to_first_token_ms", 5}}),
              HasSubstr("time_to_first_token_ms needs the resource \"prefill_ms\"; there are"));
}

TEST(VariantTableTest, WrongObjectivesAreRefusedByName) {
  const auto failure = [](const json& objective) -> std::string {
    try {
      (void)MakeSearchProblem(SmallTable(), ReadObjective(objective), {}, [](const auto&) {});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(failure("kl"), "no error");
  EXPECT_EQ(failure({{"kl", 1}, {"lm_loss", 0.2}}), "no error");
  EXPECT_EQ(failure("kld"), "objective: unknown metric \"kld\"; there are kl, lm_loss, accuracy");
  EXPECT_THAT(failure({{"accuracy", -1}}), HasSubstr("objective.accuracy: -1 asks for less of it"));
  EXPECT_EQ(failure({{"kl", "1"}}), "objective.kl: expected a weight, got \"1\"");
  EXPECT_THAT(failure(json::object()), HasSubstr("objective: expected a metric"));
  EXPECT_THAT(failure(3), HasSubstr("objective: expected a metric"));
}

}  // namespace
}  // namespace puzzle
