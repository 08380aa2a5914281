// What a global distillation trains, when it ends, and what it complains about. Its losses and bits
// are in distill_test.cpp.
#include "nodes/train/gkd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/Parallel.h>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "io/error.h"
#include "model/files/stored_parts.h"
#include "model/fused_blocks.h"
#include "model/math/runtime.h"
#include "model/surgery.h"
#include "nodes/precision/artifacts.h"
#include "nodes/train/stored_student.h"
#include "nodes/train/trained_parts.h"
#include "nodes/train/training_loop.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/step_contexts.h"
#include "tests/nodes/tiny_tokens.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;

class CountingContext final : public FakeContext {
 public:
  void Poll(double, std::string_view) override { ++rounds; }
  int rounds = 0;
};

// Keeps whoever asks for several sequences, as parts of a batch do, until `threads` have.
class MeetingStates {
 public:
  MeetingStates(TeacherStates states, size_t threads)
      : states_(std::move(states)), threads_(threads) {}
  std::vector<Tensor> operator()(const std::vector<int64_t>& rows) {
    if (rows.size() > 1) {
      std::unique_lock lock(meeting_->mutex);
      meeting_->met.insert(std::this_thread::get_id());
      meeting_->came.notify_all();
      EXPECT_TRUE(meeting_->came.wait_for(lock, std::chrono::seconds(20), [&] {
        return meeting_->met.size() >= threads_;
      })) << "one lane does all the work";
    }
    return states_(rows);
  }

 private:
  struct Meeting {
    std::mutex mutex;
    std::condition_variable came;
    std::set<std::thread::id> met;
  };
  TeacherStates states_;
  size_t threads_;
  std::shared_ptr<Meeting> meeting_ = std::make_shared<Meeting>();
};

class RepairTest : public testing::Test {
 protected:
  RepairTest() : parent_(TinyModel()) {
    params_.steps = 40;
    params_.lr = 2e-3;
  }

  // The parent with a narrow FFN in its last layer.
  ModelWeights Child() {
    ModelWeights child = Clone(parent_.weights());
    const VariantSpec spec = ResolveVariant("ffn:25%", parent_.config(), 1);
    Replace(child, 1, spec, InitVariant(parent_.weights(), 1, spec));
    return Clone(child);
  }
  GlobalDistillation Distill(const ModelWeights& child, RunContext& context,
                             const StoredTypes& types = {}) {
    const Transformer teacher =
        parent_.WithProductsIn(params_.compute == "bf16" ? at::kBFloat16 : at::kFloat);
    return DistillGlobally({{teacher, StatesOf(teacher, tokens_)}}, Transformer(child), tokens_,
                           params_, 1, context, types);
  }
  // On so many lanes, each of which does a part; one: as ever.
  std::pair<GlobalDistillation, ModelWeights> DistillOn(size_t lanes, RunContext& context) {
    const Transformer teacher =
        parent_.WithProductsIn(params_.compute == "bf16" ? at::kBFloat16 : at::kFloat);
    ModelWeights student = Child();
    const GlobalDistillation end =
        DistillGlobally({{teacher, MeetingStates(StatesOf(teacher, tokens_), lanes)}},
                        Transformer(student), tokens_, params_, 1, context, types_);
    return {end, student};
  }
  void ExpectTwoLanesToEndAsOne() {
    TeamContext two(2);
    FakeContext one;
    auto [end, student] = DistillOn(2, two);
    auto [expected_end, expected] = DistillOn(1, one);
    EXPECT_EQ(end.loss, expected_end.loss);
    EXPECT_EQ(end.held_out_before, expected_end.held_out_before);
    EXPECT_EQ(end.held_out, expected_end.held_out);
    EXPECT_EQ(end.best_step, expected_end.best_step);
    ExpectSameBits(Slots(student), Slots(expected));
  }
  // The names of the tensors of which a distillation changed a bit; it makes the child better.
  std::vector<std::string> ChangedBy(const std::string& train) {
    params_.train = train;
    ModelWeights before = Child();
    trained_ = Clone(before);
    FakeContext context;
    const GlobalDistillation end = Distill(trained_, context);
    EXPECT_LT(end.held_out, 0.95 * end.held_out_before) << train;
    std::vector<std::string> names;
    const auto old = Slots(before), now = Slots(trained_);
    for (size_t i = 0; i < old.size(); ++i)
      if (!old[i].second->equal(*now[i].second)) names.push_back(old[i].first);
    return names;
  }

