// A run as one HTML file.
#include "graph/view/html_report.h"

#include <nlohmann/json.hpp>
#include <regex>

#include "graph/view/graph_svg.h"
#include "graph/view/svg.h"
#include "tests/graph/graph_test_fixture.h"
#include "tests/graph/xml_check.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class HtmlReportTest : public GraphTest {
 protected:
  std::string Report() {
    TimelineRecorder recorder;
    observer_.also = [&](const RunEvent& event) { recorder.OnEvent(event); };
    Run();
    observer_.also = nullptr;
    pictures_ = CollectPictures(*plan_, report(), *store_);
    return HtmlReport(*plan_, report(), recorder.Take(), pictures_,
                      {"a<b>.json", "puzzle run 'a<b>.json' --set x=\"1\"", "puzzle 1", "today"});
  }
  static void ExpectSelfContained(const std::string& html) {
    EXPECT_EQ(XmlMistake(html), "");
    EXPECT_THAT(html, Not(HasSubstr("<script")));
    EXPECT_THAT(html, Not(HasSubstr("<link")));
    EXPECT_THAT(html, Not(HasSubstr("@import")));
    const std::regex outside(
        R"re((src|href)="(?!data:)|url\((?!#)|https?://(?!www\.w3\.org/2000/svg"))re");
    std::smatch match;
    EXPECT_FALSE(std::regex_search(html, match, outside)) << match.str();
  }

  std::vector<Picture> pictures_;
};

constexpr const char* kHtmlGraph = R"({"puzzle": 1, "nodes": {
  "t": {"kind": "text", "foreach": {"i": [1, 2, 3]}, "params": {"value": "${i}"}},
  "s": {"kind": "sleep", "foreach": {"i": [1, 2, 3]}, "in": {"in": "t[i=${i}]"},
        "params": {"value": "s${i}", "ms": 15}},
  "all": {"kind": "concat", "doc": "joins & sorts", "in": {"parts": ["s"]}},
  "f": {"kind": "fail", "in": {"in": "all"}, "params": {"message": "disk <full> & on fire"}},
  "u": {"kind": "upper", "in": {"in": "f"}},
  "p": {"kind": "picture", "params": {"svg": "<svg xmlns='http://www.w3.org/2000/svg'/>"}}}})";

TEST_F(HtmlReportTest, IsOneWellFormedFileThatNeedsNothingElse) {
  options_.keep_going = true;
  Load(kHtmlGraph);
  const std::string html = Report();
  ExpectSelfContained(html);
  EXPECT_THAT(html, HasSubstr("<title>a&lt;b&gt;.json</title>"));
  EXPECT_THAT(html, HasSubstr("puzzle run 'a&lt;b&gt;.json' --set x=&quot;1&quot;"));
  EXPECT_THAT(html, HasSubstr(XmlText(SummaryLine(report()))));
}

TEST_F(HtmlReportTest, NamesFailuresCriticalPathSlowestStepsAndSavings) {
  options_.keep_going = true;
  Load(kHtmlGraph);
  Report();
  Set("s[i=2].value=other");
  const std::string html = Report();
  ExpectSelfContained(html);
  EXPECT_THAT(html, HasSubstr("disk &lt;full&gt; &amp; on fire"));
  EXPECT_THAT(html, HasSubstr("<h2>Critical path</h2>"));
  EXPECT_THAT(html, HasSubstr("<tr><td>s[i=2]</td><td>sleep</td><td class=\"n\">0.0"));
  EXPECT_THAT(html, HasSubstr("<h2>Slowest steps</h2>"));
  // Nodes and savings: three texts were found, two of three sleeps.
  EXPECT_THAT(html, HasSubstr("<tr><td>t</td><td>text</td><td class=\"n\">3</td>"
                              "<td class=\"n\">0</td><td class=\"n\">0.0</td>"
                              "<td class=\"n\">3</td>"));
  EXPECT_THAT(html, HasSubstr("<tr><td>s</td><td>sleep</td><td class=\"n\">3</td>"
                              "<td class=\"n\">1</td>"));
}

TEST_F(HtmlReportTest, ShowsPicturesOfResultsAsImages) {
  options_.keep_going = true;
  Load(kHtmlGraph);
  for (int run = 0; run < 2; ++run) {  // computed, then found
    const std::string html = Report();
    ASSERT_EQ(pictures_.size(), 1u);
    EXPECT_EQ(pictures_[0].step, "p");
    EXPECT_EQ(pictures_[0].svg, "<svg xmlns='http://www.w3.org/2000/svg'/>");
    EXPECT_THAT(html, HasSubstr("src=\"data:image/svg+xml;base64,"
                                "PHN2ZyB4bWxucz0naHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmcnLz4=\""));
  }
}

TEST_F(HtmlReportTest, ARunWithNothingToDoHasAReport) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text"}}})");
  Run();
  const std::string html = Report();
  ExpectSelfContained(html);
  EXPECT_THAT(html, HasSubstr("1 cached"));
}

TEST_F(HtmlReportTest, TheGraphHasABoxPerNodeBelowItsInputs) {
  options_.keep_going = true;
  Load(kHtmlGraph);
  Run();
  const std::string svg = GraphSvg(*plan_, report());
  EXPECT_EQ(XmlMistake(svg), "");
  const auto row_of = [&](const std::string& node) {
    std::smatch match;
    const std::regex box("y=\"([0-9]+)\" font-weight=\"bold\">" + node + "<");
    EXPECT_TRUE(std::regex_search(svg, match, box)) << node;
    return match.empty() ? 0 : std::stoi(match[1]);
  };
  EXPECT_LT(row_of("t"), row_of("s"));
  EXPECT_LT(row_of("s"), row_of("all"));
  EXPECT_LT(row_of("all"), row_of("f"));
  EXPECT_LT(row_of("f"), row_of("u"));
  EXPECT_THAT(svg, HasSubstr("joins &amp; sorts"));
  EXPECT_THAT(svg, HasSubstr(">1 failed<"));
  EXPECT_THAT(svg, HasSubstr(">1 left out<"));
}

TEST(SvgTest, TextIsEscapedAndCutBetweenCharacters) {
  EXPECT_EQ(XmlText("a<b>&\"c\"\x01 ü \xff"), "a&lt;b&gt;&amp;&quot;c&quot;? ü ?");
  EXPECT_EQ(Shortened("abcdef", 6), "abcdef");
  EXPECT_EQ(Shortened("abcdefg", 6), "abc...");
  EXPECT_EQ(Shortened("aüüüü", 6), "aü...");
  EXPECT_NE(NodeColor(0), NodeColor(1));
}

}  // namespace
}  // namespace puzzle::testing
