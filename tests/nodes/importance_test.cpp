#include "nodes/states/importance.h"

#include <gtest/gtest.h>

#include "io/hdf5_archive.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/states/artifacts.h"
#include "tests/io/temp_folder.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/tiny_tokens.h"

namespace puzzle {
namespace {

class ImportanceTest : public testing::Test {
 protected:
  ImportanceTest() : parent_(TinyModel()) {
    const std::string path = folder_ / "states.h5";
    auto archive = Hdf5Format().create(path);
    const TokenSet tokens = TinyTokens(8);
    Activations::Writer writer(*archive, {3, 8, 16, 32, DType::kF32, 0}, "parent");
    writer.Append({}, tokens.Batch(0, 8));
    archive->Close();
    inputs_.Add("parent", "parent", Checkpoint{parent_, {}, {}, {}});
    inputs_.Add("activations", "states", Activations::Load(Hdf5Format().open(path)));
  }

  TempFolder folder_;
  ModelWeights parent_;
  FakeInputs inputs_;
};

ImportanceParams Params(const std::string& method) {
  ImportanceParams params;
  params.method = method;
  params.batches = 2;
  return params;
}

TEST_F(ImportanceTest, RanksEveryChannelOnceByEveryMethod) {
  for (const char* method : {"iterative", "independent", "l2_norm", "truncate", "random"}) {
    FakeContext context;
    const Importance importance = RunImportance(Params(method), inputs_, context);
    ASSERT_EQ(importance.channel_order.size(), 2u);
    for (const at::Tensor& order : importance.channel_order) {
      EXPECT_TRUE(std::get<0>(order.sort()).equal(at::arange(48, at::kLong))) << method;
    }
    EXPECT_EQ(importance.head_scores.at(1).numel(), 2);
  }
}

// The meta device has no values: whoever computes on it has none to bring back.
TEST_F(ImportanceTest, ComputesOnTheDeviceOfItsLane) {
  FakeContext context({"meta", 0});
  EXPECT_THROW(RunImportance(Params("independent"), inputs_, context), c10::Error);
}

}  // namespace
}  // namespace puzzle
