#include "io/array.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

TEST(ArrayTest, EveryDTypeIsFoundByItsName) {
  for (const DType dtype :
       {DType::kF32, DType::kF64, DType::kF16, DType::kBF16, DType::kI8, DType::kU8, DType::kI16,
        DType::kU16, DType::kI32, DType::kI64, DType::kBool}) {
    EXPECT_EQ(ParseDType(DTypeName(dtype)), dtype);
  }
  EXPECT_EQ(ParseDType("F32"), std::nullopt);
  EXPECT_EQ(ParseDType(""), std::nullopt);
}

TEST(ArrayTest, ElementSizesAreThoseOfTheTypes) {
  EXPECT_EQ(ElementSize(DType::kF64), 8u);
  EXPECT_EQ(ElementSize(DType::kF32), 4u);
  EXPECT_EQ(ElementSize(DType::kBF16), 2u);
  EXPECT_EQ(ElementSize(DType::kBool), 1u);
}

TEST(ArrayTest, ElementsAreTheProductOfTheDimensions) {
  EXPECT_EQ(NumElements({}), 1);
  EXPECT_EQ(NumElements({2, 3, 4}), 24);
  EXPECT_EQ(NumElements({5, 0, 4}), 0);
  EXPECT_EQ(NumElements({INT64_C(1) << 59}), INT64_C(1) << 59);
}

TEST(ArrayTest, ImpossibleShapesAreErrors) {
  EXPECT_THAT(ErrorOf([] { (void)NumElements({2, -1}); }), HasSubstr("[2, -1]"));
  EXPECT_THAT(ErrorOf([] { (void)NumElements({INT64_C(1) << 60}); }), HasSubstr("too many"));
  EXPECT_THAT(ErrorOf([] {
                (void)NumElements({INT64_C(1) << 32, INT64_C(1) << 32});
              }),
              HasSubstr("too many"));
  // Nor does an empty dimension hide the others: they are the size of a row.
  EXPECT_THAT(ErrorOf([] { (void)NumElements({0, INT64_MAX, INT64_MAX}); }), HasSubstr("too many"));
}

TEST(ArrayTest, ShapesPrintAsLists) {
  EXPECT_EQ(ShapeString({}), "[]");
  EXPECT_EQ(ShapeString({2, 3}), "[2, 3]");
}

}  // namespace
}  // namespace puzzle
