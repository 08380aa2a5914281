#include "io/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(FileTest, ReadsRanges) {
  const TempFolder folder;
  WriteBytes(folder / "file", "0123456789");
  const InputFile file(folder / "file");
  EXPECT_EQ(file.size(), 10u);
  std::string middle(4, '\0');
  file.ReadAt(3, middle.data(), middle.size());
  EXPECT_EQ(middle, "3456");
}

TEST(FileTest, ReadingBehindTheEndIsAnErrorWithTheName) {
  const TempFolder folder;
  WriteBytes(folder / "file", "0123456789");
  const InputFile file(folder / "file");
  char buffer[8];
  EXPECT_THAT(ErrorOf([&] { file.ReadAt(5, buffer, 8); }),
              AllOf(HasSubstr(folder / "file"), HasSubstr("ends at byte 10")));
}

TEST(FileTest, FoldersAndMissingFilesAreErrors) {
  const TempFolder folder;
  EXPECT_THAT(ErrorOf([&] { InputFile file(folder.path()); }), HasSubstr("not a regular file"));
  EXPECT_THAT(ErrorOf([&] { InputFile file(folder / "none"); }), HasSubstr("No such file"));
  EXPECT_THAT(ErrorOf([&] { OutputFile file(folder / "none/file"); }), HasSubstr("cannot create"));
}

TEST(FileTest, WholeFilesHaveALimit) {
  const TempFolder folder;
  WriteBytes(folder / "file", "0123456789");
  EXPECT_EQ(ReadWholeFile(folder / "file", 10), "0123456789");
  EXPECT_THAT(ErrorOf([&] { (void)ReadWholeFile(folder / "file", 9); }), HasSubstr("at most 9"));
}

TEST(FileTest, AtomicFileReplacesOnCommitOnly) {
  const TempFolder folder;
  WriteBytes(folder / "file", "old");
  {
    AtomicFile file(folder / "file");
    file.Append("new", 3);
    file.Append("er", 2);
    EXPECT_EQ(ReadBytes(folder / "file"), "old");
    file.Commit();
  }
  EXPECT_EQ(ReadBytes(folder / "file"), "newer");
  EXPECT_EQ(folder.CountFiles(), 1u);
}

TEST(FileTest, AbandonedAtomicFileLeavesNothing) {
  const TempFolder folder;
  { AtomicFile(folder / "file").Append("new", 3); }
  EXPECT_EQ(folder.CountFiles(), 0u);
}

}  // namespace
}  // namespace puzzle
