#include "io/staged_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>

#include "tests/io/test_files.h"

namespace {
std::atomic<int> syncs{0};
std::atomic<bool> disk_fails{false};
}  // namespace

// Takes the place of the C library's for this program: whether data reached the disk before a name
// did can be seen in no other way.
extern "C" int fsync(int fd) {
  ++syncs;
  if (disk_fails) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace puzzle {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

bool Nothing(const std::string&) {
  return false;
}

class StagedFolderTest : public testing::Test {
 protected:
  TempFolder folder_;
  std::string target_ = folder_ / "a/b";
};

TEST_F(StagedFolderTest, AFolderAppearsWithAllItsFiles) {
  StagedFolder staged(target_ + "/");
  WriteBytes(staged.path() + "/x", "1");
  EXPECT_FALSE(fs::exists(target_));
  staged.Commit(Nothing, "");
  EXPECT_EQ(ReadBytes(target_ + "/x"), "1");
  EXPECT_FALSE(fs::exists(staged.path()));
}

TEST_F(StagedFolderTest, AFolderIsForThoseForWhomNewFoldersAre) {
  struct Mask {
    const mode_t before = ::umask(0077);
    ~Mask() { ::umask(before); }
  } private_folders;
  StagedFolder staged(target_);
  staged.Commit(Nothing, "");
  EXPECT_EQ(fs::status(target_).permissions(), fs::perms(0700));
}

TEST_F(StagedFolderTest, WithoutCommitThereIsNothing) {
  {
    StagedFolder staged(target_);
    WriteBytes(staged.path() + "/x", "1");
  }
  EXPECT_TRUE(fs::is_empty(folder_ / "a"));
}

TEST_F(StagedFolderTest, AnOlderFolderKeepsWhatIsNotReplacedOrObsolete) {
  fs::create_directories(target_);
  for (const char* name : {"x", "old", "mine"}) WriteBytes(target_ + "/" + name, "0");
  {
    StagedFolder staged(target_);
    WriteBytes(staged.path() + "/x", "1");
    WriteBytes(staged.path() + "/y", "1");
    EXPECT_EQ(ReadBytes(target_ + "/x"), "0");
    staged.Commit([](const std::string& name) { return name == "old"; }, "x");
  }
  EXPECT_EQ(ReadBytes(target_ + "/x") + ReadBytes(target_ + "/y") + ReadBytes(target_ + "/mine"),
            "110");
  EXPECT_FALSE(fs::exists(target_ + "/old"));
  EXPECT_EQ(std::distance(fs::directory_iterator(target_), {}), 3);
}

TEST_F(StagedFolderTest, TheLastFileIsNotThereWhenAnotherFails) {
  fs::create_directories(target_ + "/z/in the way");
  StagedFolder staged(target_);
  WriteBytes(staged.path() + "/a", "1");
  WriteBytes(staged.path() + "/z", "1");
  EXPECT_THAT(ErrorOf([&] { staged.Commit(Nothing, "a"); }), HasSubstr("b/z: cannot write"));
  EXPECT_FALSE(fs::exists(target_ + "/a"));
}

TEST_F(StagedFolderTest, FilesGetTheirPlacesWhenTheDiskHasThem) {
  for (const char* text : {"0", "1"}) {
    StagedFolder staged(target_);
    for (const char* name : {"x", "y"}) WriteBytes(staged.path() + "/" + name, text);
    syncs = 0;
    staged.Commit(Nothing, "y");
    EXPECT_EQ(syncs, 2);
  }
  StagedFolder staged(target_);
  WriteBytes(staged.path() + "/x", "2");
  disk_fails = true;
  EXPECT_THAT(
      ErrorOf([&] { staged.Commit([](const std::string& name) { return name == "y"; }, ""); }),
      HasSubstr("/x: cannot write"));
  disk_fails = false;
  EXPECT_EQ(ReadBytes(target_ + "/x") + ReadBytes(target_ + "/y"), "11");
}

TEST_F(StagedFolderTest, AFileInThePlaceOfTheFolderIsRefused) {
  WriteBytes(folder_ / "file", "1");
  EXPECT_THAT(ErrorOf([&] { StagedFolder staged(folder_ / "file"); }),
              HasSubstr("is there and is no folder"));
}

}  // namespace
}  // namespace puzzle
