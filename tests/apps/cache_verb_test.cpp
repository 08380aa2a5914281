// What the user does with stores: listing, removing, pinning, verifying, sharing.
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <string>

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

TEST_F(CacheVerbTest, ListsAndSumsSayTheSameOfEveryResult) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  ASSERT_EQ(Puzzle({"run", "g.json", "--set", "t[i=1].value=w"}).status, 0);
  ASSERT_EQ(Puzzle({"cache", "pin", "s[i=2]"}).status, 0);
  const auto list = nlohmann::json::parse(Puzzle({"cache", "ls", "--json"}).out);
  ASSERT_EQ(list.size(), 11u) << "t[i=1], s[i=1] and all are there twice";
  std::map<std::string, int> results, superseded, pinned;
  std::map<std::string, uint64_t> bytes;
  std::map<std::string, std::string> needed;
  uint64_t all_bytes = 0;
  const auto now = static_cast<int64_t>(std::time(nullptr));
  for (const auto& result : list) {
    const std::string node = result["node"], step = result["step"];
    EXPECT_EQ(node, step.substr(0, step.find('[')));
    ++results[node];
    superseded[node] += result["current"] ? 0 : 1;
    pinned[node] += result["pinned"] ? 1 : 0;
    if (result["needed_by_pin"]) needed[step] = "a pin";
    bytes[node] += result["bytes"].get<uint64_t>();
    all_bytes += result["bytes"].get<uint64_t>();
    EXPECT_EQ(result["key"].get<std::string>().size(), 64u);
    EXPECT_EQ(result["digest"].get<std::string>().size(), 64u);
    EXPECT_LE(std::abs(result["made"].get<int64_t>() - now), 600);
    EXPECT_LE(std::abs(result["used"].get<int64_t>() - now), 7200) << "to the hour";
  }
  EXPECT_EQ(results, (std::map<std::string, int>{{"all", 2}, {"end", 1}, {"s", 4}, {"t", 4}}));
  EXPECT_EQ(superseded, (std::map<std::string, int>{{"all", 1}, {"end", 0}, {"s", 1}, {"t", 1}}));
  EXPECT_EQ(pinned, (std::map<std::string, int>{{"all", 0}, {"end", 0}, {"s", 1}, {"t", 0}}));
  EXPECT_THAT(needed, ::testing::Contains(::testing::Key("t[i=2]")));
  EXPECT_EQ(needed.count("t[i=0]"), 0u);

  const auto use = nlohmann::json::parse(Puzzle({"cache", "du", "--json"}).out);
  ASSERT_EQ(use["nodes"].size(), 4u);
  for (const auto& node : use["nodes"]) {
    const std::string name = node["node"];
    EXPECT_EQ(node["results"], results[name]);
    EXPECT_EQ(node["superseded"], superseded[name]);
    EXPECT_EQ(node["pinned"], pinned[name]);
    EXPECT_EQ(node["bytes"], bytes[name]);
    EXPECT_LE(std::abs(node["used"].get<int64_t>() - now), 7200);
  }
  EXPECT_EQ(use["leftover_bytes"], 0);
  EXPECT_EQ(use["bytes"], all_bytes);

  const std::string ls = Puzzle({"cache", "ls", "t"}).out;
  EXPECT_EQ(CountOf("  superseded\n", ls), 1u) << ls;
  EXPECT_EQ(CountOf("\n", ls), 5u);
  EXPECT_EQ(CountOf("  pinned\n", Puzzle({"cache", "ls", "s"}).out), 1u);
  const std::string du = Puzzle({"cache", "du", "t"}).out;
  EXPECT_THAT(du, HasSubstr("\nt            4           1  "));
  EXPECT_THAT(du, HasSubstr(" in all\n"));
}

TEST_F(CacheVerbTest, WhatGoesIsShownBeforeItGoes) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  const std::string none = Puzzle({"cache", "gc"}).out;
  EXPECT_THAT(none, HasSubstr("would remove 0 results and 0 leftovers, 0 bytes of "));
  ASSERT_EQ(Puzzle({"cache", "pin", "s[i=2]"}).status, 0);
  const std::string preview = Puzzle({"cache", "gc", "--max-size", "0"}).out;
  EXPECT_EQ(CountOf(", used just now, ", preview), 6u) << preview;
  EXPECT_THAT(preview,
              HasSubstr("2 results kept by pins\nwould remove 6 results and 0 leftovers, "));
  EXPECT_THAT(preview, HasSubstr("what must be kept is more than 0: "));
  const std::string gone = Puzzle({"cache", "gc", "--max-size", "0", "--yes"}).out;
  EXPECT_THAT(gone, HasSubstr("removed 6 results and 0 leftovers, "));
  EXPECT_EQ(nlohmann::json::parse(Puzzle({"cache", "ls", "--json"}).out).size(), 2u);
  ASSERT_EQ(Puzzle({"cache", "unpin", "s[i=2]"}).status, 0);
  EXPECT_THAT(Puzzle({"cache", "gc", "--max-size", "0", "--yes"}).out,
              HasSubstr("removed 2 results and 0 leftovers, "));
  Write("many.json", R"({"puzzle": 1, "nodes": {
      "t": {"kind": "text", "foreach": {"i": {"range": [0, 42]}}, "params": {"value": "${i}"}}}})");
  ASSERT_EQ(Puzzle({"run", "many.json"}).status, 0);
  const std::string short_list = Puzzle({"cache", "gc", "--older", "0s"}).out;
  EXPECT_EQ(CountOf(", used just now, ", short_list), 40u);
  EXPECT_THAT(short_list, HasSubstr("\n... and 2 more (--all)\n"));
  EXPECT_EQ(CountOf(", used just now, ", Puzzle({"cache", "gc", "--older", "0s", "--all"}).out),
            42u);
}

TEST_F(CacheVerbTest, DamageIsToldByStepAndFile) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  const std::string key =
      nlohmann::json::parse(Puzzle({"cache", "ls", "t[i=1]", "--json"}).out)[0]["key"];
  const std::string file = store() + "/" + key.substr(0, 2) + "/" + key + ".h5";
  EXPECT_EQ(Puzzle({"cache", "verify"}).out, "8 results read, 0 damaged\n");
  fs::resize_file(file, 100);
  const Result found = Puzzle({"cache", "verify", "--json"});
  EXPECT_EQ(found.status, 1);
  const auto json = nlohmann::json::parse(found.out);
  EXPECT_EQ(json["results"], 8);
  EXPECT_EQ(json["removed"], 0);
  ASSERT_EQ(json["damaged"].size(), 1u);
  EXPECT_EQ(json["damaged"][0]["step"], "t[i=1]");
  EXPECT_EQ(json["damaged"][0]["key"], key);
  EXPECT_THAT(json["damaged"][0]["path"].get<std::string>(), HasSubstr(key + ".h5"));
  EXPECT_THAT(Puzzle({"cache", "verify"}).out,
              HasSubstr("8 results read, 1 damaged; --repair removes them, the next run makes them "
                        "again\n"));
  const Result repaired = Puzzle({"cache", "verify", "--repair"});
  EXPECT_EQ(repaired.status, 0);
  EXPECT_THAT(repaired.out, HasSubstr("t[i=1]: "));
  EXPECT_THAT(repaired.out, HasSubstr("8 results read, 1 damaged, 1 removed\n"));
  EXPECT_EQ(Puzzle({"cache", "verify"}).out, "7 results read, 0 damaged\n");
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
