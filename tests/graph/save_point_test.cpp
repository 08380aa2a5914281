// Steps that are stopped on their way and go on from there.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include "graph/store/inventory.h"
#include "graph/store/save_points.h"
#include "graph/store/store.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"
#include "tests/io/no_more_files.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;

class SavePointTest : public GraphTest {
 protected:
  SavePointTest() {
    options_.save_point_s = 0;
    Load(R"({"puzzle": 1, "nodes": {"up": {"kind": "climb", "params": {"to": 10}}}})");
  }

  // Lets the climb fail in one of its rounds.
  void FailAt(const std::string& round) {
    playground_.on_start = [round](const std::string& what) {
      if (what == "climb " + round) throw Error("slipped");
    };
    Plan();
    Run();
    playground_.on_start = {};
    EXPECT_EQ(failed(), std::set<std::string>{"up"});
  }
  void Climb() {
    Plan();
    Run();
    EXPECT_EQ(ran(), std::set<std::string>{"up"});
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> paths;
    if (!fs::exists(folder() + "/store/savepoints")) return paths;
    for (const auto& file : fs::directory_iterator(folder() + "/store/savepoints"))
      paths.push_back(file.path().string());
    return paths;
  }
};

TEST_F(SavePointTest, AStepGoesOnWhereItWasStopped) {
  FailAt("7");
  EXPECT_EQ(Files().size(), 1) << "only the last one is kept";
  FailAt("9");
  Climb();
  EXPECT_EQ(TextOf("up"), "from 8");
  EXPECT_TRUE(Files().empty()) << "the result takes its place";
}

TEST_F(SavePointTest, TheRecordSaysWhatAllAttemptsTook) {
  playground_.on_start = [](const std::string& what) {
    if (what == "climb 2") std::this_thread::sleep_for(std::chrono::milliseconds(80));
    if (what == "climb 7") throw Error("slipped");
  };
  Run();
  playground_.on_start = {};
  Climb();
  const StepResult& up = report().steps[Find("up")];
  EXPECT_GE(up.record.wall_s, 0.08);
  EXPECT_LT(up.wall_s, up.record.wall_s) << "what this run took";
}

TEST_F(SavePointTest, ItsProgressSaysHowFarItWasWhenItBegan) {
  FailAt("6");
  double begun = -1;
  observer_.also = [&](const RunEvent& event) {
    if (event.type == RunEvent::Type::kProgress) begun = event.begun;
  };
  playground_.on_start = [](const std::string& what) {  // progress is told ten times a second
    if (what == "climb 8") std::this_thread::sleep_for(std::chrono::milliseconds(150));
  };
  Climb();
  EXPECT_EQ(begun, 0.6) << "where its first round ended";
}

TEST_F(SavePointTest, ADamagedOneDoesNotCount) {
  FailAt("7");
  {
    std::fstream file(Files().at(0));
    std::string text{std::istreambuf_iterator<char>(file), {}};
    const std::string member = "\"at\":";
    const size_t at = text.find(member + '6');
    ASSERT_NE(at, std::string::npos);
    file.seekp(static_cast<std::streamoff>(at + member.size()));
    file << '5';
  }
  Climb();
  EXPECT_EQ(TextOf("up"), "from 0");
}

TEST_F(SavePointTest, OneThatCannotBeReadSinceTooManyFilesAreOpenIsKept) {
  FailAt("7");
  const std::string key = fs::path(Files().at(0)).stem().string();
  {
    const NoMoreFiles full;
    EXPECT_THROW((void)store_->save_points().Find(key), Error);
  }
  Climb();
  EXPECT_EQ(TextOf("up"), "from 6");
}

TEST_F(SavePointTest, AForcedStepBeginsAnewAndItsRetriesDoNot) {
  FailAt("7");
  selection_.force = {"up"};
  options_.save_point_s = 3600;
  Climb();
  EXPECT_EQ(TextOf("up"), "from 0");
  EXPECT_TRUE(Files().empty()) << "the result takes its place";
  Load(R"({"puzzle": 1, "nodes": {"up": {"kind": "climb", "params": {"to": 10}, "retries": 1}}})");
  options_.save_point_s = 0;
  bool slipped = false;
  playground_.on_start = [&](const std::string& what) {
    if (what == "climb 7" && !std::exchange(slipped, true)) throw Error("slipped");
  };
  Climb();
  EXPECT_EQ(TextOf("up"), "from 6");
}

TEST_F(SavePointTest, OtherParametersBeginAnew) {
  FailAt("7");
  Set("up.to=11");
  Climb();
  EXPECT_EQ(TextOf("up"), "from 0");
  EXPECT_EQ(Files().size(), 1) << "that of the other step is still there";
}

TEST_F(SavePointTest, OnlyThoseOfStepsThatHaveTheirResultAreLeftOver) {
  FailAt("7");
  const std::string path = Files().at(0);
  Store store(folder() + "/store", format_);
  EXPECT_TRUE(TakeInventory(store).leftovers.empty());
  fs::copy_file(path, folder() + "/copy");
  Climb();
  fs::copy_file(folder() + "/copy", path);
  Store later(folder() + "/store", format_);
  const Inventory inventory = TakeInventory(later);
  ASSERT_EQ(inventory.leftovers.size(), 1);
  EXPECT_EQ(inventory.leftovers[0].path, path);
}

TEST_F(SavePointTest, WhereNoneCanBeWrittenTheStepGoesOnWithAWarning) {
  fs::create_directories(folder() + "/store");
  std::ofstream(folder() + "/store/savepoints") << "in the way";
  Climb();
  EXPECT_EQ(TextOf("up"), "from 0");
  EXPECT_THAT(observer_.warnings, ::testing::ElementsAre(::testing::HasSubstr("up: a save point")))
      << "said once";
}

TEST_F(SavePointTest, WhereOneCouldNotBeWrittenALaterOneMay) {
  fs::create_directories(folder() + "/store");
  std::ofstream(folder() + "/store/savepoints") << "in the way";
  playground_.on_start = [&](const std::string& what) {
    if (what == "climb 5") fs::remove(folder() + "/store/savepoints");
    if (what == "climb 7") throw Error("slipped");
  };
  Plan();
  Run();
  playground_.on_start = {};
  EXPECT_EQ(failed(), std::set<std::string>{"up"});
  Climb();
  EXPECT_EQ(TextOf("up"), "from 6");
}

}  // namespace
}  // namespace puzzle::testing
