// What the user does with stores: listing, removing, pinning, verifying, sharing.
#include <filesystem>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CacheVerbTest : public CliTest {};

TEST_F(CacheVerbTest, TheCacheVerbListsRemovesPinsAndVerifies) {
  Write("g.json", kGraph);
  EXPECT_EQ(Puzzle({"cache", "ls"}).status, 1);  // there is no store yet
  EXPECT_THAT(toy_.Finish(toy_.Start({"cache", "ls"})).err,
              HasSubstr("there is no store \"store\""));
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  EXPECT_THAT(Puzzle({"cache", "ls", "s[i=1]"}).out, HasSubstr("s[i=1]  "));
  const Result some = Puzzle({"cache", "ls", "s[i=?]", "t[i=0]"});
  EXPECT_EQ(CountOf("\n", some.out), 5u) << some.out;
  const Result none = Puzzle({"cache", "ls", "s[j=*]"});
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.err, HasSubstr("\"s[j=*]\" stands for"));
  const auto list = nlohmann::json::parse(Puzzle({"cache", "ls", "--json"}).out);
  EXPECT_EQ(list.size(), 8u);
  EXPECT_EQ(list[0]["step"], "all");
  const auto use = nlohmann::json::parse(Puzzle({"cache", "du", "--json"}).out);
  EXPECT_EQ(use["nodes"].size(), 4u);
  EXPECT_THAT(Puzzle({"cache", "gc", "--older", "0s"}).out, HasSubstr("nothing was removed"));
  EXPECT_THAT(Puzzle({"run", "g.json"}).out, HasSubstr("8 cached"));
  EXPECT_THAT(Puzzle({"cache", "pin", "end"}).out, HasSubstr("pinned end ("));
  EXPECT_THAT(Puzzle({"cache", "gc", "--max-size", "0", "--yes"}).out,
              HasSubstr("removed 7 results"));
  EXPECT_THAT(Puzzle({"run", "g.json"}).out, HasSubstr("8 steps: 1 cached"));
  EXPECT_EQ(Puzzle({"cache", "verify"}).status, 0);
  fs::resize_file(store() + "/" + list[1]["key"].get<std::string>().substr(0, 2) + "/" +
                      list[1]["key"].get<std::string>() + ".h5",
                  100);
  EXPECT_EQ(Puzzle({"cache", "verify"}).status, 1);
  EXPECT_EQ(Puzzle({"cache", "verify", "--repair"}).status, 0);
  EXPECT_THAT(Puzzle({"run", "g.json"}).out, HasSubstr("8 steps: 7 cached"));
  EXPECT_EQ(Puzzle({"cache", "gc", "--max-size", "many"}).status, 2);
  EXPECT_EQ(Puzzle({"cache"}).status, 2);
  EXPECT_EQ(Puzzle({"cache", "pin", "nothing"}).status, 1);
}

TEST_F(CacheVerbTest, ASharedStoreGivesItsResultsAndIsNotTouched) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json", "--store", "theirs"}).status, 0);
  const Result mine = Puzzle(
      {"run", "g.json", "--store", "mine", "--shared-store", "theirs", "--set", "t[i=1].value=w"});
  EXPECT_EQ(mine.status, 0) << mine.err;
  EXPECT_THAT(mine.out, HasSubstr("8 steps: 5 cached"));
  EXPECT_EQ(Puzzle({"run", "g.json", "--shared-store", "nowhere"}).status, 2);
}

}  // namespace
}  // namespace puzzle::testing