  // Parts whose rows are whole blocks of 32, in few bits.
  static StoredTypes FewBits() {
    return {{kEmbeddingPart, &StoredTypeNamed("q4_0")},
            {SubBlockPart(0, SubBlock::kAttention), &StoredTypeNamed("q4_0")},
            {SubBlockPart(1, SubBlock::kAttention), &StoredTypeNamed("q4_1")},
            {SubBlockPart(1, SubBlock::kFfn), &StoredTypeNamed("f16")}};
  }
  // KL(parent || model) of the last four sequences, from whole rows of logits.
  double HeldOutKl(const ModelWeights& model) const {
    const at::NoGradGuard no_grad;
    const auto log_p = [&](const Transformer& of) {
      return of.Logits(tokens_.Batch(tokens_.sequences() - 4, 4))
          .narrow(1, 0, tokens_.length - 1)
          .to(at::kDouble)
          .log_softmax(-1);
    };
    const Tensor own = log_p(Transformer(model)), parents = log_p(parent_);
    return (parents.exp() * (parents - own)).sum(-1).mean().item<double>();
  }

  Transformer parent_;
  TokenSet tokens_ = TinyTokens(40);
  GkdParams params_;
  StoredTypes types_;  // of DistillOn
  ModelWeights trained_;
};

// The parent itself in few bits: what is measured and learned is what the file will hold.
TEST_F(RepairTest, WhatIsTrainedIsTheModelInTheFile) {
  for (const char* train : {"all", "adapters", "norms"}) {
    params_.train = train;
    ModelWeights student = Clone(parent_.weights());
    FakeContext context;
    const GlobalDistillation end = Distill(student, context, FewBits());
    const double before = HeldOutKl(StoredAs(parent_.weights(), FewBits()));
    EXPECT_GT(before, 1e-3);
    EXPECT_NEAR(end.held_out_before, before, 1e-4 * before) << train;
    EXPECT_LT(end.held_out, 0.9 * before) << train;
    EXPECT_NEAR(end.held_out, HeldOutKl(StoredAs(student, FewBits())), 1e-3 * before) << train;
    // The result are the weights before they are rounded.
    EXPECT_FALSE(student.embedding.equal(StoredAs(student, FewBits()).embedding));
  }
}

TEST_F(RepairTest, TheFileIsTrainedForInBf16Too) {
  params_.compute = "bf16";
  ModelWeights student = Clone(parent_.weights());
  FakeContext context;
  const GlobalDistillation end = Distill(student, context, FewBits());
  EXPECT_LT(HeldOutKl(StoredAs(student, FewBits())),
            0.9 * HeldOutKl(StoredAs(parent_.weights(), FewBits())));
  EXPECT_GT(end.best_step, 0);
}

// Rounded, and measured as it is then: the KL held out is not that of the best step.
TEST_F(RepairTest, TheResultMayBeOneOfBf16) {
  for (const char* train : {"all", "adapters"}) {
    params_.train = train;
    ModelWeights whole = Child(), halved = Child();
    FakeContext context;
    params_.dtype = "fp32";
    const GlobalDistillation before = Distill(whole, context);
    params_.dtype = "bf16";
    const GlobalDistillation end = Distill(halved, context);
    EXPECT_EQ(end.held_out_before, before.held_out_before);
    EXPECT_NE(end.held_out, before.held_out) << train;
    EXPECT_NEAR(end.held_out, HeldOutKl(halved), 1e-4 * end.held_out) << train;
    const auto all = Slots(whole), rounded = Slots(halved);
    for (size_t i = 0; i < all.size(); ++i)
      EXPECT_TRUE(rounded[i].second->equal(all[i].second->to(at::kBFloat16).to(at::kFloat)))
          << all[i].first;
  }
}

TEST_F(RepairTest, GradientsPassStraightThroughTheTypesOfTheFile) {
  const at::AutoGradMode with_gradients(true);
  const Tensor ids = tokens_.Batch(0, 2);
  const auto leaves_of = [](ModelWeights weights) {
    for (const auto& [name, slot] : Slots(weights))
      *slot = slot->detach().clone().set_requires_grad(true);
    return weights;
  };
  const StoredStudent stored(FewBits());
  const Transformer seen = stored.Seen(parent_);
  ModelWeights own = leaves_of(parent_.weights()), values = leaves_of(seen.weights());
  const Tensor logits = stored.Through(Transformer(own), seen).Logits(ids);
  const Tensor expected = Transformer(values).Logits(ids);
  EXPECT_TRUE(logits.equal(expected));
  logits.square().mean().backward();
  expected.square().mean().backward();
  const auto found = Slots(own), wanted = Slots(values);
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_TRUE(found[i].second->grad().equal(wanted[i].second->grad())) << found[i].first;
}

