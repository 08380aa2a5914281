// Append-only files of checksummed lines.
#include "graph/store/line_file.h"

#include <filesystem>
#include <fstream>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;

class LineFileTest : public ::testing::Test {
 protected:
  std::vector<std::string> Lines() {
    LineFile file(path_);
    std::vector<std::string> lines;
    file.Read([&](std::string_view line) { lines.emplace_back(line); });
    return lines;
  }
  TemporaryFolder folder_;
  std::string path_ = folder_.path() + "/lines";
};

TEST_F(LineFileTest, LinesComeBackInOrder) {
  EXPECT_TRUE(Lines().empty());
  LineFile file(path_);
  file.Append("one");
  file.Append("");
  file.Append("three");
  EXPECT_THAT(Lines(), ElementsAre("one", "", "three"));
}

TEST_F(LineFileTest, ATornLineIsIgnoredAndTheNextOneIsNot) {
  {
    LineFile file(path_);
    file.Append("one");
    file.Append("two");
  }
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 2);
  EXPECT_THAT(Lines(), ElementsAre("one"));
  LineFile file(path_);
  file.Read([](std::string_view) {});
  file.Append("three");
  EXPECT_THAT(Lines(), ElementsAre("one", "three"));
}

TEST_F(LineFileTest, EveryChecksumTellsLinesApart) {
  std::set<std::string> sums;
  for (int i = 0; i < 1000; ++i) sums.insert(Checksum(std::string(static_cast<size_t>(i), 'a')));
  EXPECT_EQ(sums.size(), 1000u);
  EXPECT_NE(Checksum("ab"), Checksum("ba"));
}

TEST_F(LineFileTest, RewritingReplacesEverything) {
  LineFile file(path_);
  for (int i = 0; i < 10; ++i) file.Append("old");
  const std::vector<std::string> kept = {"x", "y"};
  size_t next = 0;
  file.Rewrite(path_ + ".new", [&] { return next < kept.size() ? &kept[next++] : nullptr; });
  file.Append("z");
  EXPECT_THAT(Lines(), ElementsAre("x", "y", "z"));
}

TEST_F(LineFileTest, TheLastLineIsReadAloneWhenItIsWhole) {
  EXPECT_EQ(LineFile::LastLine(path_), "");
  LineFile file(path_);
  for (const std::string& line : std::vector<std::string>{"one", "two", std::string(150, 'x')}) {
    file.Append(line);
    EXPECT_EQ(LineFile::LastLine(path_), line);
  }
  file.Append(std::string(300, 'x'));
  EXPECT_EQ(LineFile::LastLine(path_), "");
  file.Append("three");
  EXPECT_EQ(LineFile::LastLine(path_), "three");
  std::ofstream(path_, std::ios::app) << "torn";
  EXPECT_EQ(LineFile::LastLine(path_), "");
}

TEST_F(LineFileTest, AFileThatCannotBeWrittenIsNoFailure) {
  LineFile file(folder_.path() + "/no/such/folder");
  file.Append("one");
  file.Read([](std::string_view) { FAIL(); });
}

}  // namespace
}  // namespace puzzle::testing
