#include "io/fingerprint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

TEST(FingerprintTest, IsSha256) {  // FIPS 180-4 examples
  EXPECT_EQ(FingerprintText("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(FingerprintText(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(FingerprintTest, PiecesAddUp) {
  EXPECT_EQ(Fingerprint().Add("a", 1).Add("bc", 2).Hex(), FingerprintText("abc"));
}

TEST(FingerprintTest, FieldsKeepTheirBoundaries) {
  EXPECT_NE(Fingerprint().AddField("ab").AddField("c").Hex(),
            Fingerprint().AddField("a").AddField("bc").Hex());
}

TEST(FingerprintTest, FinishedFingerprintTakesNoMore) {
  Fingerprint fingerprint;
  (void)fingerprint.Hex();
  EXPECT_THROW(fingerprint.Add("x", 1), BugError);
  EXPECT_THROW((void)fingerprint.Hex(), BugError);
}

TEST(FingerprintTest, FileEqualsItsText) {
  const TempFolder folder;
  for (const size_t size : {0u, 1u, (1u << 20), (1u << 20) + 1, 3'000'000u}) {
    const std::string text(size, 'x');
    WriteBytes(folder / "file", text);
    EXPECT_EQ(FingerprintFile(folder / "file"), FingerprintText(text)) << size;
  }
}

TEST(FingerprintTest, MissingFileIsNamed) {
  EXPECT_THAT(ErrorOf([] { (void)FingerprintFile("/nowhere/file"); }), HasSubstr("/nowhere/file"));
}

}  // namespace
}  // namespace puzzle
