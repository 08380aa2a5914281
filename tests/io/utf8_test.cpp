#include "io/utf8.h"

#include <gtest/gtest.h>

namespace puzzle {
namespace {

TEST(Utf8Test, WhatIsWellFormedStaysAsItIs) {
  for (const char* text : {"", "plain", "\u00e4\u20ac\U0001F600"}) {
    EXPECT_TRUE(IsUtf8(text));
    EXPECT_EQ(RepairUtf8(text), text);
  }
}

// Expected: bytes(...).decode(errors="replace") of Python.
TEST(Utf8Test, WhatIsMalformedIsReplacedAsPythonDoes) {
  const std::pair<const char*, const char*> cases[] = {
      {"a\xB0z", "a\uFFFDz"},                  // no lead
      {"\xE2\x82", "\uFFFD"},                  // cut
      {"\xE2\x82z", "\uFFFDz"},                // interrupted
      {"\xC0\xAF", "\uFFFD\uFFFD"},            // too long a form
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},  // a surrogate
      {"\xF0\x9F\x98", "\uFFFD"},              // cut
      {"\xF5\x80", "\uFFFD\uFFFD"},            // beyond the last
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_FALSE(IsUtf8(text));
    EXPECT_EQ(RepairUtf8(text), expected);
  }
}

}  // namespace
}  // namespace puzzle
