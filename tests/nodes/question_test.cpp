// What can be asked of a variant table, against trying every choice.
#include "nodes/search/question.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/random.h"
#include "nodes/search/search_answer.h"
#include "tests/nodes/mip_problems.h"

namespace puzzle {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const auto kSilent = [](const std::string&) {};

// Up to three layers of a group per sub-block, or of one for both; small whole numbers, so that
// choices tie often. Every layer has kv heads 2 and 1 and channels 8 and 4 unless it drew
// otherwise.
VariantTable RandomTable(Random& random) {
  VariantTable table;
  table.resources = {"parameters", "memory_mib"};
  table.metrics = {"kl"};
  table.fixed = {100, 7};
  const auto draw = [&] { return static_cast<double>(random.Below(7)); };
  const auto variant = [&](std::optional<std::string> attention, std::optional<std::string> ffn,
                           bool is_parent) {
    const std::string name = attention.value_or("") + ' ' + ffn.value_or("");
    return VariantTable::Variant{
        name, {draw(), draw()}, {is_parent ? 0 : draw() - 1}, attention, ffn};
  };
  const std::vector<std::string> attentions = {"2 kv heads", "1 kv heads", ""};
  const std::vector<std::string> ffns = {"8 channels", "4 channels", ""};
  for (uint64_t layer = 0, n = 1 + random.Below(3); layer < n; ++layer) {
    const std::string name = "layer " + std::to_string(layer);
    if (random.Chance(1, 2)) {
      VariantTable::Group attention{name + " attn", {}}, ffn{name + " ffn", {}};
      for (const auto& shape : attentions) {
        if (!attention.variants.empty() && random.Chance(1, 5)) continue;
        attention.variants.push_back(variant(shape, std::nullopt, attention.variants.empty()));
      }
      for (const auto& shape : ffns) {
        if (!ffn.variants.empty() && random.Chance(1, 5)) continue;
        ffn.variants.push_back(variant(std::nullopt, shape, ffn.variants.empty()));
      }
      table.groups.push_back(attention);
      table.groups.push_back(ffn);
    } else {
      VariantTable::Group both{name, {}};
      for (const auto& attention : attentions) {
        for (const auto& ffn : ffns) {
          if (!both.variants.empty() && random.Chance(1, 5)) continue;
          both.variants.push_back(variant(attention, ffn, both.variants.empty()));
        }
      }
      table.groups.push_back(both);
    }
  }
  return table;
}

// Whether all layers take one shape that is not "" for this part.
bool IsAlike(const VariantTable& table, const std::vector<int>& variants,
             std::optional<std::string> VariantTable::Variant::*part) {
  std::optional<std::string> shape;
  for (size_t g = 0; g < variants.size(); ++g) {
    const auto& own = table.groups[g].variants[static_cast<size_t>(variants[g])].*part;
    if (!own) continue;
    if (own->empty() || (shape && *shape != *own)) return false;
    shape = own;
  }
  return true;
}

struct Best {
  double value = kInfinity;  // of what is minimised
  double loss = kInfinity;   // of those with that value the least
};

// By trying every choice of the table.
Best BruteForce(const VariantTable& table, const Question& question) {
  const bool kv = question.uniform == Uniform::kKv || question.uniform == Uniform::kAll;
  const bool ffn = question.uniform == Uniform::kFfn || question.uniform == Uniform::kAll;
  MipProblem every;
  for (const auto& group : table.groups) every.groups.emplace_back(group.variants.size());
  Best best;
  ForEachChoice(every, [&](const std::vector<int>& variants) {
    if (kv && !IsAlike(table, variants, &VariantTable::Variant::attention)) return;
    if (ffn && !IsAlike(table, variants, &VariantTable::Variant::ffn)) return;
    const auto totals = TotalsByName(table, variants);
    for (const MipLimit& limit : question.limits) {
      if (totals.at(limit.resource) > limit.high) return;
    }
    double loss = 0;
    for (size_t g = 0; g < variants.size(); ++g) {
      loss += *table.groups[g].variants[static_cast<size_t>(variants[g])].metrics[0];
    }
    if (question.loss && loss > question.loss->max) return;
    const double value = question.loss ? totals.at("parameters") : loss;
    if (value < best.value) best = {value, kInfinity};
    if (value == best.value) best.loss = std::min(best.loss, loss);
  });
  return best;
}

void ExpectAsBruteForce(const VariantTable& table, const Question& question) {
  const Best best = BruteForce(table, question);
  const TableAnswer answer = AskTable(table, question, kSilent);
  const MipSolution& found = answer.solutions.front();
  if (best.value == kInfinity) {
    EXPECT_EQ(found.status, SolveStatus::kInfeasible);
    EXPECT_NE(found.explanation, "");
    return;
  }
  ASSERT_EQ(found.status, SolveStatus::kOptimal) << found.explanation;
  EXPECT_DOUBLE_EQ(found.objective, best.value);
  EXPECT_DOUBLE_EQ(found.bound, best.value);
  EXPECT_DOUBLE_EQ(LossOf(answer, found), best.loss);
  const TableChoice choice = ChoiceInTable(table, answer.search, found);
  if (question.loss) {
    EXPECT_DOUBLE_EQ(choice.totals.at("parameters"), best.value);
  }
  if (question.uniform != Uniform::kNone) {
    Question without = question;
    without.uniform = Uniform::kNone;
    EXPECT_DOUBLE_EQ(answer.free->objective, BruteForce(table, without).value);
  }
}

TEST(QuestionTest, AnswersAreThoseOfTryingEveryChoice) {
  Random random(7);
  int infeasible = 0;
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(i);
    const VariantTable table = RandomTable(random);
    Question question;
    question.objective = {{"kl", 1}};
    if (random.Chance(1, 2)) {
      question.loss = LossLimit{static_cast<double>(random.Below(12)) - 3, ""};
    }
    if (random.Chance(1, 2)) {
      const json max = {{"memory_mib", 7 + static_cast<double>(random.Below(20))}};
      question.limits = ReadLimits(table, json::object(), max);
    }
    question.uniform = static_cast<Uniform>(random.Below(4));
    if (BruteForce(table, question).value == kInfinity) ++infeasible;
    ExpectAsBruteForce(table, question);
  }
  EXPECT_GT(infeasible, 20);
  EXPECT_LT(infeasible, 200);
}

