// The steps of a training of whole models, seen from outside: what is asked for is counted, and one
// parameter's gradient is always 1, so that AdamW moves it by the learning rate of the step.
#include "nodes/train/training_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/pch.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ListeningContext final : public FakeContext {
 public:
  void Poll(double fraction, std::string_view note) override {
    fractions.push_back(fraction);
    notes.emplace_back(note);
  }
  std::vector<double> fractions;
  std::vector<std::string> notes;
};

// Remembers where whole arrays were read to.
class PlacesOfReading final : public ArchiveReader {
 public:
  explicit PlacesOfReading(std::shared_ptr<const ArchiveReader> inner) : inner_(std::move(inner)) {}

  bool HasAttribute(std::string_view name) const override { return inner_->HasAttribute(name); }
  nlohmann::json Attribute(std::string_view name) const override { return inner_->Attribute(name); }
  std::vector<std::string> AttributeNames() const override { return inner_->AttributeNames(); }
  std::vector<std::string> ArrayNames() const override { return inner_->ArrayNames(); }
  bool HasArray(std::string_view name) const override { return inner_->HasArray(name); }
  ArrayInfo Info(std::string_view name) const override { return inner_->Info(name); }
  void Read(std::string_view name, void* out) const override {
    places_[std::string(name)] = out;
    inner_->Read(name, out);
  }
  void ReadRows(std::string_view name, int64_t first, int64_t count, void* out) const override {
    inner_->ReadRows(name, first, count, out);
  }
  [[nodiscard]] const void* Of(const std::string& name) const { return places_.at(name); }

 private:
  std::shared_ptr<const ArchiveReader> inner_;
  mutable std::map<std::string, const void*> places_;
};

class WholeTrainingTest : public testing::Test {
 protected:
  WholeTrainingTest() {
    params_.lr = 0.1;
    params_.warmup = 0.4;
    params_.batch = 2;
    loop_ = {.what = "pretraining", .steps = 5, .sequences = 6, .seed = 1, .final_ratio = 0.5};
  }

  // `losses` in turn.
  double Train(const std::vector<double>& losses, float gradient = 1) {
    return RunTrainingLoop(loop_, params_, optimizer_, context_,
                           [&](const std::vector<int64_t>& rows) {
                             parameter_.mutable_grad().fill_(gradient);
                             batches_.push_back(rows);
                             return losses.at(batches_.size() - 1);
                           });
  }
  [[nodiscard]] double Value() const {
    return optimizer_.state().values.select(0, 0).item<double>();
  }

  at::Tensor parameter_ = at::zeros({1, 1});
  AdamW optimizer_{{parameter_}, {.weight_decay = 0, .clip_norm = 0}};
  TrainingParams params_;
  TrainingLoop loop_;
  ListeningContext context_;
  std::vector<std::vector<int64_t>> batches_;
};

TEST_F(WholeTrainingTest, EveryStepTakesABatchAndTellsHowFarItIs) {
  EXPECT_NEAR(Train({1, 2, 3, 4, 5}), 1.47561875, 1e-12) << "19 parts before, one of the new loss";
  ASSERT_EQ(batches_.size(), 5u);
  std::set<int64_t> epoch;
  for (size_t step = 0; step < 3; ++step)
    epoch.insert(batches_[step].begin(), batches_[step].end());
  EXPECT_EQ(epoch.size(), 6u) << "each sequence once";
  EXPECT_EQ(batches_[4].size(), 2u);
  EXPECT_THAT(context_.fractions,
              testing::Pointwise(testing::DoubleNear(1e-12), {0.2, 0.4, 0.6, 0.8, 1.0}));
  EXPECT_THAT(context_.notes, ElementsAre("loss 1.0000", "loss 1.0500", "loss 1.1475",
                                          "loss 1.2901", "loss 1.4756"));
}

