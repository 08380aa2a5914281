// Files that are written while the caller goes on.
#include "io/write_behind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>

#include "io/error.h"
#include "tests/io/file_size_limit.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string RandomBytes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

/// Puts `bytes` where the file has room for them.
void FillRoom(WriteBehind& out, const std::string& bytes) {
  unsigned char* const room = out.Room(bytes.size());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(room) % alignof(double), 0U);
  std::copy(bytes.begin(), bytes.end(), room);
  out.Took(bytes.size());
}

class WriteBehindTest : public testing::Test {
 protected:
  [[nodiscard]] bool NothingIsThere() const { return fs::is_empty(folder_.path()); }

  const TempFolder folder_;
  const std::string path_ = folder_ / "file";
};

TEST_F(WriteBehindTest, PiecesOfAnySizeFollowEachOther) {
  std::mt19937 random(7);
  std::string expected;
  AtomicFile file(path_);
  WriteBehind out(file);
  for (uint32_t i = 0; i < 300; ++i) {
    // Mostly small ones, and some that are larger than what is gathered.
    const std::string bytes = RandomBytes(random() % (i % 50 == 0 ? 3'000'000 : 40'000), i);
    expected += bytes;
    if (i % 3 == 0) {
      out.Append(bytes.data(), bytes.size());
    } else {
      FillRoom(out, bytes);
    }
  }
  out.Finish();
  file.Commit();
  EXPECT_TRUE(ReadBytes(path_) == expected);
}

TEST_F(WriteBehindTest, AFewBytesAndNoneAreAFileAsWell) {
  for (const std::string& bytes : {std::string(), std::string("few")}) {
    AtomicFile file(path_);
    WriteBehind out(file);
    out.Append(bytes.data(), bytes.size());
    out.Finish();
    file.Commit();
    EXPECT_EQ(ReadBytes(path_), bytes);
  }
}

TEST_F(WriteBehindTest, WhatIsFilledLessThanThereWasRoomForEndsThere) {
  AtomicFile file(path_);
  WriteBehind out(file);
  std::fill_n(out.Room(1000), 1000, 'x');
  out.Took(16);
  FillRoom(out, "end");
  out.Finish();
  file.Commit();
  EXPECT_EQ(ReadBytes(path_), std::string(16, 'x') + "end");
}

TEST_F(WriteBehindTest, AppendingGoesOnBehindFinish) {
  const std::string bytes = RandomBytes(2'000'000, 1);
  AtomicFile file(path_);
  WriteBehind out(file);
  FillRoom(out, bytes);
  out.Finish();
  FillRoom(out, bytes);
  out.Finish();
  file.Commit();
  EXPECT_TRUE(ReadBytes(path_) == bytes + bytes);
}

TEST_F(WriteBehindTest, AFullDiskIsToldToWhoeverFillsTheFile) {
  const std::string bytes = RandomBytes(100'000, 1);
  {
    const FileSizeLimit limit(3'000'000);
    AtomicFile file(path_);
    WriteBehind out(file);
    const auto fill = [&] {
      for (int i = 0; i < 200; ++i) FillRoom(out, bytes);
    };
    EXPECT_THAT(ErrorOf(fill), HasSubstr("cannot write"));
    EXPECT_THAT(ErrorOf([&] { out.Finish(); }), HasSubstr("cannot write")) << "and again";
  }
  EXPECT_TRUE(NothingIsThere());
}

TEST_F(WriteBehindTest, AFullDiskIsToldAtTheEndWhereNothingFollows) {
  {
    const FileSizeLimit limit(1'000'000);
    AtomicFile file(path_);
    WriteBehind out(file);
    FillRoom(out, RandomBytes(1'500'000, 1));
    EXPECT_THAT(ErrorOf([&] { out.Finish(); }), HasSubstr("cannot write"));
  }
  EXPECT_TRUE(NothingIsThere());
}

TEST_F(WriteBehindTest, WhatIsGivenUpHalfWayLeavesNothing) {
  {
    AtomicFile file(path_);
    WriteBehind out(file);
    for (uint32_t i = 0; i < 20; ++i) FillRoom(out, RandomBytes(1'000'000, i));
  }
  EXPECT_TRUE(NothingIsThere());
}

}  // namespace
}  // namespace puzzle