// Two layers; a quarter of the parameters of an FFN costs .1 in the first, .3 in the second.
VariantTable TwoLayers() {
  VariantTable table;
  table.resources = {"num_params", "memory_mib"};
  table.metrics = {"kl"};
  table.fixed = {50, 1};
  for (const double loss : {0.1, 0.3}) {
    table.groups.push_back({loss == 0.1 ? "layer_0" : "layer_1",
                            {{"own", {100, 10}, {0}, "2 kv heads", "8 channels"},
                             {"small", {75, 9}, {loss}, "2 kv heads", "6 channels"},
                             {"none", {0, 0}, {5}, "", ""}}});
  }
  return table;
}

Question Inverse(double max, const std::string& minimize = "") {
  Question question;
  question.objective = {{"kl", 1}};
  question.loss = LossLimit{max, minimize};
  return question;
}

TEST(QuestionTest, TheSmallestChildKeepsItsLoss) {
  const TableAnswer answer = AskTable(TwoLayers(), Inverse(0.35), kSilent);
  EXPECT_EQ(answer.minimized, "num_params");
  EXPECT_EQ(answer.solutions[0].objective, 225) << "with what is spent whatever is chosen";
  EXPECT_DOUBLE_EQ(LossOf(answer, answer.solutions[0]), 0.1) << "of two that are as small";
  const std::string text = AnswerText(TwoLayers(), answer, "exact");
  EXPECT_THAT(text, HasSubstr("optimal (exact): least num_params 225, bound 225, gap 0 %"));
  EXPECT_THAT(text, HasSubstr("loss (kl) 0.100000  <= 0.35\n"));
  const json parsed = json::parse(AnswerJson(TwoLayers(), answer).dump());
  EXPECT_EQ(parsed["minimized"], "num_params");
  EXPECT_DOUBLE_EQ(parsed["loss"], 0.1);
  EXPECT_EQ(parsed["choice"], json({"small", "own"}));
  EXPECT_EQ(AskTable(TwoLayers(), Inverse(0.4, "memory_mib"), kSilent).solutions[0].objective, 19);
}

