#include "graph/run/curves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(CurvesTest, NotesAreNamesAndNumbers) {
  EXPECT_THAT(NumbersIn("loss 0.0132"), ElementsAre(Pair("loss", 0.0132)));
  EXPECT_THAT(NumbersIn("loss 1e-3, held out .5"),
              ElementsAre(Pair("loss", 1e-3), Pair("held out", 0.5)));
  EXPECT_THAT(NumbersIn("reading, layer 3, done"), ElementsAre(Pair("layer", 3)));
  for (const char* note : {"", "loss", "loss ", " 3", "loss x", "loss 3x", "loss nan", "loss inf",
                           "\"a\" 3", "a\n 3", ", ", "a name that is longer than one may be 1"})
    EXPECT_THAT(NumbersIn(note), IsEmpty()) << note;
}

TEST(CurvesTest, NothingToldIsNothing) {
  Curves curves;
  curves.Add(0.5, "reading");
  EXPECT_EQ(curves.Json(), "");
}

TEST(CurvesTest, FewNumbersAreAllThere) {
  Curves curves;
  curves.Add(0.25, "loss 3");
  curves.Add(0.5, "loss 2, held out 2.5");
  curves.Add(2, "loss 1.25");
  EXPECT_EQ(curves.Json(), R"({"loss":[[0.25,3],[0.5,2],[1,1.25]],"held out":[[0.5,2.5]]})");
}

// Evenly, the first and the last among them.
TEST(CurvesTest, ManyNumbersAreThinnedOut) {
  for (const int steps : {39, 40, 41, 1000, 4096}) {
    Curves curves;
    for (int i = 1; i <= steps; ++i)
      curves.Add(static_cast<double>(i) / steps, fmt::format("loss {}", i));
    const auto points = nlohmann::json::parse(curves.Json()).at("loss");
    EXPECT_LE(points.size(), Curves::kMostPoints) << steps;
    EXPECT_GE(points.size(), Curves::kMostPoints / 2) << steps;
    EXPECT_EQ(points.front().at(1), 1) << steps;
    EXPECT_EQ(points.back().at(1), steps);
    const int64_t every = points.at(1).at(1).get<int64_t>() - 1;
    for (size_t i = 0; i + 1 < points.size(); ++i)
      EXPECT_EQ(points[i].at(1), 1 + static_cast<int64_t>(i) * every) << steps;
  }
}

TEST(CurvesTest, OnlySoManyNames) {
  Curves curves;
  for (const char* note : {"a 1", "b 1", "c 1", "d 1", "e 1", "a 2"}) curves.Add(1, note);
  const auto json = nlohmann::json::parse(curves.Json());
  EXPECT_EQ(json.size(), Curves::kMostCurves);
  EXPECT_FALSE(json.contains("e"));
}

class RecordedCurvesTest : public GraphTest {};

TEST_F(RecordedCurvesTest, ARecordKeepsThemAndTheKeyDoesNotKnow) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "sleep", "params": {"value": "a", "ms": 5}}}})");
  Run();
  const Record record = report().steps[Find("s")].record;
  const auto json = RecordJson(record);
  EXPECT_EQ(json.at("curves").at("zzz").at(0), nlohmann::json({0.5, 0.25}));
  EXPECT_EQ(json.at("recipe").dump().find("zzz"), std::string::npos);
  EXPECT_FALSE(json.at("scalars").contains("zzz"));
}

}  // namespace
}  // namespace puzzle::testing