TEST_F(RepairTest, LanesTrainTheFileToTheBitsOfOne) {
  const int threads = at::get_num_threads();
  SetThreads(1);
  params_.steps = 5;
  types_ = {{kEmbeddingPart, &StoredTypeNamed("q4_0")},
            {SubBlockPart(0, SubBlock::kAttention), &StoredTypeNamed("q5_1")}};
  for (const char* recompute : {"on", "off"}) {
    params_.recompute = recompute;
    ExpectTwoLanesToEndAsOne();
  }
  SetThreads(threads);
}

TEST_F(RepairTest, DevicesTrainTheFileAsOneDoes) {
  params_.steps = 1;
  types_ = {{kEmbeddingPart, &StoredTypeNamed("q4_0")}};
  const Transformer other(Clone(parent_.weights()));
  ModelWeights student = Child();
  TeamContext two(2);
  (void)DistillGlobally({{parent_, StatesOf(parent_, tokens_)}, {other, StatesOf(other, tokens_)}},
                        Transformer(student), tokens_, params_, 1, two, types_);
  FakeContext one;
  auto [end, expected] = DistillOn(1, one);
  const Tensor apart = student.embedding - expected.embedding;
  EXPECT_LE(apart.norm().item<double>(), 1e-5 * expected.embedding.norm().item<double>());
  EXPECT_FALSE(student.embedding.equal(parent_.weights().embedding));
}

TEST_F(RepairTest, ThePrecisionIsOneOfTheStudents) {
  Precision precision;
  for (const ModelPart& part : StoredParts(parent_.config()))
    precision.picks.push_back({part.name, part.variant, "f16", 0, 0});
  precision.picks.front().type = "q4_0";  // of the embedding
  params_.steps = 20;
  const auto run = [&](const ModelWeights& student) {
    FakeInputs inputs;
    inputs.Add("teacher", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("student", "child", Checkpoint{student, {}, {}, {}})
        .Add("tokens", "tokens", tokens_)
        .Add("precision", "precision", precision);
    FakeContext context;
    return RunGkd(params_, inputs, context).figures;
  };
  const auto figures = run(parent_.weights());
  const double before = HeldOutKl(StoredAs(parent_.weights(), precision.Types()));
  EXPECT_NEAR(figures.at("held_out_kl_before"), before, 1e-4 * before);
  EXPECT_LT(figures.at("held_out_kl"), before);
  try {
    (void)run(Child());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("chosen for another model: its layer 1 ffn is ffn:48"));
  }
}

TEST_F(RepairTest, ChangedSubBlocksAloneAreTrained) {
  for (const char* compute : {"fp32", "bf16"}) {
    params_.compute = compute;
    EXPECT_THAT(ChangedBy("changed"),
                testing::ElementsAre("model.layers.1.post_attention_layernorm.weight",
                                     "model.layers.1.mlp.gate_proj.weight",
                                     "model.layers.1.mlp.up_proj.weight",
                                     "model.layers.1.mlp.down_proj.weight"));
  }
}

TEST_F(RepairTest, NormsAndOutputsAloneAreTrained) {
  const std::vector<std::string> names = ChangedBy("norms");
  EXPECT_EQ(names.size(), 9U);
  for (const std::string& name : names)
    EXPECT_THAT(name,
                testing::AnyOf(HasSubstr("norm"), HasSubstr("o_proj"), HasSubstr("down_proj")));
}

TEST_F(RepairTest, AdaptersChangeMatricesOfBlocksByTheirRank) {
  params_.rank = 3;
  params_.weight_decay = 0;
  const std::vector<std::string> names = ChangedBy("adapters");
  EXPECT_EQ(names.size(), 14U);
  ModelWeights before = Child();
  const auto old = Slots(before), now = Slots(trained_);
  for (size_t i = 0; i < old.size(); ++i) {
    if (old[i].second->dim() != 2 || old[i].first.find("layers") == std::string::npos) {
      EXPECT_TRUE(now[i].second->equal(*old[i].second)) << old[i].first;
      continue;
    }
    const Tensor values = at::linalg_svdvals(*now[i].second - *old[i].second);
    EXPECT_GT(values[0].item<double>(), 1e-4) << old[i].first;
    EXPECT_LT(values[3].item<double>(), 1e-3 * values[0].item<double>()) << old[i].first;
  }
}

