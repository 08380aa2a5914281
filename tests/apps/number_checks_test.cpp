#include "apps/frame/number_checks.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <string>

namespace puzzle {
namespace {

std::string ComplaintAbout(const CLI::Validator& check, std::string text) {
  return check(text);
}

TEST(NumberChecksTest, ANumberIsFiniteAndOnTheRightSideOfZero) {
  for (const char* good : {"1", "0.25", "1e-300", "1e300"}) {
    EXPECT_EQ(ComplaintAbout(Positive(), good), "") << good;
    EXPECT_EQ(ComplaintAbout(NotNegative(), good), "") << good;
  }
  EXPECT_EQ(ComplaintAbout(NotNegative(), "0"), "");
  EXPECT_EQ(ComplaintAbout(Positive(), "0"), "expected a number above 0, got 0");
  for (const char* bad : {"-1", "-1e-300", "inf", "nan", "many", ""}) {
    EXPECT_EQ(ComplaintAbout(Positive(), bad),
              std::string("expected a number above 0, got ") + bad);
    EXPECT_EQ(ComplaintAbout(NotNegative(), bad),
              std::string("expected a number of at least 0, got ") + bad);
  }
}

}  // namespace
}  // namespace puzzle
