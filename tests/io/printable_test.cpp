#include "io/printable.h"

#include <gtest/gtest.h>

namespace puzzle {
namespace {

TEST(PrintableTest, OrdinaryTextStays) {
  EXPECT_EQ(
      Printable(
          "a line\n\ttab, \u00fcml\u00e4ut, \u4e2d\u6587, \u05e9\u05dc\u05d5\u05dd \U0001F600"),
      "a line\n\ttab, \u00fcml\u00e4ut, \u4e2d\u6587, \u05e9\u05dc\u05d5\u05dd \U0001F600");
  EXPECT_EQ(PrintableLine("plain"), "plain");
  EXPECT_EQ(Printable(""), "");
}

TEST(PrintableTest, WhatATerminalObeysIsWrittenAsJsonWouldWriteIt) {
  EXPECT_EQ(Printable("\x1b]0;title\x07"), "\\u001b]0;title\\u0007");
  EXPECT_EQ(Printable("\x1b[2J\r"), "\\u001b[2J\\u000d");
  EXPECT_EQ(Printable("\xC2\x9B"
                      "31m"),
            "\\u009b31m");  // C1
  EXPECT_EQ(Printable("\x7f"), "\\u007f");
  EXPECT_EQ(Printable("\xE2\x80\xAE"
                      "evil"),
            "\\u202eevil");  // bidi
  EXPECT_EQ(Printable("\xE2\x81\xA6"), "\\u2066");
  EXPECT_EQ(Printable("\xE2\x80\xA8"), "\\u2028");
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\u0000");
}

TEST(PrintableTest, MalformedUtf8BecomesTheReplacementCharacter) {
  EXPECT_EQ(Printable("a\x9B"
                      "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(Printable("\xE2\x80"), "\xEF\xBF\xBD");
}

TEST(PrintableTest, OneLineHasNoBreaks) {
  EXPECT_EQ(PrintableLine("a\nb\tc"), "a\\u000ab\\u0009c");
}

}  // namespace
}  // namespace puzzle
