#include "model/math/optim.h"

#include <gtest/gtest.h>
#include <torch/types.h>  // which the next one takes for granted

#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>

#include <ATen/Parallel.h>

#include <functional>
#include <thread>

#include "model/math/runtime.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

Tensor Loss(const Tensor& matrix, const Tensor& vector, int64_t step) {
  return (at::mv(matrix, vector) - static_cast<double>(step)).square().sum() + matrix.sin().sum();
}

TEST(OptimTest, StepsAgreeWithLibtorchsAdamW) {
  const Tensor matrix = RandomTensor({5, 4}, 1), vector = RandomTensor({4}, 2);
  const Tensor matrix2 = matrix.clone().requires_grad_(true),
               vector2 = vector.clone().requires_grad_(true);
  AdamW ours({vector, matrix},
             {.beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.1, .clip_norm = 1.0});
  using Options = torch::optim::AdamWOptions;
  auto options = Options(1e-2).betas({0.9, 0.95}).weight_decay(0.1);
  auto no_decay = Options(1e-2).betas({0.9, 0.95}).weight_decay(0.0);
  torch::optim::AdamW reference(
      {torch::optim::OptimizerParamGroup({matrix2}, std::make_unique<Options>(options)),
       torch::optim::OptimizerParamGroup({vector2}, std::make_unique<Options>(no_decay))},
      options);
  for (int64_t step = 0; step < 20; ++step) {
    Loss(matrix, vector, step).backward();
    ours.Step(1e-2);
    ours.ZeroGrad();
    reference.zero_grad();
    Loss(matrix2, vector2, step).backward();
    torch::nn::utils::clip_grad_norm_(std::vector<Tensor>{matrix2, vector2}, 1.0);
    reference.step();
  }
  EXPECT_TENSORS_NEAR(matrix.detach(), matrix2.detach(), 1e-5);
  EXPECT_TENSORS_NEAR(vector.detach(), vector2.detach(), 1e-5);
}

TEST(OptimTest, AGradientThatIsNotFiniteChangesNothing) {
  const Tensor matrix = RandomTensor({3, 3}, 1);
  const Tensor before = matrix.clone();
  AdamW optimizer({matrix}, {});
  (matrix * std::numeric_limits<float>::infinity()).sum().backward();
  EXPECT_FALSE(std::isfinite(optimizer.Step(0.1)));
  EXPECT_TRUE(matrix.detach().equal(before));
}

// Of a gradient that libtorch's own norm would split among the threads, and updates in two pieces.
TEST(OptimTest, AStepHasTheSameBitsOnAnyNumberOfThreads) {
  const ThreadTeam two{2, [](const std::function<void(size_t)>& work) {
                         std::thread other([&] {
                           SetThreads(1);
                           work(1);
                         });
                         work(0);
                         other.join();
                       }};
  const auto after = [&](int threads, const ThreadTeam& team) {
    const ThreadsGuard guard(threads);
    const Tensor values = RandomTensor({5000, 1000}, 3);
    AdamW optimizer({values}, {.clip_norm = 0.5}, team);
    for (uint64_t step = 0; step < 3; ++step) {
      values.mutable_grad().copy_(RandomTensor({5000, 1000}, 10 + step));
      (void)optimizer.Step(1e-2);
    }
    return values.detach().clone();
  };
  const Tensor expected = after(1, {});
  EXPECT_TRUE(after(2, {}).equal(expected));
  EXPECT_TRUE(after(3, {}).equal(expected));
  EXPECT_TRUE(after(1, two).equal(expected));
}

// Those of a model of hundreds of millions: late ones are small beside the sum of the others.
TEST(OptimTest, EveryOneOfManyGradientsCountsInTheirNorm) {
  constexpr int64_t kMany = (int64_t{1} << 28) + 1;
  EXPECT_NEAR(GradientNorm(at::ones({1}).expand({kMany})), 16384, 0.5);
}

// A tensor of no values, which has no norm.
TEST(OptimTest, AStepThatFailsLeavesTheThreadsAsTheyWere) {
  AdamW optimizer({at::empty({3}, at::TensorOptions().device(at::kMeta))}, {});
  const ThreadsGuard three(3);
  EXPECT_ANY_THROW((void)optimizer.Step(0.1));
  EXPECT_EQ(at::get_num_threads(), 3);
}

TEST(OptimTest, ScheduleWarmsUpAndEndsAtItsFinalRatio) {
  EXPECT_NEAR(CosineSchedule(0, 100, 1.0, 0.1), 0.1, 1e-12);
  EXPECT_NEAR(CosineSchedule(9, 100, 1.0, 0.1), 1.0, 1e-12);
  double last = 2;
  for (int64_t step = 9; step < 100; ++step) {
    const double rate = CosineSchedule(step, 100, 1.0, 0.1);
    EXPECT_LT(rate, last);
    EXPECT_GT(rate, 0);
    last = rate;
  }
  EXPECT_LT(last, 1e-3);
  EXPECT_NEAR(CosineSchedule(99, 100, 1.0, 0.0, 0.5), 0.5, 1e-2);
}

}  // namespace
}  // namespace puzzle
