#include "nodes/data/story_corpus.h"

#include <gmock/gmock.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "io/error.h"
#include "io/fingerprint.h"

namespace puzzle {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

std::vector<std::string> Split(const std::string& corpus) {
  const std::string separator = kStorySeparator;
  std::vector<std::string> stories;
  for (size_t begin = 0; begin < corpus.size();) {
    const size_t end = corpus.find(separator, begin);
    if (end == std::string::npos) break;
    stories.push_back(corpus.substr(begin, end - begin));
    begin = end + separator.size();
  }
  return stories;
}

std::vector<std::string> Stories(int64_t stories, uint64_t seed) {
  return Split(GenerateStories({.stories = stories, .seed = seed}));
}

// Calls `check` with every match of `pattern` in `text`.
void ForEachMatch(const std::string& text, const std::string& pattern,
                  const std::function<void(const std::smatch&)>& check) {
  const std::regex regex(pattern);
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match) {
    check(*match);
  }
}

void ExpectNoMatch(const std::string& text, const std::string& pattern) {
  ForEachMatch(text, pattern, [&](const std::smatch& match) {
    ADD_FAILURE() << '"' << match.str() << "\" in:\n" << text;
  });
}

struct Parts {
  std::string told;   // the first two paragraphs
  std::string asked;  // questions and answers about them
};

Parts PartsOf(const std::string& story) {
  const size_t end = story.rfind('\n');
  return {story.substr(0, end), story.substr(end + 1)};
}

class StoryCorpusTest : public ::testing::Test {
 protected:
  const std::vector<std::string> stories_ = Stories(600, 11);
};

TEST(StoryCorpusOptionsTest, EqualOptionsGiveEqualText) {
  EXPECT_EQ(GenerateStories({.stories = 20, .seed = 3}),
            GenerateStories({.stories = 20, .seed = 3}));
  EXPECT_NE(GenerateStories({.stories = 20, .seed = 3}),
            GenerateStories({.stories = 20, .seed = 4}));
}

// On every platform and with every standard library.
TEST(StoryCorpusOptionsTest, TheTextIsTheOneWeAlwaysMade) {
  EXPECT_EQ(FingerprintText(GenerateStories({.stories = 200, .seed = 1})),
            "467e3525e9421b8ba7e0026f8d222abd0a3656138f7bfa257d63766d964f41bb");
}

TEST(StoryCorpusOptionsTest, MoreStoriesOnlyAppend) {
  EXPECT_THAT(GenerateStories({.stories = 30, .seed = 5}),
              StartsWith(GenerateStories({.stories = 20, .seed = 5})));
  EXPECT_EQ(GenerateStories({.stories = 0, .seed = 5}), "");
  EXPECT_THAT(GenerateStories({.stories = 1, .seed = 5}), EndsWith(kStorySeparator));
  EXPECT_THROW(GenerateStories({.stories = -1, .seed = 5}), Error);
}

TEST(StoryCorpusOptionsTest, StoriesHardlyRepeat) {
  const std::vector<std::string> training = Stories(3000, 1);
  const std::set<std::string> known(training.begin(), training.end());
  EXPECT_EQ(training.size(), 3000u);
  EXPECT_GE(known.size(), 2998u);
  int seen = 0;
  for (const std::string& story : Stories(500, 2)) seen += known.count(story);
  EXPECT_LE(seen, 1);
}

TEST_F(StoryCorpusTest, StoriesAreShort) {
  for (const std::string& story : stories_) {
    EXPECT_GE(story.size(), 350u) << story;
    EXPECT_LE(story.size(), 750u) << story;
  }
}

TEST_F(StoryCorpusTest, TheVocabularyIsSmall) {
  std::set<std::string> words;
  for (const std::string& story : stories_) {
    ForEachMatch(story, "[A-Za-z]+", [&](const std::smatch& match) { words.insert(match.str()); });
  }
  EXPECT_GE(words.size(), 200u);
  EXPECT_LE(words.size(), 400u);  // "The" and "the" are two
}

TEST_F(StoryCorpusTest, PunctuationIsClean) {
  for (const std::string& story : stories_) {
    ExpectNoMatch(story, "[^A-Za-z .,!?'\"\\n]");
    ExpectNoMatch(story, "  | \\n|\\n | [.,!?]|[.,!?]{2}|\\n\\n|^[ \\n]|[ \\n]$");
    std::istringstream lines(story);
    int paragraphs = 0;
    for (std::string line; std::getline(lines, line); ++paragraphs) {
      EXPECT_TRUE(std::regex_search(line, std::regex("[.!?]\"?$"))) << line;
      EXPECT_EQ(std::count(line.begin(), line.end(), '"') % 2, 0) << line;
    }
    EXPECT_EQ(paragraphs, 3) << story;
  }
}

TEST_F(StoryCorpusTest, SentencesBeginWithCapitals) {
  for (const std::string& story : stories_) {
    ExpectNoMatch(story, "[.!?] \"?[a-z]|[.]\" [a-z]|\\n\"?[a-z]|^\"?[a-z]");
    ExpectNoMatch(story, "[!?]\" (?!he |she |asked |said |cried )[a-z]+");
    ExpectNoMatch(story, "[a-z] (?:The|She|He|They|It|His|Her|Then)\\b");
  }
}

TEST_F(StoryCorpusTest, ArticlesAgree) {
  for (const std::string& story : stories_) {
    ExpectNoMatch(story, "\\b[Aa] [aeiou]");
    ExpectNoMatch(story, "\\b[Aa]n [^aeiou]");
  }
}

