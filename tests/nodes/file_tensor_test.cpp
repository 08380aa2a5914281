#include "nodes/states/file_tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "io/error.h"
#include "model/pch.h"
#include "tests/io/temp_folder.h"

namespace puzzle {
namespace {

class FileTensorTest : public testing::Test {
 protected:
  [[nodiscard]] std::string Path() const { return folder_ / "scratch"; }

  TempFolder folder_;
};

TEST_F(FileTensorTest, HoldsWhatIsWrittenIntoAFileWithoutAName) {
  const at::Tensor numbers = at::arange(3 * 5000, at::kFloat).view({3, 5000});
  const at::Tensor kept = FileTensor(Path(), {3, 5000}, at::kBFloat16);
  EXPECT_EQ(folder_.CountFiles(), 0U);
  EXPECT_EQ(kept.abs().max().item<float>(), 0);
  kept.copy_(numbers);
  EXPECT_TRUE(kept.equal(numbers.to(at::kBFloat16)));
}

TEST_F(FileTensorTest, MayBeEmpty) {
  EXPECT_EQ(FileTensor(Path(), {0, 5}, at::kFloat).numel(), 0);
}

TEST_F(FileTensorTest, ReadingAheadChangesNothing) {
  const at::Tensor numbers = at::arange(4 * 3001, at::kFloat).view({4, 3001});
  const at::Tensor kept = FileTensor(Path(), {4, 3001}, at::kFloat);
  kept.copy_(numbers);
  ReadAhead(kept, {3, 0, 2});
  EXPECT_TRUE(kept.equal(numbers));
  const at::Tensor in_memory = numbers.clone();
  ReadAhead(in_memory, {0, 1, 2, 3});
  EXPECT_TRUE(in_memory.equal(numbers));
}

TEST_F(FileTensorTest, ADiskWithTooLittleRoomIsNamed) {
  EXPECT_THAT([&] { (void)FileTensor(Path(), {int64_t{1} << 47}, at::kDouble); },
              testing::ThrowsMessage<Error>(testing::AllOf(
                  testing::HasSubstr("no room for 1073741825 MiB"), testing::HasSubstr(Path()))));
  EXPECT_EQ(folder_.CountFiles(), 0U);
}

TEST_F(FileTensorTest, AFolderThatIsMissingIsNamed) {
  EXPECT_THAT([&] { (void)FileTensor(folder_ / "missing/scratch", {4}, at::kByte); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("missing/scratch")));
}

}  // namespace
}  // namespace puzzle
