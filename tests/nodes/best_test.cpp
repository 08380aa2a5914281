#include "nodes/measure/best.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace puzzle
