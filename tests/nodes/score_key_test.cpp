// Scores that were stored before `compute` came stay valid.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "graph/kind/params.h"
#include "nodes/measure/kinds.h"

namespace puzzle {
namespace {

// What a `score` with these parameters has in its key.
std::string Keyed(const nlohmann::ordered_json& params) {
  for (const NodeKind& kind : MeasureKinds()) {
    if (kind.name != "score") continue;
    const ParamBinder binder(kind, nullptr);
    std::vector<const nlohmann::ordered_json*> given(kind.params.size());
    for (const auto& [name, value] : params.items())
      given[static_cast<size_t>(binder.Find(name))] = &value;
    std::vector<ParamMistake> mistakes;
    const BoundParams bound = binder.Bind(given, mistakes);
    EXPECT_TRUE(mistakes.empty());
    return bound.keyed;
  }
  return "no such kind";
}

TEST(ScoreKeyTest, Fp32IsWhatAllScoresWereComputedIn) {
  EXPECT_EQ(Keyed(nlohmann::ordered_json::object()), "{}");
  EXPECT_EQ(Keyed({{"compute", "fp32"}, {"batch", 4}}), "{}");
  EXPECT_EQ(Keyed({{"compute", "bf16"}}), R"({"compute":"bf16"})");
}

}  // namespace
}  // namespace puzzle