// Two steps of warm-up: .05 and .1; then half of .1 and the other half on a quarter, a half and
// three quarters of the cosine's way: .09267767, .075, .05732233.
TEST_F(WholeTrainingTest, TheRateRisesAndFallsToItsLastPart) {
  (void)Train({1, 1, 1, 1, 1});
  EXPECT_NEAR(Value(), -(0.05 + 0.1 + 0.09267767 + 0.075 + 0.05732233), 1e-6);
}

TEST_F(WholeTrainingTest, TheBestStateIsLookedForEvenlyAndPutBack) {
  const std::vector<double> figures = {3, 2, 1, 2, 2.5, 4};
  std::vector<double> values;
  BestState best(optimizer_, [&] {
    values.push_back(Value());
    return figures.at(values.size() - 1);
  });
  loop_.steps = 10;
  loop_.best = &best;
  (void)Train(std::vector<double>(10, 1));
  EXPECT_EQ(batches_.size(), 10u);
  ASSERT_EQ(values.size(), 6u) << "before the first step and after every second one";
  EXPECT_EQ(values[0], 0);
  EXPECT_EQ(best.first(), 3);
  EXPECT_EQ(best.best(), 1);
  EXPECT_EQ(best.best_step(), 4);
  EXPECT_EQ(Value(), values[2]);
  EXPECT_THAT(context_.notes,
              ElementsAre("loss 1.0000", "loss 1.0000, held out 2.0000",
                          "loss 1.0000, held out 2.0000", "loss 1.0000, held out 1.0000",
                          "loss 1.0000, held out 1.0000", "loss 1.0000, held out 2.0000",
                          "loss 1.0000, held out 2.0000", "loss 1.0000, held out 2.5000",
                          "loss 1.0000, held out 2.5000", "loss 1.0000, held out 4.0000"));
}

TEST_F(WholeTrainingTest, PatienceEndsAfterSoManyLooksWithoutABetterState) {
  const std::vector<double> figures = {3, 2, 1, 2, 2.5, 4};
  size_t looks = 0;
  BestState best(optimizer_, [&] { return figures.at(looks++); });
  loop_.steps = 10;
  loop_.best = &best;
  loop_.patience = 2;
  (void)Train(std::vector<double>(10, 1));
  EXPECT_EQ(batches_.size(), 8u) << "two looks behind that of step 4";
  EXPECT_EQ(best.best_step(), 4);
}

TEST_F(WholeTrainingTest, PatienceCountsLooksWhereMoreAreAskedForThanThereAreSteps) {
  const std::vector<double> figures = {3, 2, 2.5, 2.6, 2.7};
  size_t looks = 0;
  BestState best(optimizer_, [&] { return figures.at(looks++); });
  loop_.steps = 10;
  loop_.best = &best;
  loop_.considerations = 50;
  loop_.patience = 3;
  (void)Train(std::vector<double>(10, 1));
  EXPECT_EQ(best.best_step(), 1);
  EXPECT_EQ(batches_.size(), 4u) << "three looks behind that of step 1";
}

TEST_F(WholeTrainingTest, TheBestStateGoesOnWhereItWasSaved) {
  const auto consider = [&](BestState& best, int64_t step, float value) {
    optimizer_.state().values.detach().fill_(value);
    return best.Consider(step);
  };
  double figure = 3;
  BestState before(optimizer_, [&] { return figure; });
  consider(before, 0, 1.5F);
  figure = 2;
  consider(before, 4, 2.5F);
  const TempFolder folder;
  const auto archive = Hdf5Format().create(folder / "best.h5");
  before.Save(*archive);
  archive->Close();
  BestState after(optimizer_, [&] { return figure; });
  after.Restore(*Hdf5Format().open(folder / "best.h5"));
  EXPECT_EQ(after.first(), 3);
  EXPECT_EQ(after.best(), 2);
  EXPECT_EQ(after.best_step(), 4);
  figure = 2.5;  // better than what a state without a past would take
  EXPECT_EQ(consider(after, 8, 3.5F), 2.5);
  EXPECT_EQ(after.best_step(), 4);
  after.PutBack();
  EXPECT_EQ(Value(), 2.5);
}

