#include "nodes/measure/plot.h"

#include <gmock/gmock.h>

#include <cmath>

namespace puzzle {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(PlotTest, PointsStandWhereTheirValuesAre) {
  // 78 to 592 pixels for x from 0 to 1 and 4 % more on either side; y upwards, 404 to 24 for 2
  // to 4.
  const std::string svg =
      PlotSvg({"size", "KL", {{"ours", {{0, 2}, {1, 4}, {0.5, 3}}, true, true}}});
  EXPECT_THAT(svg, HasSubstr("cx=\"97.0\" cy=\"389.9\""));
  EXPECT_THAT(svg, HasSubstr("cx=\"573.0\" cy=\"38.1\""));
  EXPECT_THAT(svg, HasSubstr("points=\"97.0,389.9 335.0,214.0 573.0,38.1 \""));  // in order of x
  EXPECT_THAT(svg, AllOf(HasSubstr(">size</text>"), HasSubstr(">KL</text>")));
}

TEST(PlotTest, ValuesThatOnlyRoundingTellsApartAreOne) {
  const double next = std::nextafter(3.0, 4.0);  // no tick fits between
  EXPECT_THAT(PlotSvg({"x", "y", {{"a", {{next, 3}, {3, next}}}}}),
              AllOf(HasSubstr(">3</text>"), HasSubstr("points=\"335.0,214.0 335.0,214.0 \"")));
}

TEST(PlotTest, ErrorsAreBarsAndLooseSeriesHaveNoLine) {
  const Plot joined{"x", "y", {{"a", {{0, 1, 0.1}, {1, 2, 0}}}}};
  Plot loose = joined;
  loose.series[0].joined = false;
  EXPECT_EQ(Count(PlotSvg(joined), "<polyline"), 1u);
  EXPECT_EQ(Count(PlotSvg(loose), "<polyline"), 0u);
  EXPECT_EQ(Count(PlotSvg(loose), "stroke=\"#c0504d\""), 1u);  // one bar for the one error
}

TEST(PlotTest, WhatIsFarAboveTheMainSeriesIsSaidAndNotDrawn) {
  const std::string svg = PlotSvg({"x",
                                   "y",
                                   {{"ours", {{0, 1}, {1, 2}}, true, true},
                                    {"near", {{0, 4.9}}},
                                    {"far", {{0, 5.1}, {1, 50}}}}});
  EXPECT_THAT(svg, AllOf(HasSubstr(">near</text>"), HasSubstr(">far (far above)</text>")));
  EXPECT_THAT(svg, Not(HasSubstr(">50</text>")));
}

TEST(PlotTest, NamesAreEscapedAndNothingIsSaidToBeNothing) {
  EXPECT_THAT(PlotSvg({"a<b", "y", {{"x&y", {{0, 1}}}}}),
              AllOf(HasSubstr(">a&lt;b</text>"), HasSubstr(">x&amp;y</text>")));
  EXPECT_THAT(PlotSvg({"x", "y", {}}), HasSubstr("nothing to show"));
}

}  // namespace
}  // namespace puzzle
