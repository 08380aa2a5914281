// Tensors that must have come back, or out, exactly as others.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "model/pch.h"
#include "model/weights.h"

namespace puzzle {

inline void ExpectSameBits(const std::vector<NamedSlot>& tensors,
                           const std::vector<NamedSlot>& expected) {
  ASSERT_EQ(tensors.size(), expected.size());
  for (size_t i = 0; i < tensors.size(); ++i)
    EXPECT_TRUE(tensors[i].second->equal(*expected[i].second)) << tensors[i].first;
}

}  // namespace puzzle