// Of matrices that were rounded before nobody reads the values.
TEST_F(RepairTest, AdaptersHaveTheSameGradientsWithoutValues) {
  const at::AutoGradMode with_gradients(true);
  params_.train = "adapters";
  params_.rank = 3;
  const Transformer student(Child());
  const TrainedParts parts(params_, parent_.weights(), student, 1);
  std::vector<Tensor> leaves;
  for (const Tensor& parameter : parts.parameters()) {
    parameter.copy_(RandomTensor(parameter.sizes().vec(), leaves.size()));
    leaves.push_back(parameter.detach().requires_grad_(true));
  }
  const RoundedBlocks rounded = Rounded(parts.Now()), again = Rounded(parts.NowForFused());
  ASSERT_NE(rounded, nullptr);
  for (size_t layer = 0; layer < rounded->size(); ++layer) {
    const VariantSpec spec =
        ParentVariant(student.config(), static_cast<int64_t>(layer), SubBlock::kBoth);
    SubBlockWeights own = (*rounded)[layer], other = (*again)[layer];
    ExpectSameBits(Slots(own, spec), Slots(other, spec));
  }
  const Tensor x = RandomTensor({2, 16, 32}, 77);
  const auto gradients = [&](const Transformer& model) {
    return torch::autograd::grad({FusedBlocks(model, rounded, x, 0, 2).square().mean()}, leaves);
  };
  const auto expected = gradients(parts.With(leaves, student.weights()));
  const auto found = gradients(parts.ForFused(leaves, student.weights()));
  for (size_t i = 0; i < leaves.size(); ++i) {
    EXPECT_TRUE(found[i].equal(expected[i])) << i;
    EXPECT_GT(found[i].abs().max().item<double>(), 0) << i;
  }
}

TEST_F(RepairTest, WhatIsTrainedDoesNotDependOnTheThreads) {
  params_.steps = 3;
  params_.batch = 7;
  for (const char* train : {"changed", "norms", "adapters"}) {
    params_.train = train;
    std::vector<ModelWeights> results;
    for (const int threads : {1, 2}) {
      const ThreadsGuard guard(threads);
      ModelWeights student = Child();
      FakeContext context;
      (void)Distill(student, context);
      results.push_back(student);
    }
    ExpectSameBits(Slots(results[1]), Slots(results[0]));
  }
}

// Where the memory is short blocks are computed again, and what is trained lies in files.
TEST_F(RepairTest, LittleMemoryTrainsToTheSameBitsAndIsSaid) {
  params_.steps = 12;
  const ThreadsGuard two(2);
  for (const auto& [train, compute] :
       {std::pair("all", "fp32"), std::pair("norms", "fp32"), std::pair("adapters", "fp32"),
        std::pair("all", "bf16"), std::pair("adapters", "bf16")}) {
    SCOPED_TRACE(std::string(train) + " " + compute);
    params_.train = train;
    params_.compute = compute;
    FakeContext much;
    ModelWeights expected = Child();
    const GlobalDistillation end = Distill(expected, much);
    EXPECT_EQ(much.files, 0);
    EXPECT_THAT(much.warnings, testing::IsEmpty());
    FakeContext little;
    little.memory = little.resident = 1000;
    ModelWeights student = Child();
    const GlobalDistillation again = Distill(student, little);
    const bool has_bf16 = ProductType(compute, "cpu") == at::kBFloat16;
    EXPECT_EQ(little.files, 5 + (has_bf16 ? 3 : 0))
        << "parameters, gradients, two moments, the best state; in bf16 the matrices of the blocks "
           "and of both heads";
    ASSERT_EQ(little.warnings.size(), 1U);
    EXPECT_THAT(little.warnings[0],
                HasSubstr("blocks are computed again for their gradients, parameters, gradients, "
                          "moments and rounded matrices lie in files"));
    EXPECT_THAT(little.warnings[0], HasSubstr("; that is more than it has"));
    EXPECT_EQ(again.loss, end.loss);
    EXPECT_EQ(again.held_out, end.held_out);
    EXPECT_EQ(again.best_step, end.best_step);
    ExpectSameBits(Slots(student), Slots(expected));
  }
}

