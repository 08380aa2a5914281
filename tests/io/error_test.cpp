#include "io/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace puzzle {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ErrorTest, ContextGoesInFront) {
  EXPECT_STREQ(WithContext("model.safetensors", Error("too short")).what(),
               "model.safetensors: too short");
}

TEST(ErrorTest, FailedCheckNamesPlaceConditionAndMessage) {
  const int n_heads = 3;
  try {
    PUZZLE_CHECK(n_heads % 2 == 0, "heads are even");
    FAIL() << "the check passed";
  } catch (const BugError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("error_test.cpp:"), HasSubstr("n_heads % 2 == 0"),
                                HasSubstr("heads are even")));
  }
}

TEST(ErrorTest, PassedCheckDoesNothing) {
  PUZZLE_CHECK(true, "never seen");
}

}  // namespace
}  // namespace puzzle
