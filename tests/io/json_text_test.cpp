#include "io/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string PositionOf(const JsonText& json, const std::string& pointer) {
  const TextPosition at = json.Find(pointer);
  return std::to_string(at.line) + ":" + std::to_string(at.column);
}

TEST(JsonTextTest, ValuesKeepTheirOrderAndTypes) {
  const JsonText json =
      JsonText::Parse(R"({"z": [1, -2, 3.5, true, null, "t"], "a": {}, "m": []})", "demo");
  EXPECT_EQ(json.value().dump(), R"({"z":[1,-2,3.5,true,null,"t"],"a":{},"m":[]})");
  EXPECT_TRUE(json.value()["z"][0].is_number_unsigned());
  EXPECT_TRUE(json.value()["z"][1].is_number_integer());
  EXPECT_EQ(json.source(), "demo");
}

TEST(JsonTextTest, IntegersUpTo64BitsAreExact) {
  const JsonText json =
      JsonText::Parse("[18446744073709551615, -9223372036854775808, 18446744073709551616]", "");
  EXPECT_EQ(json.value()[0], UINT64_MAX);
  EXPECT_EQ(json.value()[1], INT64_MIN);
  EXPECT_EQ(json.value()[2], 18446744073709551616.0);
}

TEST(JsonTextTest, WhatPythonWritesForNonFiniteNumbersIsReadOnRequest) {
  const JsonText json =
      JsonText::Parse("[NaN, Infinity, -Infinity, -1]", "", {.allow_nonfinite = true});
  EXPECT_TRUE(std::isnan(json.value()[0].get<double>()));
  EXPECT_EQ(json.value()[1], std::numeric_limits<double>::infinity());
  EXPECT_EQ(json.value()[2], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(json.value()[3], -1);
}

TEST(JsonTextTest, PositionsAreThoseOfKeysAndElements) {
  const JsonText json = JsonText::Parse(R"({ "puzzle": 1,
  // the parent
  "nodes": {
    "parent": { "kind": "load_model", "in": [10, {"x": 2}] }
  }
})",
                                        "demo.json");
  EXPECT_EQ(PositionOf(json, ""), "1:1");
  EXPECT_EQ(PositionOf(json, "/puzzle"), "1:3");
  EXPECT_EQ(PositionOf(json, "/nodes"), "3:3");
  EXPECT_EQ(PositionOf(json, "/nodes/parent"), "4:5");
  EXPECT_EQ(PositionOf(json, "/nodes/parent/kind"), "4:17");
  EXPECT_EQ(PositionOf(json, "/nodes/parent/in/0"), "4:46");
  EXPECT_EQ(PositionOf(json, "/nodes/parent/in/1/x"), "4:51");
}

TEST(JsonTextTest, UnknownPointerGivesTheNearestAncestor) {
  const JsonText json = JsonText::Parse("{\n \"a\": [1]\n}", "");
  EXPECT_EQ(PositionOf(json, "/a/7"), "2:2");
  EXPECT_EQ(PositionOf(json, "/a/0/deeper/still"), "2:8");
  EXPECT_EQ(PositionOf(json, "/b"), "1:1");
  EXPECT_EQ(PositionOf(json, "/a/-1"), "2:2");
  EXPECT_EQ(PositionOf(json, "/a/0x"), "2:2");
}

TEST(JsonTextTest, PointersAreUnescaped) {
  const JsonText json = JsonText::Parse("{\"a/b\": 1,\n \"c~d\": 2,\n\"\": 3}", "");
  EXPECT_EQ(PositionOf(json, "/a~1b"), "1:2");
  EXPECT_EQ(PositionOf(json, "/c~0d"), "2:2");
  EXPECT_EQ(PositionOf(json, "/"), "3:1");
}

TEST(JsonTextTest, ColumnsCountCharactersNotBytes) {
  EXPECT_EQ(PositionOf(JsonText::Parse("{\"é€😀\": 1, \"b\": 2}", ""), "/b"), "1:12");
}

TEST(JsonTextTest, CommentsAreSkippedWhereverBlanksAre) {
  const JsonText json = JsonText::Parse(
      "// first\n/* a */ { /* b */ \"x\" /*c*/ : // d\n [ 1 /* , 2 */ ] } // last", "");
  EXPECT_EQ(json.value().dump(), R"({"x":[1]})");
  EXPECT_THAT(ErrorOf([] { JsonText::Parse("{} // no", "", {.allow_comments = false}); }),
              HasSubstr(":1:4: '/' after the end"));
}

TEST(JsonTextTest, StringsAreUnescaped) {
  const JsonText json =
      JsonText::Parse(R"(["\"\\\/\b\f\n\r\t", "\u0041\u00e9\u20AC\uD83D\uDE00"])", "");
  EXPECT_EQ(json.value()[0], "\"\\/\b\f\n\r\t");
  EXPECT_EQ(json.value()[1], "Aé€😀");
}

struct BadText {
  std::string name;
  std::string text;
  std::string message;  // after "bad.json:"
};

void PrintTo(const BadText& bad, std::ostream* out) {
  *out << bad.name;
}

