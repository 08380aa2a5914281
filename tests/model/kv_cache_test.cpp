#include "model/kv_cache.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/pch.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

// Keys of `count` positions from `first` on: every number says whose it is.
Tensor Keys(int64_t first, int64_t count) {
  const Tensor position = at::arange(first, first + count, at::kFloat).view({1, count, 1, 1});
  const Tensor sequence = at::arange(2, at::kFloat).view({2, 1, 1, 1});
  const Tensor head = at::arange(3, at::kFloat).view({1, 1, 3, 1});
  return (position * 100 + sequence * 10 + head).expand({2, count, 3, 4}).contiguous();
}

class LayerCacheSeenTest : public testing::TestWithParam<std::tuple<int64_t, int64_t>> {};

TEST_P(LayerCacheSeenTest, EveryPositionSeesAllThatItsWindowAllowsHoweverTheyCome) {
  const auto [window, reserved] = GetParam();
  LayerCache cache(reserved);
  int64_t seen = 0;
  for (const int64_t added : {7, 1, 1, 1, 5, 1, 1, 12, 1, 1, 1, 1, 1, 1}) {
    const int64_t before = window > 0 ? std::min(seen, window - 1) : seen;
    const auto [k, v] = cache.Append(Keys(seen, added), -Keys(seen, added), window);
    const Tensor expected = Keys(seen - before, before + added);
    EXPECT_TRUE(k.equal(expected)) << "behind " << seen;
    EXPECT_TRUE(v.equal(-expected)) << "behind " << seen;
    seen += added;
  }
}

INSTANTIATE_TEST_SUITE_P(WindowsAndRooms, LayerCacheSeenTest,
                         testing::Combine(testing::Values(0, 1, 2, 6, 100),
                                          testing::Values(0, 3, 7, 64)),
                         [](const auto& info) {
                           return fmt::format("Window{}Room{}", std::get<0>(info.param),
                                              std::get<1>(info.param));
                         });

TEST(LayerCacheTest, WithRoomReservedATokenIsWrittenWhereTheOthersLie) {
  LayerCache cache(20);
  const void* memory = cache.Append(Keys(0, 5), Keys(0, 5), 0).first.data_ptr();
  for (int64_t i = 5; i < 20; ++i)
    EXPECT_EQ(cache.Append(Keys(i, 1), Keys(i, 1), 0).first.data_ptr(), memory);
  EXPECT_NE(cache.Append(Keys(20, 1), Keys(20, 1), 0).first.data_ptr(), memory);
}

TEST(LayerCacheTest, AWindowBoundsWhatIsHeld) {
  LayerCache cache(1000);
  for (int64_t i = 0; i < 200; ++i) {
    const Tensor k = cache.Append(Keys(i, 1), Keys(i, 1), 8).first;
    EXPECT_LE(k.storage().nbytes(), 2 * 3 * 17 * 4 * sizeof(float));
  }
}

TEST(LayerCacheTest, SequencesOfAnotherNumberAreRefused) {
  LayerCache cache(20);
  cache.Append(Keys(0, 5), Keys(0, 5), 0);
  EXPECT_ANY_THROW(cache.Append(Keys(5, 1).narrow(0, 0, 1), Keys(5, 1).narrow(0, 0, 1), 0));
}

}  // namespace
}  // namespace puzzle
