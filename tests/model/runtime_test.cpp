// What exceptions of libtorch say about their device.
#include "model/math/runtime.h"

#include <gtest/gtest.h>

#include "model/pch.h"

namespace puzzle {
namespace {

template <class F>
DeviceFailure FailureOf(F&& run) {
  try {
    run();
  } catch (const std::exception& error) {
    return ClassifyDeviceFailure(error);
  }
  ADD_FAILURE() << "nothing was thrown";
  return DeviceFailure::kNone;
}

TEST(RuntimeTest, MemoryThatTheCpuDoesNotHaveIsKnown) {
  EXPECT_EQ(FailureOf([] { static_cast<void>(at::empty({int64_t{1} << 50}, at::kByte)); }),
            DeviceFailure::kOutOfMemory);
}

TEST(RuntimeTest, ErrorsOfTheCudaRuntimeAreKnown) {
  EXPECT_EQ(FailureOf([] { C10_THROW_ERROR(OutOfMemoryError, "CUDA out of memory. Tried ..."); }),
            DeviceFailure::kOutOfMemory);
  EXPECT_EQ(FailureOf([] { TORCH_CHECK(false, "CUDA error: out of memory"); }),
            DeviceFailure::kOutOfMemory);
  EXPECT_EQ(FailureOf([] { TORCH_CHECK(false, "CUDA error: device-side assert triggered"); }),
            DeviceFailure::kLost);
}

TEST(RuntimeTest, OtherErrorsSayNothingAboutTheDevice) {
  EXPECT_EQ(FailureOf([] {
              static_cast<void>(at::ones({2, 3}).mm(at::ones({2, 3})));
            }),
            DeviceFailure::kNone);
}

}  // namespace
}  // namespace puzzle
