// What the program says a word may become, and the manual page.
#include <algorithm>
#include <sstream>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class CompleteTest : public CliTest {
 protected:
  /// `words` behind the program's name, the last one being typed.
  [[nodiscard]] std::vector<std::string> Offers(std::vector<std::string> words) const {
    words.insert(words.begin(), "complete");
    const Result result = Puzzle(words);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    std::istringstream text(result.out);
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
};

TEST_F(CompleteTest, VerbsOptionsAndTheirValues) {
  EXPECT_THAT(Offers({""}), Contains("run"));
  EXPECT_THAT(Offers({"pl"}), ElementsAre("plan"));
  EXPECT_THAT(Offers({"cache", "p"}), Contains("pin"));
  EXPECT_THAT(Offers({"run", "g.json", "--de"}), ElementsAre("--devices"));
  EXPECT_THAT(Offers({"graph", "g.json", "--format", ""}),
              ElementsAre("dot", "makeflow", "mermaid"));
  EXPECT_THAT(Offers({"kinds", "conc"}), ElementsAre("concat"));
  // Files are the shell's.
  EXPECT_THAT(Offers({"run", ""}), IsEmpty());
  EXPECT_THAT(Offers({"run", "g.json", "--report", ""}), IsEmpty());
}

TEST_F(CompleteTest, StepsAndSettingsAreThoseOfTheGraph) {
  Write("g.json", kGraph);
  EXPECT_THAT(Offers({"plan", "g.json", "--until", ""}), ElementsAre("all", "end", "s", "t"));
  EXPECT_THAT(Offers({"plan", "g.json", "--until", "s["}),
              ElementsAre("s[i=0]", "s[i=1]", "s[i=2]"));
  EXPECT_THAT(Offers({"run", "g.json", "--set", "vars."}), ElementsAre("vars.n="));
  EXPECT_THAT(Offers({"run", "g.json", "--set", "all."}), Contains("all.separator="));
  EXPECT_THAT(Offers({"explain", "g.json", "e"}), ElementsAre("end"));
  // A graph that cannot be read offers nothing and complains of nothing.
  Write("bad.json", "{");
  EXPECT_THAT(Offers({"plan", "bad.json", "--until", ""}), IsEmpty());
  EXPECT_THAT(Offers({"plan", "none.json", "--set", "v"}), IsEmpty());
}

TEST_F(CompleteTest, ResultsAreThoseOfTheStore) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json", "-q", "--store", "mine"}).status, 0);
  EXPECT_THAT(Offers({"show", "--store", "mine", "a"}), ElementsAre("all"));
  EXPECT_THAT(Offers({"show", "--store", "mine", "s["}), ElementsAre("s[i=0]", "s[i=1]", "s[i=2]"));
  EXPECT_THAT(Offers({"show", "--store=mine", "a"}), ElementsAre("all"));
  EXPECT_THAT(Offers({"show", "a"}), IsEmpty());
}

// Whatever --help lists, completion offers and the manual explains.
TEST_F(CompleteTest, NothingThatHelpListsIsMissing) {
  const std::vector<std::string> verbs = Offers({""});
  ASSERT_GE(verbs.size(), 11u);
  const std::string manual = Puzzle({"manual"}).out;
  const auto in_manual = [&](std::string text) {
    for (size_t at = 0; (at = text.find('-', at)) != std::string::npos; at += 2)
      text.insert(at, 1, '\\');
    return manual.find(text) != std::string::npos;
  };
  for (const std::string& verb : verbs) {
    EXPECT_TRUE(in_manual(".SS " + verb)) << verb;
    if (!Offers({verb, ""}).empty()) continue;  // its verbs have the options
    const std::vector<std::string> flags = Offers({verb, "-"});
    std::istringstream help(Puzzle({verb, "--help"}).out);
    for (std::string word; help >> word;) {
      if (word == "Examples:") break;
      if (!word.starts_with("--") || word.size() < 4) continue;
      word = word.substr(0, word.find_first_of(",=.;:"));
      EXPECT_THAT(flags, Contains(word)) << verb;
      EXPECT_TRUE(word == "--help" || in_manual(word)) << verb << " " << word;
    }
  }
  for (const std::string& verb : Offers({"cache", ""}))
    EXPECT_TRUE(in_manual(".SS cache " + verb)) << verb;
}

// Scripts rely on them.
TEST_F(CompleteTest, NoOptionGoesWithoutNotice) {
  const std::vector<std::string> graph = {"--set", "--shared-store", "--store",
                                          "--strict-environment"};
  const std::vector<std::string> selection = {"--accept", "--force", "--force-all",
                                              "--from",   "--only",  "--until"};
  const std::vector<std::string> store = {"--store"}, json = {"--json"};
  struct VerbOptions {
    std::vector<std::string> verb;
    std::vector<std::vector<std::string>> options;
  };
  const VerbOptions verbs[] = {
      {{"run"},
       {graph,
        selection,
        {"--devices",
         "--dry-run",
         "--events",
         "--jobs",
         "--keep-going",
         "--lost-after",
         "--memory",
         "--on",
         "--quiet",
         "--report",
         "--resident-mib",
         "--ssh-command",
         "--summary",
         "--threads-per-lane",
         "--trace",
         "--verbose",
         "-h",
         "-j",
         "-k",
         "-n",
         "-q",
         "-v"}}},
      {{"submit"}, {graph, selection, {"--devices", "--dry-run", "--jobs", "--keep-going"}}},
      {{"jobs"}, {store}},
      {{"plan"}, {graph, selection, json, {"--all", "--devices", "--jobs", "--verbose", "-v"}}},
      {{"explain"}, {graph, json}},
      {{"show"}, {store, json, {"--picture"}}},
      {{"runs"}, {store, json}},
      {{"diff"}, {store, json}},
      {{"validate"}, {{"--set"}}},
      {{"graph"}, {graph, {"--format", "--steps"}}},
      {{"kinds"}, {json}},
      {{"cache", "ls"}, {store, json}},
      {{"cache", "du"}, {store, json}},
      {{"cache", "gc"}, {store, {"--all", "--max-size", "--older", "--yes", "-y"}}},
      {{"cache", "verify"}, {store, json, {"--repair"}}},
      {{"cache", "pin"}, {store}},
      {{"cache", "unpin"}, {store}}};
  for (const auto& [verb, options] : verbs) {
    std::vector<std::string> words = verb;
    words.emplace_back("-");
    const std::vector<std::string> flags = Offers(words);
    EXPECT_TRUE(std::is_sorted(flags.begin(), flags.end())) << verb.back();
    for (const std::vector<std::string>& group : options)
      for (const std::string& option : group) EXPECT_THAT(flags, Contains(option)) << verb.back();
  }
}

TEST_F(CompleteTest, TheManualIsPlainTroff) {
  const std::string manual = Puzzle({"manual"}).out;
  EXPECT_THAT(manual, HasSubstr(".SH NAME\npuzzle \\- "));
  EXPECT_THAT(manual, HasSubstr("Examples:\n  puzzle run "));
  std::istringstream text(manual);
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with(".")) continue;
    const std::string request = line.substr(0, line.find(' '));
    EXPECT_THAT(
        (std::vector<std::string>{".TH", ".SH", ".SS", ".B", ".I", ".TP", ".PP", ".nf", ".fi"}),
        Contains(request));
  }
}

}  // namespace
}  // namespace puzzle::testing
