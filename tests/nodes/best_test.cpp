#include "nodes/measure/best.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <tuple>

#include "io/error.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/token_metrics.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

Checkpoint Candidate(double figure) {
  Checkpoint checkpoint;
  checkpoint.model = TinyModel();
  checkpoint.figures["mark"] = figure;
  return checkpoint;
}

Evaluation MeasuredAt(const std::string& model_digest, double kl) {
  Evaluation evaluation;
  evaluation.label = "child " + model_digest;
  evaluation.model_digest = model_digest;
  evaluation.has_kl = true;
  evaluation.metrics = MetricsWith(Metric::kKl, kl);
  return evaluation;
}

FakeInputs Three() {
  FakeInputs inputs;
  inputs.Add("models", "a", Candidate(1));
  inputs.Add("models", "b", Candidate(2));
  inputs.Add("models", "c", Candidate(3));
  inputs.Add("evaluations", "1", MeasuredAt("c", 0.7));
  inputs.Add("evaluations", "2", MeasuredAt("b", 0.2));
  return inputs;
}

std::string Failure(const FakeInputs& inputs) {
  FakeContext context;
  try {
    static_cast<void>(RunBest({}, inputs, context));
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(BestTest, TheModelWithTheLeastMeasuredKlWins) {
  FakeInputs inputs = Three();
  inputs.Add("evaluations", "3", MeasuredAt("a", 0.5));
  FakeContext context;
  EXPECT_EQ(RunBest({}, inputs, context).figures.at("mark"), 2);
}

TEST(BestTest, EveryCandidateMustHaveBeenMeasuredAgainstItsParent) {
  EXPECT_THAT(Failure(Three()), HasSubstr("has no evaluation"));
  FakeInputs alone;
  alone.Add("models", "a", Candidate(1));
  EXPECT_THAT(Failure(alone), HasSubstr("has no evaluation"));
  FakeInputs nan = Three();
  nan.Add("evaluations", "3", MeasuredAt("a", std::nan("")));
  EXPECT_THAT(Failure(nan), HasSubstr("\"child a\" is not a number"));
  FakeInputs no_parent = Three();
  Evaluation without = MeasuredAt("a", 0);
  without.has_kl = false;
  no_parent.Add("evaluations", "3", without);
  EXPECT_THAT(Failure(no_parent), HasSubstr("\"child a\" has no KL"));
}

BestParams Within(const nlohmann::json& within) {
  BestParams params;
  params.within = within;
  return params;
}

// The parent, and children of it that lose more the smaller they are.
FakeInputs Family(bool with_parent) {
  FakeInputs inputs;
  int64_t parameters = 1000;
  for (const char* name : {"parent", "a", "b", "c"}) {
    Evaluation evaluation = MeasuredAt(name, 0.1 * static_cast<double>(1000 - parameters) / 100);
    evaluation.parameters = parameters;
    const double accuracy = 0.5 - 0.01 * static_cast<double>(1000 - parameters) / 100;
    evaluation.tasks = {{"copa", 100, 0, {{"acc", accuracy}, {"stderr", 0.05}}, "acc", {}}};
    if (parameters == 1000) evaluation.has_kl = false;
    if (parameters < 1000 || with_parent) {
      inputs.Add("models", name, Candidate(static_cast<double>(parameters)));
      inputs.Add("evaluations", name, evaluation);
    }
    parameters -= 100;
  }
  return inputs;
}

TEST(BestTest, TheSmallestModelWithinALossIsFound) {
  FakeContext context;
  const auto smallest = [&](const nlohmann::json& within) {
    return RunBest(Within(within), Family(true), context).figures.at("mark");
  };
  EXPECT_EQ(smallest({{"kl", 0.25}}), 800);
  EXPECT_EQ(smallest({{"kl", 9}}), 700);
  EXPECT_EQ(smallest({{"kl", 0.05}}), 1000) << "the parent loses nothing";
  EXPECT_EQ(smallest({{"task_accuracy", 0.011}}), 900);
  EXPECT_EQ(smallest({{"task_accuracy", "4.1%"}}), 800);
  // Just what may be lost, which rounding makes a little more.
  EXPECT_EQ(smallest({{"task_accuracy", 0.01}}), 900);
  EXPECT_EQ(smallest({{"task_accuracy", "4%"}}), 800);
  EXPECT_EQ(smallest({{"task_accuracy", 0.0099}}), 1000);
}

TEST(BestTest, WhatLosesAllThatMayBeLostIsWithinTheLimit) {
  FakeInputs inputs;
  for (const auto& [name, loss, parameters] :
       {std::tuple("a", 0.25, 900), std::tuple("b", 0.5, 800), std::tuple("c", 0.75, 700)}) {
    Evaluation evaluation = MeasuredAt(name, loss);
    evaluation.parameters = parameters;
    inputs.Add("models", name, Candidate(parameters)).Add("evaluations", name, evaluation);
  }
  FakeContext context;
  EXPECT_EQ(RunBest(Within({{"kl", 0.5}}), inputs, context).figures.at("mark"), 800);
  EXPECT_EQ(RunBest(Within({{"kl", 0.499}}), inputs, context).figures.at("mark"), 900);
}

TEST(BestTest, WhatCannotBeAnsweredSaysWhatToConnect) {
  FakeContext context;
  const auto failure = [&](const nlohmann::json& within, bool with_parent) {
    try {
      static_cast<void>(RunBest(Within(within), Family(with_parent), context));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(
      failure({{"kl", 0.05}}, false),
      HasSubstr("every model loses kl by more than 0.05; \"child a\" loses 0.1, the least"));
  EXPECT_THAT(failure({{"task_accuracy", "1%"}}, false),
              HasSubstr("connect the evaluation of the parent"));
  EXPECT_THAT(failure({{"kl", "1%"}}, true), HasSubstr("no percentage"));
  EXPECT_THAT(failure({{"kll", 1}}, true), HasSubstr("unknown measure \"kll\""));
}

}  // namespace
}  // namespace puzzle