class JsonTextErrorTest : public testing::TestWithParam<BadText> {};

TEST_P(JsonTextErrorTest, NamesPlaceAndProblem) {
  EXPECT_THAT(ErrorOf([] { JsonText::Parse(GetParam().text, "bad.json", {.max_depth = 4}); }),
              StartsWith("bad.json:" + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Malformed, JsonTextErrorTest,
    testing::Values(
        BadText{"Empty", "", "1:1: expected a value, the text ends"},
        BadText{"Blank", " \n ", "2:2: expected a value, the text ends"},
        BadText{"TrailingCommaInObject", "{\"a\": 1,\n}", "2:1: expected a key, found '}'"},
        BadText{"TrailingCommaInArray", "[1,]", "1:4: expected a value, found ']'"},
        BadText{"LeadingComma", "[,1]", "1:2: expected a value, found ','"},
        BadText{"MissingComma", "[1 2]", "1:4: expected ',' or ']', found '2'"},
        BadText{"MissingColon", "{\"a\" 1}", "1:6: expected ':', found '1'"},
        BadText{"UnquotedKey", "{a: 1}", "1:2: expected a key, found 'a'"},
        BadText{"DuplicateKey", "{\"a\": 1,\n  \"b\": 2, \"a\": 3}", "2:11: duplicate key \"a\""},
        BadText{"DuplicateKeyByEscape", R"({"a": 1, "\u0061": 2})", "1:10: duplicate key \"a\""},
        BadText{"OpenObject", "{\"a\": 1", "1:8: expected ',' or '}', found the end of the text"},
        BadText{"OpenArray", "[1", "1:3: expected ',' or ']', found the end of the text"},
        BadText{"OpenString", "{\"a\": \"x}", "1:7: string without an end"},
        BadText{"OpenComment", "{ /* ", "1:3: comment without an end"},
        BadText{"LoneSlash", "{ / }", "1:3: expected a value or a comment"},
        BadText{"TextAfterTheEnd", "{} {}", "1:4: '{' after the end"},
        BadText{"TooDeep", "[[[[[1]]]]]", "1:5: nested more than 4 levels deep"},
        BadText{"Nan", "[NaN]", "1:2: NaN is no JSON"},
        BadText{"Infinity", "[-Infinity]", "1:2: -Infinity is no JSON"},
        BadText{"NumberTooLarge", "[1e999]", "1:2: number out of range"},
        BadText{"LeadingZero", "[01]", "1:3: expected ',' or ']', found '1'"},
        BadText{"PlusSign", "[+1]", "1:2: expected a value, found '+'"},
        BadText{"BareDot", "[1.]", "1:2: number without digits after '.'"},
        BadText{"BareExponent", "[1e+]", "1:2: number without digits in its exponent"},
        BadText{"CutWord", "[tru]", "1:2: expected a value, found 't'"},
        BadText{"UnknownEscape", R"(["\x41"])", "1:3: unknown escape"},
        BadText{"ShortEscape", R"(["\u12"])", "1:3: \\u needs four hexadecimal digits"},
        BadText{"EscapeAtTheEnd", "[\"\\", "1:3: unknown escape"},
        BadText{"HighSurrogateAlone", R"(["\ud83d"])", "1:3: half of a surrogate pair"},
        BadText{"LowSurrogateAlone", R"(["\ude00"])", "1:3: half of a surrogate pair"},
        BadText{"HighSurrogateTwice", R"(["\ud83d\ud83d"])", "1:3: half of a surrogate pair"},
        BadText{"NewlineInString", "[\"a\nb\"]", "1:4: control character 0x0A"},
        BadText{"OverlongUtf8", "[\"\xC0\xAF\"]", "1:3: string is not valid UTF-8"},
        BadText{"OverlongUtf8OfThree", "[\"\xE0\x80\x80\"]", "1:3: string is not valid UTF-8"},
        BadText{"SurrogateInUtf8", "[\"\xED\xA0\x80\"]", "1:3: string is not valid UTF-8"},
        BadText{"BeyondUnicode", "[\"\xF4\x90\x80\x80\"]", "1:3: string is not valid UTF-8"},
        BadText{"CutUtf8", "[\"\xE2\x82\"]", "1:3: string is not valid UTF-8"},
        BadText{"LoneContinuation", "[\"\x80\"]", "1:3: string is not valid UTF-8"},
        BadText{"ByteOrderMark", "\xEF\xBB\xBF{}", "1:1: begins with a byte order mark"},
        BadText{"Utf16", std::string("\xFF\xFE{\0}\0", 6), "1:1: is UTF-16 text"},
        BadText{"Utf16WithoutMark", std::string("{\0}\0", 4), "1:1: is UTF-16 or binary"},
        BadText{"Gzip", "\x1F\x8B\x08", "1:1: is compressed with gzip"},
        BadText{"Html", "<!DOCTYPE html>", "1:1: is a page of HTML"},
        BadText{"NulByte", std::string("[1\0]", 4), "1:3: expected ',' or ']', found byte 0x00"}),
    [](const auto& info) { return info.param.name; });

TEST(JsonTextTest, TooLongTextIsRefused) {
  EXPECT_THAT(ErrorOf([] { JsonText::Parse("[1,2,3]", "", {.max_bytes = 6}); }),
              HasSubstr("at most 6"));
}

TEST(JsonTextTest, FilesAreReadAndNamed) {
  const TempFolder folder;
  WriteBytes(folder / "a.json", "{\"x\": 1}");
  EXPECT_EQ(JsonText::ParseFile(folder / "a.json").value()["x"], 1);
  WriteBytes(folder / "a.json", "{\"x\": }");
  EXPECT_THAT(ErrorOf([&] { JsonText::ParseFile(folder / "a.json"); }),
              StartsWith((folder / "a.json") + ":1:7:"));
  EXPECT_THAT(ErrorOf([&] { JsonText::ParseFile(folder / "none.json"); }), HasSubstr("none.json"));
}

TEST(JsonTextTest, DepthIsCountedOutsideOfStrings) {
  EXPECT_TRUE(IsNestedWithin(R"({"a": [1, [2]], "b": "[[[[\\\"[["})", 3));
  EXPECT_FALSE(IsNestedWithin(R"({"a": [1, [2]]})", 2));
  EXPECT_FALSE(IsNestedWithin(std::string(1'000'000, '['), 200));
  EXPECT_TRUE(IsNestedWithin("", 0));
}

TEST(JsonTextTest, ManyKeysTakeNoQuadraticTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += "\"key" + std::to_string(i) + "\":0,";
  text.back() = '}';
  EXPECT_EQ(JsonText::Parse(text, "").value().size(), 200'000u);
}

/// A random value with nothing that a text could lose.
nlohmann::ordered_json RandomJson(std::mt19937& random, int depth) {
  switch (random() % (depth > 0 ? 8 : 6)) {
    case 0:
      return nullptr;
    case 1:
      return random() % 2 == 0;
    case 2:
      return static_cast<uint64_t>(random());
    case 3:
      return -static_cast<int64_t>(random()) - 1;
    case 4:
      return std::ldexp(static_cast<double>(random()) + 0.5,
                        static_cast<int>(random() % 200) - 100);
    case 5: {
      static const char* const kPieces[] = {"a", "\"", "\\", "\n", "é", "€", "😀", "/", "\x01"};
      std::string text;
      for (auto n = random() % 6; n > 0; --n) text += kPieces[random() % std::size(kPieces)];
      return text;
    }
    case 6: {
      auto array = nlohmann::ordered_json::array();
      for (auto n = random() % 5; n > 0; --n) array.push_back(RandomJson(random, depth - 1));
      return array;
    }
    default: {
      auto object = nlohmann::ordered_json::object();
      for (auto n = random() % 5; n > 0; --n) {
        object[std::to_string(random() % 100)] = RandomJson(random, depth - 1);
      }
      return object;
    }
  }
}

TEST(JsonTextTest, RandomDocumentsSurviveARoundTrip) {
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    const auto value = RandomJson(random, 5);
    EXPECT_EQ(JsonText::Parse(value.dump(random() % 2 == 0 ? 2 : -1), "").value().dump(),
              value.dump());
  }
}

TEST(JsonTextTest, DamagedDocumentsNeverCrash) {
  std::mt19937 random(8);
  for (int i = 0; i < 5000; ++i) {
    std::string text = RandomJson(random, 5).dump();
    text[random() % text.size()] = static_cast<char>(1 + random() % 255);
    text.resize(random() % (text.size() + 1));
    // Both answers agree with an independent parser, which only misses duplicate keys.
    bool accepted = true;
    try {
      JsonText::Parse(text, "", {.allow_comments = false});
    } catch (const Error& e) {
      accepted = std::string_view(e.what()).find("duplicate key") != std::string_view::npos;
    }
    EXPECT_EQ(accepted, nlohmann::json::accept(text)) << text;
  }
}

TEST(CanonicalJsonTest, EqualValuesGiveEqualBytes) {
  const auto a = nlohmann::json::parse(R"({"b": [1, 2.50], "a": {"y": null, "x": "é"}})");
  const auto b = nlohmann::json::parse(R"({"a": {"x": "\u00e9", "y": null}, "b": [1, 2.5e0]})");
  EXPECT_EQ(CanonicalJson(a), R"({"a":{"x":"é","y":null},"b":[1,2.5]})");
  EXPECT_EQ(CanonicalJson(a), CanonicalJson(b));
}

TEST(CanonicalJsonTest, WhatJsonCannotSayIsAnError) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(ErrorOf([&] { (void)CanonicalJson({{"a", {1.0, nan}}}); }), HasSubstr("NaN"));
  EXPECT_THAT(ErrorOf([&] { (void)CanonicalJson(-INFINITY); }), HasSubstr("infinity"));
  EXPECT_THAT(ErrorOf([&] { (void)CanonicalJson("\xFF"); }), HasSubstr("UTF-8"));
}

}  // namespace
}  // namespace puzzle