TEST(QuestionTest, NothingToLoseIsTheParentAndLessThanNothingIsRefused) {
  EXPECT_EQ(AskTable(TwoLayers(), Inverse(0), kSilent).solutions[0].choice,
            (std::vector<int>{0, 0}));
  const MipSolution none = AskTable(TwoLayers(), Inverse(-0.1), kSilent).solutions[0];
  EXPECT_EQ(none.status, SolveStatus::kInfeasible);
  EXPECT_EQ(none.explanation,
            "loss (kl) <= -0.1 cannot be met by any choice: the least possible is 0");
}

TEST(QuestionTest, EqualLayersSayWhatTheyCost) {
  Question question;
  question.objective = {{"kl", 1}};
  question.limits = ReadLimits(TwoLayers(), json::object(), json{{"num_params", 225}});
  question.uniform = Uniform::kAll;
  const TableAnswer answer = AskTable(TwoLayers(), question, kSilent);
  EXPECT_DOUBLE_EQ(answer.solutions[0].objective, 0.4);
  EXPECT_DOUBLE_EQ(answer.free->objective, 0.1);
  EXPECT_GT(answer.solutions[0].time_s, 0);
  EXPECT_THAT(AnswerText(TwoLayers(), answer, "exact"),
              testing::EndsWith("\nthe same in all layers: 2 kv heads, 6 channels; loss 0.400000, "
                                "+0.3 (+300.00 %) against free layers\n"));
  EXPECT_EQ(AnswerJson(TwoLayers(), answer)["uniform"]["shape"], "2 kv heads, 6 channels");
  question.limits = ReadLimits(TwoLayers(), json::object(), json{{"num_params", 100}});
  const MipSolution none = AskTable(TwoLayers(), question, kSilent).solutions[0];
  EXPECT_EQ(none.status, SolveStatus::kInfeasible);
  EXPECT_EQ(none.explanation,
            "no child with equal layers; nearest is 2 kv heads, 6 channels: num_params <= 100 "
            "cannot be met by any choice: the least possible is 200");
}

TEST(QuestionTest, LayersWithoutACommonShapeSaySo) {
  VariantTable table = TwoLayers();
  for (auto& variant : table.groups[1].variants) variant.ffn = "5 channels";
  Question question;
  question.objective = {{"kl", 1}};
  question.uniform = Uniform::kFfn;
  EXPECT_EQ(AskTable(table, question, kSilent).solutions[0].explanation,
            "uniform ffn: no such shape is among the scored variants of every layer");
  question.uniform = Uniform::kKv;
  EXPECT_EQ(AskTable(table, question, kSilent).solutions[0].objective, 0);
}

TEST(QuestionTest, WhatCannotBeAskedIsRefusedInOneSentence) {
  const auto failure = [](const std::function<void(Question&)>& change) -> std::string {
    Question question = Inverse(0.1);
    change(question);
    try {
      (void)AskTable(TwoLayers(), question, kSilent);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(failure([](Question& q) { q.settings.method = "depth"; }),
            "the smallest child within a loss needs the method exact or cbc, not depth");
  EXPECT_EQ(failure([](Question& q) {
              q.uniform = Uniform::kKv;
              q.settings.pool = 2;
            }),
            "a pool and uniform layers cannot be asked for together");
  EXPECT_EQ(failure([](Question& q) { q.loss->minimize = "throughput"; }),
            "loss.minimize: throughput is no cost; latency_ms is the time that limits it");
  EXPECT_EQ(failure([](Question& q) { q.loss->minimize = "disk"; }),
            "loss.minimize: unknown resource \"disk\"; there are num_params, memory_mib");
}

TEST(QuestionTest, LossLimitsAreReadStrictly) {
  EXPECT_FALSE(ReadLossLimit(json::object()));
  EXPECT_EQ(ReadLossLimit(json{{"max", 0.5}})->max, 0.5);
  EXPECT_EQ(ReadLossLimit(json{{"max", 1}, {"minimize", "memory_mib"}})->minimize, "memory_mib");
  for (const char* text : {"3", "[]", R"({"min": 1})", R"({"max": "5%"})", R"({"max": null})",
                           R"({"minimize": "memory_mib"})", R"({"max": 1, "minimize": ""})",
                           R"({"max": 1, "minimize": 2})", R"({"max": 1, "of": "kl"})"}) {
    EXPECT_THROW((void)ReadLossLimit(json::parse(text)), Error) << text;
  }
  EXPECT_THROW((void)ReadLossLimit(json{{"max", std::numeric_limits<double>::quiet_NaN()}}), Error);
}

}  // namespace
}  // namespace puzzle
