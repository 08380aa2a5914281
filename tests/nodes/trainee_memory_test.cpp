// Blockwise distillation with little memory: the same bits, and the parent's layer only as long as
// somebody asks for it.
#include "nodes/train/trainee_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <string_view>

#include "io/hdf5_archive.h"
#include "nodes/data/artifacts.h"
#include "nodes/states/activations.h"
#include "nodes/train/bld.h"
#include "tests/io/temp_folder.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"
#include "tests/model/watched_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/tiny_tokens.h"

namespace puzzle {
namespace {

// Calls `at_step` behind every step of a training.
class SteppedContext final : public FakeContext {
 public:
  void Poll(double, std::string_view note) override {
    if (note.starts_with("loss")) at_step();
  }
  std::function<void()> at_step = [] {};
};

class TraineeMemoryTest : public testing::Test {
 protected:
  explicit TraineeMemoryTest(bool post_norms = false) {
    ModelConfig config = TinyConfig();
    config.arch.post_norms = post_norms;
    parent_.model = TinyModel(config);
    FakeInputs inputs;
    inputs.Add("parent", "parent", parent_).Add("tokens", "t", TinyTokens(20));
    FakeContext context;
    const auto archive = Hdf5Format().create(folder_ / "states");
    RunActivations({}, inputs, context, *archive);
    archive->Close();
    states_ = Activations::Load(Hdf5Format().open(folder_ / "states"));
    for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
      importance_.channel_order.push_back(at::arange(47, -1, -1, at::kLong));
      importance_.head_scores.push_back(at::tensor({1.0F, 2.0F}));
    }
  }

  Block Trained(const std::string& variant, const std::string& compute, const Checkpoint& parent,
                RunContext& context) const {
    FakeInputs inputs;
    inputs.Add("parent", "parent", parent)
        .Add("activations", "states", states_)
        .Add("importance", "importance", importance_);
    BldParams params;
    params.layer = 1;
    params.variant = variant;
    params.compute = compute;
    params.batch = 8;
    params.holdout = 4;
    params.epochs = 6;
    params.refit_tokens = 256;
    return RunBld(params, inputs, context);
  }

  const TempFolder folder_;
  Checkpoint parent_;
  Activations states_;
  Importance importance_;
};

class PostNormTraineeMemoryTest : public TraineeMemoryTest {
 protected:
  PostNormTraineeMemoryTest() : TraineeMemoryTest(/*post_norms=*/true) {}
};

TEST_F(TraineeMemoryTest, VariantsLearnTheSameFromFiles) {
  for (const char* compute : {"fp32", "bf16"}) {
    for (const char* variant : {"attn:kv1", "ffn:50%", "attn:kv1+ffn:50%"}) {
      FakeContext roomy, tight;
      tight.memory = 1000;
      Block expected = Trained(variant, compute, parent_, roomy);
      Block block = Trained(variant, compute, parent_, tight);
      EXPECT_EQ(roomy.files, 0);
      EXPECT_GT(tight.files, 3) << "parameters, moments, and each tensor of the best state";
      EXPECT_LT(block.loss, block.init_loss);
      EXPECT_EQ(block.loss, expected.loss) << variant << ' ' << compute;
      ExpectSameBits(Slots(block.trained, block.spec), Slots(expected.trained, expected.spec));
    }
  }
}

TEST_F(TraineeMemoryTest, ALargeFfnIsSortedAsFarAsItsVariantGoes) {
  FakeContext roomy, tight;
  tight.resident = 0;
  Block expected = Trained("ffn:50%", "fp32", parent_, roomy);
  Block block = Trained("ffn:50%", "fp32", parent_, tight);
  ExpectSameBits(Slots(block.trained, block.spec), Slots(expected.trained, expected.spec));
  importance_.channel_order[1] = at::arange(48, at::kLong);
  EXPECT_NE(Trained("ffn:50%", "fp32", parent_, tight).init_loss, block.init_loss);
}

TEST_F(TraineeMemoryTest, TheParentsLayerIsGoneBeforeItsVariantIsTrained) {
  const WatchedModel watched(parent_.model);
  Checkpoint parent = parent_;
  parent.model = watched.weights;
  int steps = 0;
  size_t live = 0;
  SteppedContext context;
  context.at_step = [&] {
    ++steps;
    live = std::max(live, watched.live());
  };
  Block block = Trained("ffn:50%", "fp32", parent, context);
  EXPECT_GT(steps, 0);
  EXPECT_EQ(live, parent_.model.norm.nbytes());
  EXPECT_EQ(watched.ReadsOfBlock(0), 0);
  EXPECT_EQ(watched.ReadsOfBlock(1), 1);
  FakeContext other;
  Block expected = Trained("ffn:50%", "fp32", parent_, other);
  ExpectSameBits(Slots(block.trained, block.spec), Slots(expected.trained, expected.spec));
}

// What is fitted in front of a norm asks what the parent's own matrix makes there.
TEST_F(PostNormTraineeMemoryTest, ALayerThatIsAskedOnceMoreIsReadAgain) {
  const WatchedModel watched(parent_.model);
  Checkpoint parent = parent_;
  parent.model = watched.weights;
  FakeContext context;
  Block block = Trained("ffn:50%", "fp32", parent, context);
  EXPECT_EQ(watched.ReadsOfBlock(1), 2);
  Block expected = Trained("ffn:50%", "fp32", parent_, context);
  ExpectSameBits(Slots(block.trained, block.spec), Slots(expected.trained, expected.spec));
}

TEST(TrainingWayTest, TheFastestThatFitsIsTaken) {
  BldParams params;
  params.batch = 2;
  const ModelConfig config = TinyConfig();
  const VariantSpec spec = ResolveVariant("ffn:50%", config, 1);
  const TrainingShape shape = TrainingShapeOf(spec, config, params, /*in_bf16=*/true, 256, 8);
  EXPECT_EQ(shape.parameters, 3 * 24 * 32 + 32);
  EXPECT_EQ(shape.parts, 2);
  const double in_memory = TrainingBytes(shape, {false, false}),
               in_files = TrainingBytes(shape, {true, false}),
               one_at_a_time = TrainingBytes(shape, {true, true});
  EXPECT_EQ(in_memory - in_files, 4 * 4 * shape.parameters) << "values, moments and the best";
  EXPECT_EQ(in_files - one_at_a_time, 8 * shape.parameters + shape.between) << "of one part";
  const auto way = [&](double limit) {
    const TrainingWay chosen = ChooseTrainingWay(shape, limit);
    return chosen.in_files + 2 * chosen.one_at_a_time;
  };
  EXPECT_EQ(way(std::numeric_limits<double>::infinity()), 0);
  EXPECT_EQ(way(in_memory), 0);
  EXPECT_EQ(way(in_memory - 1), 1);
  EXPECT_EQ(way(in_files - 1), 3);
  EXPECT_EQ(way(0), 3);
}

}  // namespace
}  // namespace puzzle