TEST_F(StoryCorpusTest, VerbsAndNumbersAgree) {
  for (const std::string& story : stories_) {
    ExpectNoMatch(story,
                  "\\b(?:[Hh]e|[Ss]he|[Ii]t|[Ii]) were\\b|\\b[Tt]hey was\\b|\\bI (?:is|has)\\b");
    ExpectNoMatch(story, "\\bone (?:apple|egg|shell|stone|flower)s\\b");
    ExpectNoMatch(story,
                  "\\b(?:two|three|four|five|six|seven|eight|nine) "
                  "(?:apple|egg|shell|stone|flower)\\b");
  }
}

TEST_F(StoryCorpusTest, EveryChildHasOneGenderAndItsPronouns) {
  std::map<std::string, std::string> kind_of;
  for (const std::string& story : stories_) {
    const auto learn = [&](const std::string& name, const std::string& kind) {
      const auto [known, is_new] = kind_of.try_emplace(name, kind);
      EXPECT_EQ(known->second, kind) << story;
    };
    ForEachMatch(story, "(girl|boy) named ([A-Z][a-z]+)\\. (He|She) ", [&](const auto& match) {
      learn(match[2], match[1]);
      EXPECT_EQ(match[3] == "She", match[1] == "girl") << story;
    });
    ForEachMatch(story, "([A-Z][a-z]+) was a [a-z]+ (girl|boy)\\. (His|Her|He|She) ",
                 [&](const auto& match) {
                   learn(match[1], match[2]);
                   EXPECT_EQ(match[3] == "She" || match[3] == "Her", match[2] == "girl") << story;
                 });
  }
  EXPECT_EQ(kind_of.size(), 12u);
  for (const std::string& story : stories_) {
    ForEachMatch(PartsOf(story).asked, "did ([A-Z][a-z]+) [^?]*\\? (He|She) ",
                 [&](const auto& match) {
                   EXPECT_EQ(match[2] == "She", kind_of[match[1]] == "girl") << story;
                 });
  }
}

TEST_F(StoryCorpusTest, ThingsKeepTheirColors) {
  for (const std::string& story : stories_) {
    std::map<std::string, std::string> color_of;
    const auto expect_color = [&](const std::string& thing, const std::string& color) {
      EXPECT_EQ(color_of.try_emplace(thing, color).first->second, color) << story;
    };
    ForEachMatch(story,
                 "(red|blue|green|yellow|orange|black|white|pink) "
                 "(ball|key|hat|book|cup|kite|bell|drum|doll|boat|umbrella)",
                 [&](const auto& match) { expect_color(match[2], match[1]); });
    ForEachMatch(story, "What color was [^?]*?([a-z]+)\\? It was ([a-z]+)\\.",
                 [&](const auto& match) { expect_color(match[1], match[2]); });
  }
}

TEST_F(StoryCorpusTest, AnswersWereToldBefore) {
  const std::set<std::string> grammar = {"It",  "was", "did",  "He", "She", "They", "had",   "Her",
                                         "His", "saw", "used", "a",  "an",  "the",  "liked", "in",
                                         "on",  "at",  "went", "to", "by",  "made", "played"};
  int questions = 0;
  for (const std::string& story : stories_) {
    const Parts parts = PartsOf(story);
    ForEachMatch(parts.asked, "([^?.]*)\\? ([^?.]*)\\.", [&](const std::smatch& question) {
      ++questions;
      ForEachMatch(question[2].str(), "[A-Za-z]+", [&](const std::smatch& word) {
        if (grammar.count(word.str()) != 0) return;
        EXPECT_TRUE(std::regex_search(parts.told, std::regex("\\b" + word.str() + "\\b")))
            << word.str() << " in:\n"
            << story;
      });
    });
  }
  EXPECT_EQ(questions, 2 * 600);
}

TEST_F(StoryCorpusTest, ThingsAreFoundWhereTheyWerePut) {
  int found = 0;
  for (const std::string& story : stories_) {
    ForEachMatch(PartsOf(story).asked, "Where was ([A-Z][a-z]+)'s ([a-z]+)\\? It was ([a-z ]+)\\.",
                 [&](const std::smatch& match) {
                   ++found;
                   const std::regex told(match[1].str() + " (?:put|left) (?:his|her) " +
                                         match[2].str() + " " + match[3].str());
                   EXPECT_TRUE(std::regex_search(story, told)) << story;
                 });
  }
  EXPECT_GT(found, 20);
}

TEST_F(StoryCorpusTest, CountsAddUp) {
  const std::vector<std::string> numbers = {"zero", "one", "two",   "three", "four",
                                            "five", "six", "seven", "eight", "nine"};
  int counted = 0;
  for (const std::string& story : stories_) {
    const Parts parts = PartsOf(story);
    if (parts.asked.find("How many") == std::string::npos) continue;
    ++counted;
    std::vector<int> said;  // had, given, left, [given,] more, total
    ForEachMatch(parts.told, "\\b(?:one|two|three|four|five|six|seven|eight|nine)\\b",
                 [&](const std::smatch& match) {
                   said.push_back(static_cast<int>(
                       std::find(numbers.begin(), numbers.end(), match.str()) - numbers.begin()));
                 });
    ASSERT_GE(said.size(), 5u) << story;
    EXPECT_EQ(said[2], said[0] - said[1]) << story;
    EXPECT_EQ(said.back(), said[2] + said[said.size() - 2]) << story;
    ForEachMatch(parts.asked, "in the end\\? [A-Z][a-z]+ had ([a-z]+)\\.",
                 [&](const auto& match) { EXPECT_EQ(match[1], numbers[said.back()]) << story; });
  }
  EXPECT_GT(counted, 20);
}

}  // namespace
}  // namespace puzzle