// It may be larger than the memory.
TEST_F(WholeTrainingTest, ABestStateInAFileIsReadToWhereItLies) {
  at::Tensor place;
  const auto room = [&](int64_t elements) {
    place = at::zeros({elements});
    return place;
  };
  optimizer_.state().values.detach().fill_(2.5);
  BestState before(optimizer_, [] { return 3.0; });
  before.Consider(0);
  const TempFolder folder;
  const auto archive = Hdf5Format().create(folder / "best.h5");
  before.Save(*archive);
  archive->Close();
  const PlacesOfReading reader(Hdf5Format().open(folder / "best.h5"));
  BestState after(
      optimizer_, [] { return 3.0; }, room);
  after.Restore(reader);
  EXPECT_EQ(reader.Of("best_values"), place.data_ptr());
  optimizer_.state().values.detach().fill_(0);
  after.PutBack();
  EXPECT_EQ(Value(), 2.5);
}

TEST_F(WholeTrainingTest, AFigureThatIsNoNumberIsTheWorst) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> figures = {nan, 7, nan, 8, 7, 6.5};
  size_t looks = 0;
  BestState best(optimizer_, [&] { return figures.at(looks++); });
  loop_.best = &best;
  (void)Train({1, 1, 1, 1, 1});
  EXPECT_EQ(best.best(), 6.5);
  EXPECT_EQ(best.best_step(), 5);
}

TEST_F(WholeTrainingTest, AFigureThatIsNoNumberIsSavedAsTheWorst) {
  const TempFolder folder;
  for (const double none :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    BestState before(optimizer_, [&] { return none; });
    before.Consider(0);
    const std::string path = folder / "best.h5";
    const auto archive = Hdf5Format().create(path);
    before.Save(*archive);
    archive->Close();
    BestState after(optimizer_, [] { return 7.0; });
    after.Restore(*Hdf5Format().open(path));
    EXPECT_FALSE(std::isfinite(after.first()));
    EXPECT_FALSE(std::isfinite(after.best()));
    after.Consider(1);
    EXPECT_EQ(after.best(), 7);
    EXPECT_EQ(after.best_step(), 1);
  }
}

TEST_F(WholeTrainingTest, ALossThatIsNotFiniteIsAnErrorThatNamesTheStep) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  loop_.blame = [] { return std::string(" in the head"); };
  EXPECT_THAT(ErrorOf([&] {
                (void)Train({1, 2, nan});
              }),
              HasSubstr("pretraining diverged at step 2: loss nan in the head"));
  EXPECT_EQ(batches_.size(), 3u);
}

TEST_F(WholeTrainingTest, AGradientThatIsNotFiniteIsAnErrorAsWell) {
  EXPECT_THAT(ErrorOf([&] { (void)Train({1.5}, std::numeric_limits<float>::infinity()); }),
              HasSubstr("pretraining diverged at step 0: loss 1.5000, gradient inf"));
}

TEST_F(WholeTrainingTest, WhereThereIsABestStateItIsKeptWithAWarning) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> figures = {3, 1, 2};
  size_t looks = 0;
  double at_best = 0;
  BestState best(optimizer_, [&] {
    if (looks == 1) at_best = Value();
    return figures.at(looks++);
  });
  loop_.best = &best;
  EXPECT_NEAR(Train({1, 2, nan}), 1.05, 1e-12) << "of the steps before";
  EXPECT_THAT(
      context_.warnings,
      ElementsAre("pretraining diverged at step 2: loss nan; the best state before is kept"));
  EXPECT_EQ(best.best_step(), 1);
  EXPECT_EQ(Value(), at_best);
}

}  // namespace
}  // namespace puzzle
