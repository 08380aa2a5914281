#include "bench/arguments.h"

#include <gtest/gtest.h>

#include <string>

#include "io/error.h"

namespace puzzle {
namespace {

int NumberIn(const char* text, int least) {
  std::string program = "bench", given = text;
  char* argv[] = {program.data(), given.data()};
  return Arguments{2, argv}.Number(1, 7, least);
}

TEST(ArgumentsTest, WhatIsNoNumberOrTooSmallIsRefused) {
  EXPECT_EQ(NumberIn("12", 1), 12);
  EXPECT_EQ(NumberIn("0", 0), 0);
  for (const char* text : {"0", "-3", "", "model", "8b", "1.5", "99999999999"})
    EXPECT_THROW((void)NumberIn(text, 1), Error) << text;
  char* none[] = {nullptr};
  EXPECT_EQ((Arguments{0, none}.Number(1, 7)), 7);
}

TEST(ArgumentsTest, OnlyWhatWasMeasuredEndsWellForTheShell) {
  EXPECT_EQ(ExitStatusOf([] {}), 0);
  EXPECT_EQ(ExitStatusOf([] { throw Error("nothing was measured"); }), 1);
}

}  // namespace
}  // namespace puzzle
