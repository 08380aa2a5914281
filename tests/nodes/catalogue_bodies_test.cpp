// What becomes of libtorch's errors on their way out of a kind's function.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "nodes/catalogue.h"
#include "nodes/train/kinds.h"
#include "tests/io/temp_folder.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

/// Inputs that fail when they are asked for, as where they do not fit a device.
class FailingInputs final : public Inputs {
 public:
  explicit FailingInputs(std::function<void()> fail) : fail_(std::move(fail)) {}

 protected:
  std::vector<std::shared_ptr<const InputHandle>> Handles(std::string_view) const override {
    fail_();
    return {};
  }

 private:
  std::function<void()> fail_;
};

class CatalogueBodiesTest : public testing::Test {
 protected:
  /// Runs a step of `assemble` whose inputs fail so.
  void RunFailing(std::function<void()> fail) {
    const AssembleParams params{};
    const FailingInputs inputs(std::move(fail));
    FakeContext context;
    const auto out = Hdf5Format().create(folder_ / "out.h5");
    (void)PuzzleBodies().at("assemble").run(&params, inputs, context, *out);
  }

  TempFolder folder_;
};

// Without its type the step would fail at once, instead of being tried alone on its device.
TEST_F(CatalogueBodiesTest, MemoryThatADeviceDoesNotHaveIsKnownBehindThem) {
  try {
    RunFailing([] { C10_THROW_ERROR(OutOfMemoryError, "CUDA out of memory. Tried ..."); });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::exception& error) {
    EXPECT_EQ(ClassifyDeviceFailure(error), DeviceFailure::kOutOfMemory) << error.what();
  }
}

TEST_F(CatalogueBodiesTest, OtherErrorsOfLibtorchLoseTheirStackTraces) {
  try {
    RunFailing([] { TORCH_CHECK(false, "shapes differ"); });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "shapes differ");
  }
}

}  // namespace
}  // namespace puzzle
