// A shared store is data, not friends: what stands in it may lie, lead elsewhere, or never end.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "graph/store/collect.h"
#include "graph/store/inventory.h"
#include "graph/store/leftovers.h"
#include "graph/store/line_file.h"
#include "graph/view/run_log.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kHostileGraph = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "one"}},
  "b": {"kind": "upper", "in": {"in": "a"}}}})";

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteAll(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

class HostileStoreTest : public GraphTest {
 protected:
  void SetUp() override {
    Load(kHostileGraph);
    Run();
    ASSERT_EQ(ran(), (std::set<std::string>{"a", "b"}));
    key_ = KeyOfStep("a");
    store_.reset();
    fs::create_directory(home_);
    WriteAll(home_ + "/profile", "# mine\n");
  }
  /// The store as a new process sees it.
  Store& Fresh() {
    ReopenStore();
    return *store_;
  }
  std::string Shard(const std::string& key) const { return store_path_ + '/' + key.substr(0, 2); }
  std::string RecordFile() const { return Shard(key_) + '/' + key_ + ".json"; }
  /// Gives the record of "a" another value of a member, with a checksum that fits, and no index.
  void Forge(const std::string& member, const json& value) {
    ForgeAs([&](json& record) { record[member] = value; });
  }
  void ForgeAs(const std::function<void(json&)>& change) {
    std::string text = Contents(RecordFile());
    json record = json::parse(text);
    record.erase("sum");
    change(record);
    text = record.dump();
    text.pop_back();
    WriteAll(RecordFile(), text + ",\"sum\":\"" + Checksum(text) + "\"}\n");
    fs::remove(store_path_ + "/index");
  }

  std::string store_path_ = folder() + "/store";
  std::string home_ = folder() + "/home";
  std::string key_;
};

TEST_F(HostileStoreTest, ARecordAsItIsCounts) {
  Forge("tool", "another program");
  EXPECT_EQ(Fresh().Find(key_).presence, Presence::kWhole);
}

TEST_F(HostileStoreTest, ARecordThatLacksWhatEveryRecordHasDoesNotCount) {
  const std::string honest = Contents(RecordFile());
  for (const char* member :
       {"key", "digest", "step", "kind", "type", "bytes", "mtime_ns", "wall_s", "recipe"}) {
    WriteAll(RecordFile(), honest);
    ForgeAs([&](json& record) { EXPECT_EQ(record.erase(member), 1u) << member; });
    Store& store = Fresh();
    EXPECT_EQ(store.FindRecord(key_), std::nullopt) << member;
    EXPECT_THAT(store.TakeComplaints(), ElementsAre(HasSubstr(key_ + ".json: is no record")))
        << member;
  }
}

TEST_F(HostileStoreTest, ARecordThatBreaksARuleDoesNotCountAndIsToldOnce) {
  const std::vector<std::pair<std::string, json>> lies = {
      {"digest", "x y"},
      {"digest", ""},
      {"digest", "../../x"},
      {"digest", std::string(63, 'a')},
      {"digest", std::string(64, 'A')},
      {"key", key_ + "/../../victim"},
      {"step", "two\nlines"},
      {"step", "a\ttab"},
      {"step", ""},
      {"type", "\x1b[31m"},
      {"bytes", -1},
      {"bytes", "12"},
      {"mtime_ns", 0.5},
      {"wall_s", -1},
      {"wall_s", "long"},
      {"finished", 7},
      {"warnings", json::array({1})},
      {"recipe", "none"},
      {"recipe", json{{"inputs", {{"in", json::array({7})}}}}},
      {"parents", json{{"in", json::array({"../x"})}}},
      {"output_files", json{{"../../home/profile", 7}}},
      {"output_files", json{{"/etc/passwd", 7}}},
      {"accepted", "yes"},
      {"display", json::array()},
      {"environment", json{{"libtorch", 1}}},
      {"scalars", json::parse(std::string(300, '[') + std::string(300, ']'))},
  };
  const std::string honest = Contents(RecordFile());
  for (const auto& [member, value] : lies) {
    WriteAll(RecordFile(), honest);
    Forge(member, value);
    Store& store = Fresh();
    EXPECT_EQ(store.Find(key_).presence, Presence::kAbsent) << member << ' ' << value;
    EXPECT_EQ(store.FindRecord(key_), std::nullopt) << member;
    EXPECT_THAT(store.TakeComplaints(), ElementsAre(HasSubstr(key_ + ".json: is no record")))
        << member << ' ' << value;
    EXPECT_THAT(store.TakeComplaints(), IsEmpty());
  }
}

TEST_F(HostileStoreTest, AKeyThatIsMoreThanAKeyLeadsNowhere) {
  WriteAll(home_ + "/data.h5", "precious");
  WriteAll(home_ + "/data.json", "{}");
  const std::string key = key_ + "/../../../home/data";
  const std::string digest(64, 'd');
  const std::string line = key + ' ' + digest + " 8 1 0.1 0 text\tstep\t{}";
  WriteAll(store_path_ + "/index", Checksum(line) + ' ' + line + '\n');
  Store& store = Fresh();
  const Lookup found = store.Find(key_);
  EXPECT_EQ(found.presence, Presence::kWhole) << "the record knows better";
  EXPECT_EQ(found.record.key, key_);
  const Inventory inventory = TakeInventory(store);
  EXPECT_THAT(VerifyStore(store, inventory, {}), IsEmpty());
  EXPECT_TRUE(fs::exists(home_ + "/data.h5"));
}

TEST_F(HostileStoreTest, LinksInPlaceOfItsFilesAreNotWrittenThrough) {
  for (const char* name : {"index", "last", "files", "shared"}) {
    fs::remove(store_path_ + '/' + name);
    fs::create_symlink(home_ + "/profile", store_path_ + '/' + name);
  }
  ReopenStore();
  Set("a.value=two");
  Run();
  EXPECT_EQ(ran(), (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(Contents(home_ + "/profile"), "# mine\n");
}

TEST_F(HostileStoreTest, ALinkInPlaceOfTheLocksOrAFolderIsRefusedByName) {
  for (const char* name : {"locks", "tmp", "runs", "pins", "savepoints"}) {
    fs::remove_all(store_path_ + '/' + name);
    const std::string target = home_ + (std::string(name) == "locks" ? "/profile" : "");
    fs::create_symlink(target, store_path_ + '/' + name);
    Store& store = Fresh();
    std::string message;
    try {
      if (std::string(name) == "runs") {
        RunLog log;
        SaveRunLog(store_path_, log);
      } else if (std::string(name) == "pins") {
        StoredResult result;
        result.record.key = key_;
        result.record.step = "a";
        Pin(store, result);
      } else if (std::string(name) == "savepoints") {
        MakeStoreFolder(store_path_ + "/savepoints");
      } else {
        static_cast<void>(store.TemporaryPath());
      }
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_THAT(message, HasSubstr(std::string(name) + "\" is a link")) << name;
    fs::remove(store_path_ + '/' + name);
  }
  EXPECT_EQ(Contents(home_ + "/profile"), "# mine\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(home_), fs::directory_iterator()), 1);
}

TEST_F(HostileStoreTest, AFolderOfResultsThatIsALinkHoldsNone) {
  const std::string elsewhere = home_ + "/shard";
  fs::rename(Shard(key_), elsewhere);
  fs::create_symlink(elsewhere, Shard(key_));
  Store& store = Fresh();
  EXPECT_EQ(store.Find(key_).presence, Presence::kAbsent);
  fs::remove(store_path_ + "/index");
  EXPECT_EQ(Fresh().FindRecord(key_), std::nullopt);
  // Neither does gc look for something to remove there.
  const Inventory inventory = TakeInventory(*store_);
  for (const StoredResult& result : inventory.results) EXPECT_NE(result.record.key, key_);
}

TEST_F(HostileStoreTest, AnArtifactThatIsALinkDoesNotCount) {
  const std::string path = Shard(key_) + '/' + key_ + ".h5";
  fs::rename(path, home_ + "/artifact");
  fs::create_symlink(home_ + "/artifact", path);
  EXPECT_EQ(Fresh().Find(key_).presence, Presence::kMissing);
}

TEST_F(HostileStoreTest, PipesInPlaceOfFilesDoNotHang) {
  for (const std::string& path : {store_path_ + "/index", store_path_ + "/last", RecordFile()}) {
    fs::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  }
  EXPECT_EQ(Fresh().Find(key_).presence, Presence::kAbsent);
  EXPECT_THAT(store_->TakeComplaints(), ElementsAre(HasSubstr("is no record")));
  EXPECT_EQ(store_->LastKey("a"), std::nullopt);
  EXPECT_EQ(LineFile::LastLine(store_path_ + "/last"), "");
}

TEST_F(HostileStoreTest, NamesOfFilesBeingWrittenCannotBeKnownBefore) {
  // What the name was once made of: host, process, number.
  Store& store = Fresh();
  const std::string path = store.TemporaryPath();
  EXPECT_THAT(path, HasSubstr('.' + ProcessToken() + '.'));
  EXPECT_EQ(ProcessToken().size(), 16u);
  fs::create_symlink(home_ + "/nothing", path);  // who knows it all the same
  EXPECT_THROW(static_cast<void>(CreateNewFile(path)), Error);
  EXPECT_FALSE(fs::exists(home_ + "/nothing"));
}

TEST_F(HostileStoreTest, LeftoversOfAProcessWithALivingOnesNumberGoWhenTheyAreOld) {
  Store& store = Fresh();
  store.AnnounceRun();
  const std::string prefix =
      store_path_ + "/tmp/" + HostName() + '.' + std::to_string(::getpid()) + '.';
  const std::string dead = prefix + "0123456789abcdef.1";
  const std::string young = prefix + "0123456789abcdef.2";
  const std::string own = prefix + ProcessToken() + ".7";
  const std::string elsewhere = store_path_ + "/tmp/otherhost.17.0123456789abcdef.1";
  const std::string long_ago = store_path_ + "/tmp/otherhost.17.0123456789abcdef.2";
  for (const std::string& path : {dead, young, own, elsewhere, long_ago}) WriteAll(path, "x");
  const auto age = [](const std::string& path, int hours) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  age(dead, 3);
  age(own, 3);
  age(elsewhere, 3);
  age(long_ago, 30);
  EXPECT_THAT(FindLeftovers(store_path_ + "/tmp", store.locks()),
              ::testing::UnorderedElementsAre(dead, long_ago));
}

TEST_F(HostileStoreTest, WorkInProgressIsNoDamage) {
  const std::string record = RecordFile();
  const std::string text = Contents(record);
  fs::remove(record);  // as if a run had put the artifact there and not yet its record
  Store runner(store_path_, format_);
  runner.AnnounceRun();
  auto claim = runner.locks().TryClaim(key_).claim;
  ASSERT_NE(claim, nullptr);
  Store& store = Fresh();
  Inventory inventory = TakeInventory(store);
  EXPECT_THAT(VerifyStore(store, inventory, {}), IsEmpty());
  claim.reset();
  ASSERT_THAT(VerifyStore(store, inventory, {}), ::testing::SizeIs(1)) << "now nobody is at work";
  const auto damage = VerifyStore(store, inventory, {});
  WriteAll(record, text);  // finished between the look and the repair
  EXPECT_EQ(RemoveDamaged(store, damage), 0u);
  EXPECT_TRUE(fs::exists(record));
  EXPECT_THAT(VerifyStore(store, inventory, {}), IsEmpty());
}

TEST_F(HostileStoreTest, ADamagedRecordThatWasWrittenAgainMeanwhileStays) {
  const std::string record = RecordFile();
  const std::string text = Contents(record);
  WriteAll(record, "{}");
  fs::remove(store_path_ + "/index");
  Store& store = Fresh();
  const Inventory inventory = TakeInventory(store);
  const CollectPlan plan = PlanCollection(store, inventory, {}, 0);
  ASSERT_EQ(plan.leftovers.size(), 2u) << "the record and its artifact";
  WriteAll(record, text);  // a run made the result again
  EXPECT_EQ(Collect(store, plan).leftovers, 0u);
  EXPECT_EQ(Fresh().Find(key_).presence, Presence::kWhole);
  WriteAll(record, "{}");
  EXPECT_EQ(Collect(store, plan).leftovers, 1u) << "now it is what it was";
  EXPECT_FALSE(fs::exists(record));
}

TEST_F(HostileStoreTest, AnIndexThatShrinksUnderARunIsNoCrash) {
  Store& store = Fresh();
  store.ReadIndex();
  fs::resize_file(store_path_ + "/index", 0);
  EXPECT_EQ(store.Find(key_).presence, Presence::kWhole);
  EXPECT_EQ(Fresh().Find(key_).presence, Presence::kWhole);
}

}  // namespace
}  // namespace puzzle::testing
