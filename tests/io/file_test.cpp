#include "io/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "tests/io/no_more_files.h"
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

TEST(FileTest, AsManyFilesMayBeOpenAsTheSystemAllows) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few = {std::min<rlim_t>(100, before.rlim_max), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  rlimit now{};
  for (int i = 0; i < 2; ++i) {
    AllowManyOpenFiles();
    getrlimit(RLIMIT_NOFILE, &now);
    EXPECT_EQ(now.rlim_cur, std::min<rlim_t>(65'536, before.rlim_max));
    EXPECT_EQ(now.rlim_max, before.rlim_max);
  }
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST(FileTest, AProcessKnowsThatItCanOpenNoMoreFiles) {
  EXPECT_FALSE(IsShortOfFiles());
  {
    const NoMoreFiles full;
    EXPECT_TRUE(IsShortOfFiles());
  }
  EXPECT_FALSE(IsShortOfFiles());
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

TEST(FileTest, WhatIsNoFileIsRefusedByItsKindAtOnce) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(ErrorOf([&] { InputFile file(folder / "pipe"); }),
              AllOf(HasSubstr(folder / "pipe"), HasSubstr("is a pipe, not a regular file")));
  EXPECT_THAT(ErrorOf([] { InputFile file("/dev/zero"); }), HasSubstr("is a device"));
  EXPECT_THAT(ErrorOf([&] { InputFile file(folder.path()); }), HasSubstr("is a folder"));
  EXPECT_EQ(ReadPlainFile(folder / "pipe", 100), std::nullopt);
}

TEST(FileTest, AFileThatSaysItIsEmptyAndIsNotIsNotBelieved) {
  if (!std::filesystem::exists("/proc/self/status")) GTEST_SKIP() << "no /proc";
  EXPECT_THAT(ErrorOf([] { InputFile file("/proc/self/status"); }),
              HasSubstr("says that it is empty and is not"));
  EXPECT_THAT(ReadWholeStream("/proc/self/status", 1 << 20), HasSubstr("Name:"));
}

TEST(FileTest, StreamsAreReadToTheirEnd) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(folder / "pipe") << "through a pipe"; });
  EXPECT_EQ(ReadWholeStream(folder / "pipe", 100), "through a pipe");
  writer.join();
  WriteBytes(folder / "file", "0123456789");
  EXPECT_EQ(ReadWholeStream(folder / "file", 10), "0123456789");
  EXPECT_THAT(ErrorOf([&] { (void)ReadWholeStream(folder.path(), 10); }), HasSubstr("is a folder"));
  std::thread longer([&] { std::ofstream(folder / "pipe") << std::string(1000, 'x'); });
  EXPECT_THAT(ErrorOf([&] { (void)ReadWholeStream(folder / "pipe", 100); }),
              HasSubstr("more than the 100 bytes"));
  longer.join();
}

TEST(FileTest, OwnFilesAreNotFoundThroughLinks) {
  const TempFolder folder;
  WriteBytes(folder / "file", "mine");
  std::filesystem::create_symlink(folder / "file", folder / "link");
  std::filesystem::create_symlink(folder / "nothing", folder / "dangling");
  EXPECT_EQ(ReadPlainFile(folder / "file", 100), "mine");
  EXPECT_EQ(ReadPlainFile(folder / "file", 3), std::nullopt);
  EXPECT_EQ(ReadPlainFile(folder / "link", 100), std::nullopt);
  EXPECT_LT(OpenPlainFile(folder / "link", O_WRONLY | O_TRUNC).get(), 0);
  EXPECT_THAT(ErrorOf([&] { (void)CreateNewFile(folder / "dangling"); }), HasSubstr("File exists"));
  EXPECT_THAT(ErrorOf([&] { (void)CreateNewFile(folder / "file"); }), HasSubstr("File exists"));
  EXPECT_EQ(ReadBytes(folder / "file"), "mine");
}

TEST(FileTest, NamesByChanceDiffer) {
  std::set<std::string> names;
  for (int i = 0; i < 100; ++i) names.insert(RandomName());
  EXPECT_EQ(names.size(), 100u);
  EXPECT_EQ(names.begin()->size(), 16u);
}

TEST(FileTest, OutputThroughALinkKeepsTheLink) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "elsewhere");
  WriteBytes(folder / "elsewhere/file", "old");
  std::filesystem::create_symlink("elsewhere/file", folder / "link");
  std::filesystem::create_symlink("elsewhere/new", folder / "to_nothing");
  WriteWholeFile(folder / "link", "new");
  WriteWholeFile(folder / "to_nothing", "made");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(ReadBytes(folder / "elsewhere/file"), "new");
  EXPECT_EQ(ReadBytes(folder / "elsewhere/new"), "made");
}

TEST(FileTest, OutputToAnOpenDescriptorGoesOnWhereItStands) {
  const TempFolder folder;
  OutputFile file(folder / "file");
  const Descriptor fd = OpenPlainFile(folder / "file", O_WRONLY);
  ASSERT_EQ(write(fd.get(), "first ", 6), 6);
  std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(fd.get()), folder / "stdout");
  WriteWholeFile(folder / "stdout", "second");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "stdout"));
  EXPECT_EQ(ReadBytes(folder / "file"), "first second");
  EXPECT_EQ(OpenDescriptorOf("/dev/fd/" + std::to_string(fd.get())), fd.get());
  EXPECT_EQ(OpenDescriptorOf(folder / "file"), std::nullopt);
}

TEST(FileTest, APathIsTriedWithoutTouchingWhatIsThere) {
  const TempFolder folder;
  WriteBytes(folder / "file", "old");
  CheckWritable(folder / "file");
  CheckWritable(folder / "new");
  CheckWritable("/dev/null");
  EXPECT_EQ(ReadBytes(folder / "file"), "old");
  EXPECT_EQ(folder.CountFiles(), 1u);
  EXPECT_THAT(ErrorOf([&] { CheckWritable(folder / "none/file"); }), HasSubstr("No such file"));
  EXPECT_THAT(ErrorOf([&] { CheckWritable(folder.path()); }), HasSubstr("Is a directory"));
}

TEST(FileTest, PlainFileNamesStayInTheirFolder) {
  for (const char* name : {"tokenizer.json", "a b.txt", "x"}) EXPECT_TRUE(IsPlainFileName(name));
  for (const char* name :
       {"", ".", "..", ".bashrc", "/etc/passwd", "a/b", "../x", "a\nb", "\x1b"}) {
    EXPECT_FALSE(IsPlainFileName(name)) << name;
  }
  EXPECT_FALSE(IsPlainFileName(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace puzzle
