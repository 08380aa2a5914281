// Threads, what exceptions of libtorch say about their device, and how the runtime is described.
#include "model/math/runtime.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

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

// 1 where there is no MKL.
int ThreadsOfMkl() {
  auto* const get = reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "MKL_Get_Max_Threads"));
  EXPECT_EQ(get != nullptr, at::hasMKL());
  return get != nullptr ? get() : 1;
}

// at::set_num_threads tells MKL as well, and every thread's first use tells it again.
TEST(RuntimeTest, MklStaysOnOneThreadWhateverLibtorchToldIt) {
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  {
    const ThreadsGuard two(2);
    EXPECT_EQ(at::get_num_threads(), 2);
    EXPECT_EQ(ThreadsOfMkl(), 1);
  }
  EXPECT_EQ(at::get_num_threads(), 3);
  EXPECT_EQ(ThreadsOfMkl(), 1);
  std::thread([] {
    SetThreads(2);
    EXPECT_EQ(at::get_num_threads(), 2);
    EXPECT_EQ(ThreadsOfMkl(), 1);
  }).join();
  at::set_num_threads(before);
}

TEST(RuntimeTest, TheBlasIsNamed) {
  EXPECT_THAT(RuntimeDescription(), ::testing::HasSubstr(at::hasMKL() ? ", MKL, " : "OpenBLAS"));
}

}  // namespace
}  // namespace puzzle
