// What was made before a parameter came stays valid.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "graph/kind/params.h"
#include "nodes/cost/kinds.h"
#include "nodes/measure/kinds.h"
#include "nodes/train/kinds.h"

namespace puzzle {
namespace {

// What a step of this kind with these parameters has in its key.
std::string Keyed(const std::string& name, const nlohmann::ordered_json& params) {
  std::vector<NodeKind> kinds = MeasureKinds();
  for (NodeKind& kind : TrainKinds()) kinds.push_back(std::move(kind));
  for (NodeKind& kind : CostKinds()) kinds.push_back(std::move(kind));
  for (const NodeKind& kind : kinds) {
    if (kind.name != name) continue;
    const ParamBinder binder(kind, nullptr);
    std::vector<const nlohmann::ordered_json*> given(kind.params.size());
    for (const auto& [param, value] : params.items())
      given[static_cast<size_t>(binder.Find(param))] = &value;
    std::vector<ParamMistake> mistakes;
    const BoundParams bound = binder.Bind(given, mistakes);
    EXPECT_TRUE(mistakes.empty());
    return bound.keyed;
  }
  return "no such kind";
}

TEST(ScoreKeyTest, Fp32IsWhatAllScoresWereComputedIn) {
  EXPECT_EQ(Keyed("score", nlohmann::ordered_json::object()), "{}");
  EXPECT_EQ(Keyed("score", {{"compute", "fp32"}, {"batch", 4}}), "{}");
  EXPECT_EQ(Keyed("score", {{"compute", "bf16"}}), R"({"compute":"bf16"})");
}

TEST(ScoreKeyTest, AndTheVocabularyOfAllDistillations) {
  const std::string before = Keyed("gkd", nlohmann::ordered_json::object());
  EXPECT_EQ(before,
            R"({"batch":8,"checks":5,"clip":1,"compute":"fp32","cosine_weight":1,"holdout":4,)"
            R"("kl_weight":1,"lm_weight":0,"lr":0,"patience":0,"rank":16,"seed":1,"steps":240,)"
            R"("train":"all","warmup":0.05,"weight_decay":0.1})");
  EXPECT_EQ(Keyed("gkd", {{"head_compute", "auto"}, {"recompute", "on"}, {"devices", 4}}), before);
  EXPECT_THAT(Keyed("gkd", {{"head_compute", "bf16"}}),
              testing::HasSubstr(R"("head_compute":"bf16")"));
}

TEST(ScoreKeyTest, AndAllCostsOfAParent) {
  EXPECT_EQ(Keyed("cost", {{"variants", {"attn:none"}}}),
            R"({"activations":"bf16","batch":1,"compat":"none","device":"","generation":1024,)"
            R"("kv":"bf16","multiple_of":8,"prefill":1024,"variants":["attn:none"],)"
            R"("weights":"bf16"})");
}

TEST(ScoreKeyTest, AndAllEvaluations) {
  const std::string before =
      R"({"label":"model","max_questions":0,"positions":0,"prompt":"","questions":"",)"
      R"("sample_tokens":0,"series":""})";
  EXPECT_EQ(Keyed("evaluate", nlohmann::ordered_json::object()), before);
  EXPECT_EQ(Keyed("evaluate", {{"compute", "fp32"}, {"batch", 2}}), before);
  EXPECT_NE(Keyed("evaluate", {{"compute", "bf16"}}), before);
}

}  // namespace
}  // namespace puzzle
