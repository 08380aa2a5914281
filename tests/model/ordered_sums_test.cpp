// Gradients of parts that are added up on the way.
#include "model/math/ordered_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {
namespace {

using at::Tensor;

// A loss of two parameters of which the second one is used twice; the third one is not used.
Tensor LossOf(const std::vector<Tensor>& parameters, double scale) {
  return (parameters[0] * parameters[1]).sum() * scale + parameters[1].square().sum() * scale;
}

std::vector<Tensor> SomeParameters() {
  return {at::arange(6, at::kFloat) / 7, at::arange(6, at::kFloat).sqrt(), at::ones({3})};
}

std::vector<Tensor> Zeros(const std::vector<Tensor>& like) {
  std::vector<Tensor> zeros;
  for (const Tensor& tensor : like) zeros.push_back(at::zeros_like(tensor));
  return zeros;
}

TEST(OrderedSumsTest, PartsAreAddedInTheirOrderWhoeverIsFirst) {
  const std::vector<Tensor> parameters = SomeParameters();
  // 1e8 and 1 in fp32: another order has another sum.
  const std::vector<double> scales = {1e8, 1, -1e8, 3};
  std::vector<Tensor> expected = Zeros(parameters);
  for (const double scale : scales) {
    std::vector<Tensor> leaves;
    for (const Tensor& parameter : parameters)
      leaves.push_back(parameter.clone().requires_grad_(true));
    LossOf(leaves, scale).backward();
    for (size_t i = 0; i < 2; ++i) expected[i].add_(leaves[i].grad());
  }
  for (const bool backwards : {false, true}) {
    const std::vector<Tensor> sums = Zeros(parameters);
    OrderedSums ordered(sums);
    std::vector<std::thread> threads;
    for (int64_t part = 0; part < 4; ++part) {
      threads.emplace_back([&, part] {
        const at::AutoGradMode with_gradients(true);
        const std::vector<Tensor> own = ordered.StandIns(part, parameters);
        std::this_thread::sleep_for(std::chrono::milliseconds(10 * (backwards ? 3 - part : part)));
        LossOf(own, scales[static_cast<size_t>(part)]).backward();
        ordered.End(part);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < sums.size(); ++i) EXPECT_TRUE(sums[i].equal(expected[i])) << i;
  }
}

// The gradient of what a backward pass reaches first is in its sum while the rest is still to come.
TEST(OrderedSumsTest, AGradientIsAddedAsSoonAsItIsFound) {
  const std::vector<Tensor> parameters = {at::full({4}, 2.0), at::full({4}, 3.0)};
  const std::vector<Tensor> sums = Zeros(parameters);
  OrderedSums ordered(sums);
  const std::vector<Tensor> own = ordered.StandIns(0, parameters);
  double seen = 0;  // of the last layer's gradient, when the first one's input asks for its own
  const Tensor state = (own[0] * 5).exp();
  state.register_hook([&](const Tensor& gradient) {
    seen = sums[1].sum().item<double>();
    return gradient;
  });
  (state * own[1]).sum().backward();
  EXPECT_GT(seen, 0);
  EXPECT_FALSE(own[0].is_leaf());
}

// A part may end when the next one has added already, and it must not be waited for again.
TEST(OrderedSumsTest, ThePartBehindTheNextOneGoesOnWhenAPartEndsLate) {
  const std::vector<Tensor> parameters = SomeParameters();
  const std::vector<Tensor> sums = Zeros(parameters);
  OrderedSums ordered(sums);
  std::vector<std::vector<Tensor>> own;
  for (int64_t part = 0; part < 3; ++part) own.push_back(ordered.StandIns(part, parameters));
  LossOf(own[0], 1).backward();
  LossOf(own[1], 1).backward();
  ordered.End(0);
  std::promise<void> added;
  std::thread last([&] {
    const at::AutoGradMode with_gradients(true);
    try {
      LossOf(own[2], 1).backward();
      added.set_value();
    } catch (...) {
      added.set_exception(std::current_exception());
    }
  });
  const bool in_time =
      added.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  if (!in_time) {
    try {
      throw Error("waits for ever");
    } catch (...) {
      ordered.Fail();
    }
  }
  last.join();
  EXPECT_TRUE(in_time);
}

TEST(OrderedSumsTest, WhoWaitsForAPartThatFailsFailsWithIt) {
  const std::vector<Tensor> parameters = SomeParameters();
  const std::vector<Tensor> sums = Zeros(parameters);
  OrderedSums ordered(sums);
  std::exception_ptr failure;
  std::thread second([&] {
    const at::AutoGradMode with_gradients(true);
    const std::vector<Tensor> own = ordered.StandIns(1, parameters);
    try {
      LossOf(own, 1).backward();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  try {
    throw Error("no room for part 0");
  } catch (...) {
    ordered.Fail();
  }
  second.join();
  ASSERT_NE(failure, nullptr);
  EXPECT_THROW(std::rethrow_exception(failure), Error);
}

}  // namespace
}  // namespace puzzle
