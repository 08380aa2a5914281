// A run with nothing to do answers from a seal, and from none that does not hold. Seen from
// outside: a seal is forged to say something that no plan would, and counts as long as nothing
// changed.
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "io/file.h"
#include "io/fingerprint.h"
#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kReading = R"({"puzzle": 1, "nodes": {
  "read": {"kind": "file", "params": {"path": "input.txt"}},
  "out": {"kind": "export", "in": {"in": "read"}, "params": {"path": "out"}},
  "end": {"kind": "text", "params": {"display": "the table"}}}})";

class SealedTest : public CliTest {
 protected:
  void SetUp() override {
    Write("input.txt", "one");
    Write("graph.json", kReading);
    ASSERT_EQ(Puzzle(Run()).status, 0);
    // What is younger than the grain of time stamps may change unseen, and is not sealed.
    std::this_thread::sleep_for(std::chrono::milliseconds(80));
    ASSERT_THAT(Puzzle(Run()).out, HasSubstr("the table"));
  }
  static std::vector<std::string> Run() { return {"run", "graph.json"}; }
  std::vector<fs::path> Seals() const {
    std::vector<fs::path> seals;
    for (const auto& entry : fs::directory_iterator(store() + "/seals")) {
      seals.push_back(entry.path());
    }
    return seals;
  }
  void Forge() const {
    ASSERT_EQ(Seals().size(), 1u);
    const std::string path = Seals().front().string();
    const std::string text = ReadWholeFile(path, 1 << 20);
    const size_t end = text.find('\n');
    json head = json::parse(text.substr(0, end));
    head["display"] = "from the seal\n";
    const std::string forged = head.dump() + text.substr(end, text.size() - end - 64);
    WriteWholeFile(path, forged + FingerprintText(forged));
  }
  /// Runs again and says whether the seal was believed; the answer is right in any case.
  bool IsBelieved(const std::vector<std::string>& command = Run()) const {
    const Result result = Puzzle(command);
    EXPECT_EQ(result.status, 0) << result.text();
    EXPECT_THAT(result.out, HasSubstr("3 steps: "));
    return result.out.find("from the seal") != std::string::npos;
  }
};

TEST_F(SealedTest, AnswersWhatThePlanWouldHave) {
  const Result planned = Puzzle({"run", "graph.json", "--summary", "summary.json"});
  const Result sealed = Puzzle(Run());
  const auto without_time = [](const std::string& text) { return text.substr(0, text.rfind(';')); };
  EXPECT_EQ(without_time(sealed.out), without_time(planned.out));
  Forge();
  EXPECT_TRUE(IsBelieved());
  EXPECT_TRUE(IsBelieved());
}

TEST_F(SealedTest, AChangedGraphOrSettingIsPlanned) {
  Forge();
  EXPECT_FALSE(IsBelieved({"run", "graph.json", "--set", "end.display=\"other\""}));
  EXPECT_FALSE(
      IsBelieved({"run", "graph.json", "--only", "read", "--only", "out", "--only", "end"}));
  std::string graph = kReading;
  graph.replace(graph.find("the table"), 9, "no table!");  // as long as before
  Write("graph.json", graph);
  const Result result = Puzzle(Run());
  EXPECT_THAT(result.out, HasSubstr("no table!"));
}

TEST_F(SealedTest, AChangedInputIsSeenWhateverItsTime) {
  Forge();
  const auto time = fs::last_write_time(path() + "/input.txt");
  Write("input.txt", "two");  // as long as before
  fs::last_write_time(path() + "/input.txt", time);
  EXPECT_FALSE(IsBelieved());
  EXPECT_EQ(Read("out/out.txt"), "two");
}

TEST_F(SealedTest, WhatIsGoneIsMadeAgain) {
  Forge();
  fs::remove(path() + "/out/out.txt");
  EXPECT_FALSE(IsBelieved());
  EXPECT_EQ(Read("out/out.txt"), "one");
  for (const auto& entry : fs::recursive_directory_iterator(store())) {
    if (entry.path().extension() == ".h5") {
      fs::remove(entry.path());
      break;
    }
  }
  EXPECT_FALSE(IsBelieved());
}

TEST_F(SealedTest, ADamagedArtifactIsMadeAgain) {
  Forge();
  for (const auto& entry : fs::recursive_directory_iterator(store())) {
    if (entry.path().extension() == ".h5") {
      fs::resize_file(entry.path(), 100);
      break;
    }
  }
  EXPECT_FALSE(IsBelieved());
  EXPECT_THAT(Puzzle({"cache", "verify"}).text(), Not(HasSubstr("damaged artifact")));
}

TEST_F(SealedTest, WhatAnotherGraphRememberedIsPutRight) {
  Forge();
  std::string graph = kReading;
  graph.replace(graph.find("the table"), 9, "something");
  Write("other.json", graph);
  EXPECT_EQ(Puzzle({"run", "other.json"}).status, 0);
  EXPECT_FALSE(IsBelieved());
}

TEST_F(SealedTest, ADamagedSealIsNone) {
  const std::string seal = Seals().front().string();
  const std::string text = ReadWholeFile(seal, 1 << 20);
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{64}, text.size() / 2, text.size() - 1}) {
    WriteWholeFile(seal, text.substr(0, bytes));
    EXPECT_FALSE(IsBelieved()) << bytes;
  }
  std::string forged = "{\"artifacts\": 99999999999}\n";
  WriteWholeFile(seal, forged + FingerprintText(forged));
  EXPECT_FALSE(IsBelieved());
}

TEST_F(SealedTest, LinksAreNotFollowed) {
  Forge();
  const std::string seals = store() + "/seals", elsewhere = path() + "/elsewhere";
  fs::rename(seals, elsewhere);
  fs::create_directory_symlink(elsewhere, seals);
  EXPECT_FALSE(IsBelieved());
  fs::remove(seals);
  fs::rename(elsewhere, seals);
  EXPECT_TRUE(IsBelieved());
  for (const auto& entry : fs::directory_iterator(store())) {
    if (!entry.is_directory() || entry.path().filename().string().size() != 2) continue;
    fs::rename(entry.path(), elsewhere);
    fs::create_directory_symlink(elsewhere, entry.path());
    break;
  }
  const Result result = Puzzle(Run());
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.text(), HasSubstr("nothing in a store is followed out of it"));
}

TEST_F(SealedTest, WhoWantsFilesGetsThem) {
  Forge();
  EXPECT_FALSE(IsBelieved({"run", "graph.json", "--summary", "summary.json"}));
  EXPECT_EQ(Summary()["steps"]["cached"], 3);
}

TEST_F(SealedTest, AStoreThatCannotBeWrittenHasNone) {
  fs::remove_all(store() + "/seals");
  WriteWholeFile(store() + "/seals", "not a folder");
  EXPECT_FALSE(IsBelieved());
  EXPECT_EQ(Read("store/seals"), "not a folder");
}

}  // namespace
}  // namespace puzzle::testing