// The whole step, whose student goes from one place to another and whose result is the optimizer's.
TEST_F(RepairTest, AStepInLittleMemoryHasTheSameResult) {
  params_.steps = 6;
  for (const char* train : {"all", "changed", "adapters"}) {
    params_.train = train;
    const auto run = [&](FakeContext& context) {
      FakeInputs inputs;
      inputs.Add("teacher", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
          .Add("student", "child", Checkpoint{Child(), {}, {}, {}})
          .Add("tokens", "tokens", tokens_);
      return RunGkd(params_, inputs, context);
    };
    FakeContext much, little;
    little.memory = little.resident = 1000;
    Checkpoint expected = run(much), result = run(little);
    EXPECT_GT(little.files, 6) << "both models too";
    EXPECT_EQ(result.figures, expected.figures);
    ExpectSameBits(Slots(result.model), Slots(expected.model));
    for (const auto& [name, slot] : Slots(result.model)) {
      EXPECT_FALSE(slot->requires_grad()) << name;
      EXPECT_FALSE(slot->grad().defined()) << name;
    }
  }
}

TEST_F(RepairTest, TwoLanesTrainToTheBitsOfOne) {
  const int threads = at::get_num_threads();
  SetThreads(1);
  params_.steps = 5;
  params_.checks = 5;
  for (const char* compute : {"fp32", "bf16"}) {
    for (const char* train : {"all", "changed", "adapters"}) {
      for (const int64_t batch : {7, 8}) {  // parts of unequal and of equal size
        params_.compute = compute;
        params_.train = train;
        params_.batch = batch;
        params_.recompute = batch == 8 ? "on" : "off";
        ExpectTwoLanesToEndAsOne();
      }
    }
  }
  SetThreads(threads);
}

// Devices with memories of their own, which the CPU is here twice: a teacher and copies of the
// parameters on each.
TEST_F(RepairTest, TwoDevicesTrainAsOneDoes) {
  params_.steps = 5;
  params_.batch = 7;
  for (const char* train : {"all", "norms", "adapters"}) {
    params_.train = train;
    const Transformer other(Clone(parent_.weights()));
    ModelWeights student = Child();
    TeamContext two(2);
    const GlobalDistillation end =
        DistillGlobally({{parent_, StatesOf(parent_, tokens_)}, {other, StatesOf(other, tokens_)}},
                        Transformer(student), tokens_, params_, 1, two);
    FakeContext one;
    auto [expected_end, expected] = DistillOn(1, one);
    EXPECT_NEAR(end.loss, expected_end.loss, 1e-5 * expected_end.loss);
    EXPECT_NEAR(end.held_out, expected_end.held_out, 1e-5 * expected_end.held_out);
    const auto found = Slots(student), wanted = Slots(expected);
    for (size_t i = 0; i < found.size(); ++i) {
      const Tensor apart = *found[i].second - *wanted[i].second;
      EXPECT_LE(apart.norm().item<double>(), 1e-5 * wanted[i].second->norm().item<double>())
          << train << " " << found[i].first;
    }
  }
}

TEST_F(RepairTest, LanesWithoutAPartAreWarnedOf) {
  params_.steps = 1;
  TeamContext six(6);
  (void)DistillOn(1, six);
  EXPECT_THAT(six.warnings, testing::Contains(HasSubstr("in 4 parts: of 6 lanes the others")));
}

TEST_F(RepairTest, ThreeLanesEndEarlyDivergeAndFailAsOneDoes) {
  params_.lr = 0.9;
  params_.checks = 10;
  params_.patience = 2;
  TeamContext hasty(3);
  EXPECT_EQ(DistillOn(1, hasty).first.best_step, 0);
  EXPECT_EQ(hasty.rounds, 8);
  params_.lm_weight = std::numeric_limits<double>::infinity();
  TeamContext three(3);
  FakeContext one;
  auto [end, student] = DistillOn(3, three);
  auto [expected_end, expected] = DistillOn(1, one);
  EXPECT_THAT(three.warnings, testing::ElementsAre(HasSubstr("its cross entropy")));
  EXPECT_EQ(three.warnings, one.warnings);
  ExpectSameBits(Slots(student), Slots(expected));
  params_.holdout = 0;
  EXPECT_THROW((void)DistillOn(3, three), Error);

  const TeacherStates states = StatesOf(parent_, tokens_);
  const auto fails = [&](const std::vector<int64_t>& rows) {
    if (rows.size() > 1) throw Error("the disk is gone");
    return states(rows);
  };
  try {
    (void)DistillGlobally({{parent_, fails}}, Transformer(Child()), tokens_, params_, 1, three);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the disk is gone");
  }
}

TEST_F(RepairTest, NothingToTrainIsAnError) {
  params_.train = "changed";
  FakeContext context;
  try {
    (void)Distill(Clone(parent_.weights()), context);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no sub-block that is not the teacher's"));
  }
}

// Cross entropy alone: only the KL held out wants to know what the teacher says.
TEST_F(RepairTest, ATeacherThatNoLossAsksIsNotRun) {
  std::atomic<int> asked = 0;
  const auto counted = [&, states = StatesOf(parent_, tokens_)](const std::vector<int64_t>& rows) {
    ++asked;
    return states(rows);
  };
  const auto times_asked = [&](double kl, double cosine) {
    params_.steps = 2;
    params_.kl_weight = kl;
    params_.cosine_weight = cosine;
    params_.lm_weight = 1;
    asked = 0;
    FakeContext context;
    (void)DistillGlobally({{parent_, counted}}, Transformer(Child()), tokens_, params_, 1, context);
    return asked.load();
  };
  constexpr int kHeldOut = 4, kParts = 2 * 4;
  EXPECT_EQ(times_asked(0, 0), kHeldOut);
  EXPECT_EQ(times_asked(1, 0), kHeldOut + kParts);
  EXPECT_EQ(times_asked(0, 1), kHeldOut + kParts);
}

TEST_F(RepairTest, EndsWhenNoBetterStateComes) {
  params_.lr = 0.9;  // the child as it was stays the best
  params_.steps = 40;
  params_.checks = 10;
  CountingContext patient, hasty;
  (void)Distill(Child(), patient);
  EXPECT_EQ(patient.rounds, 40);
  params_.patience = 2;
  EXPECT_EQ(Distill(Child(), hasty).best_step, 0);
  EXPECT_EQ(hasty.rounds, 8);
}

TEST_F(RepairTest, ALearningRateOfNoneIsThatOfTheRule) {
  const auto trained = [&](double rate) {
    params_.lr = rate;
    params_.steps = 3;
    ModelWeights child = Child();
    FakeContext context;
    (void)Distill(child, context);
    return child;
  };
  ModelWeights by_rule = trained(0), given = trained(5e-4);
  ExpectSameBits(Slots(by_rule), Slots(given));
  EXPECT_DOUBLE_EQ(GkdParams().PeakRate(2048), 0.1 / 2048);
}

TEST_F(RepairTest, AnotherModelsChildIsAskedAbout) {
  ModelWeights other = Clone(parent_.weights());
  other.embedding.mul_(-20.0);
  const auto warnings = [&](const ModelWeights& student) {
    FakeInputs inputs;
    inputs.Add("teacher", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("student", "child", Checkpoint{student, {}, {}, {}})
        .Add("tokens", "tokens", tokens_);
    params_.steps = 1;
    FakeContext context;
    const Checkpoint result = RunGkd(params_, inputs, context);
    EXPECT_EQ(result.figures.at("product_bits"), 32);
    return context.warnings;
  };
  EXPECT_THAT(warnings(other), testing::Contains(HasSubstr("is it a child of this teacher?")));
  EXPECT_THAT(warnings(Child()),
              testing::Not(testing::Contains(HasSubstr("is it a child of this teacher?"))));
}

TEST(TrainingLoopTest, AGradientThatIsNotFiniteEndsTheTraining) {
  const Tensor matrix = RandomTensor({2, 2}, 1);
  AdamW optimizer({matrix}, {});
  TrainingParams params;
  params.batch = 1;
  FakeContext context;
  const auto backward = [&](const std::vector<int64_t>&) {
    const at::AutoGradMode with_gradients(true);
    (matrix * std::numeric_limits<float>::infinity()).sum().backward();
    return 1.0;
  };
  const TrainingLoop loop{.what = "a training", .steps = 3, .sequences = 4};
  try {
    (void)RunTrainingLoop(loop, params, optimizer, context, backward);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("a training diverged at step 0: loss 1.0000, gradient "));
  }
}

}  // namespace
}  // namespace puzzle
