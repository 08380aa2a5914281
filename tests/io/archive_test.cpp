// The digest of archives: what it covers and what it does not depend on.
#include "io/archive.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/fingerprint.h"
#include "io/hdf5_archive.h"
#include "io/references.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using Fill = std::function<void(ArchiveWriter&)>;

class ArchiveDigestTest : public testing::Test {
 protected:
  /// Writes an archive, checks that its reader agrees, and returns its digest.
  std::string DigestOf(const Fill& fill) {
    DigestingWriter writer(Hdf5Format().create(path_));
    fill(writer);
    writer.Close();
    bytes_ = writer.bytes();
    EXPECT_EQ(DigestArchive(*Hdf5Format().open(path_)), writer.digest());
    return writer.digest();
  }

  static ArrayView Floats(const std::vector<float>& values, const Shape& shape) {
    return {DType::kF32, shape, values.data()};
  }

  const TempFolder folder_;
  const std::string path_ = folder_ / "archive.h5";
  const std::vector<float> values_ = {1, 2, 3, 4, 5, 6};
  uint64_t bytes_ = 0;
};

TEST_F(ArchiveDigestTest, IsPinned) {  // keys of finished work contain it
  EXPECT_EQ(DigestOf([&](ArchiveWriter& writer) {
              writer.SetAttribute("config", {{"layers", 2}, {"eps", 1e-5}});
              writer.Write("weight", Floats(values_, {2, 3}));
            }),
            "36a112c3cf5e414b12df791a1cb84c7c8d362a8e545d673df0c27e1d89b4654d");
}

TEST_F(ArchiveDigestTest, WhatAnArchiveRefersToCountsAsIfItHeldIt) {
  const std::string held = DigestOf([&](ArchiveWriter& writer) {
    writer.SetAttribute("a", 1);
    writer.Write("w", Floats(values_, {2, 3}));
  });
  const auto refers = [&](const std::string& where, const std::string& digest) {
    return DigestOf([&](ArchiveWriter& writer) {
      writer.SetAttribute("a", 1);
      References references;
      references.files[where] = {24, 7};
      references.arrays["w"] = {{DType::kF32, {2, 3}}, digest, where, "weight"};
      WriteReferences(references, writer);
    });
  };
  const std::string of_values = Fingerprint().Add(values_.data(), 24).Hex();
  EXPECT_EQ(refers("/one/model", of_values), held);
  EXPECT_EQ(bytes_, 0U);
  EXPECT_EQ(refers("/another/model", of_values), held);
  EXPECT_NE(refers("/one/model", std::string(64, '0')), held);
}

TEST_F(ArchiveDigestTest, ReferencesComeBackAndMalformedOnesAreRefused) {
  References references;
  references.files["/m"] = {24, 7};
  references.arrays["w"] = {{DType::kF32, {2, 3}}, "d", "/m", "weight"};
  (void)DigestOf([&](ArchiveWriter& writer) { WriteReferences(references, writer); });
  const References back = ReadReferences(*Hdf5Format().open(path_));
  EXPECT_EQ(back.files, references.files);
  ASSERT_EQ(back.arrays.size(), 1U);
  EXPECT_EQ(back.arrays.at("w").info.shape, (Shape{2, 3}));
  EXPECT_EQ(back.arrays.at("w").digest, "d");
  EXPECT_EQ(back.arrays.at("w").checkpoint, "/m");
  EXPECT_EQ(back.arrays.at("w").name, "weight");
  EXPECT_EQ(back.Lost(), "/m is gone");
  for (const char* text :
       {R"(1)", R"({"files": {}})", R"({"files": [], "arrays": {}})",
        R"({"files": {"/m": [1]}, "arrays": {}})", R"({"files": {"/m": [-1, 2]}, "arrays": {}})",
        R"({"files": {}, "arrays": {"w": 1}})",
        R"({"files": {}, "arrays": {"w": {"dtype": "f33", "shape": [], "sha256": "",
            "checkpoint": "", "name": ""}}})",
        R"({"files": {}, "arrays": {"w": {"dtype": "f32", "shape": [-1], "sha256": "",
            "checkpoint": "", "name": ""}}})"}) {
    EXPECT_THROW((void)ReferencesFromJson(nlohmann::json::parse(text)), Error) << text;
  }
}

TEST_F(ArchiveDigestTest, IgnoresTheOrderOfNamesAndKeys) {
  const std::string digest = DigestOf([&](ArchiveWriter& writer) {
    writer.SetAttribute("a", nlohmann::json::parse(R"({"x": 1, "y": [2.5]})"));
    writer.SetAttribute("b", "text");
    writer.Write("u", Floats(values_, {6}));
    writer.Write("v", Floats(values_, {2, 3}));
  });
  EXPECT_EQ(DigestOf([&](ArchiveWriter& writer) {
              writer.Write("v", Floats(values_, {2, 3}));
              writer.SetAttribute("b", "text");
              writer.Write("u", Floats(values_, {6}));
              writer.SetAttribute("a", nlohmann::json::parse(R"({"y": [2.50], "x": 1})"));
            }),
            digest);
}

TEST_F(ArchiveDigestTest, IgnoresHowRowsArrived) {
  const std::string digest = DigestOf([&](ArchiveWriter& writer) {
    writer.Write("u", Floats(values_, {3, 2}));
    writer.Write("v", Floats(values_, {6}));
  });
  EXPECT_EQ(bytes_, 48u);
  EXPECT_EQ(DigestOf([&](ArchiveWriter& writer) {
              writer.Create("u", DType::kF32, {3, 2});
              writer.Create("v", DType::kF32, {6});
              writer.Append("u", {DType::kF32, {1, 2}, &values_[0]});
              writer.Append("v", {DType::kF32, {4}, &values_[0]});
              writer.Append("u", {DType::kF32, {2, 2}, &values_[2]});
              writer.Append("v", {DType::kF32, {0}, nullptr});
              writer.Append("v", {DType::kF32, {2}, &values_[4]});
            }),
            digest);
  EXPECT_EQ(bytes_, 48u);
}

TEST_F(ArchiveDigestTest, CoversEverything) {
  const std::vector<float> other = {1, 2, 3, 4, 5, 7};
  const std::vector<Fill> fills = {
      [](ArchiveWriter&) {},
      [](ArchiveWriter& writer) { writer.SetAttribute("u", 1); },
      [](ArchiveWriter& writer) { writer.SetAttribute("u", 1.0); },
      [](ArchiveWriter& writer) { writer.SetAttribute("u", "1"); },
      [](ArchiveWriter& writer) { writer.SetAttribute("v", 1); },
      [&](ArchiveWriter& writer) { writer.Write("u", Floats(values_, {6})); },
      [&](ArchiveWriter& writer) { writer.Write("v", Floats(values_, {6})); },
      [&](ArchiveWriter& writer) {
        writer.Write("u", Floats(values_, {3, 2}));
      },
      [&](ArchiveWriter& writer) { writer.Write("u", Floats(other, {6})); },
      [&](ArchiveWriter& writer) {
        writer.Write("u", {DType::kI32, {6}, values_.data()});
      },
      [](ArchiveWriter& writer) {
        writer.Write("u", {DType::kF16, {0, 2}, nullptr});
      },
      [](ArchiveWriter& writer) {
        writer.Write("u", {DType::kBF16, {0, 2}, nullptr});
      },
      [](ArchiveWriter& writer) {
        writer.Write("u", {DType::kBF16, {0, 3}, nullptr});
      },
      [&](ArchiveWriter& writer) { writer.Write("u", Floats(values_, {})); },
      [&](ArchiveWriter& writer) { writer.Write("u", Floats(values_, {1})); },
  };
  std::set<std::string> digests;
  for (const Fill& fill : fills) digests.insert(DigestOf(fill));
  EXPECT_EQ(digests.size(), fills.size());
}

TEST_F(ArchiveDigestTest, StreamedArrayWithoutRowsEqualsAWrittenOne) {
  EXPECT_EQ(DigestOf([](ArchiveWriter& writer) {
              writer.Create("u", DType::kU16, {0, 7});
            }),
            DigestOf([](ArchiveWriter& writer) {
              writer.Write("u", {DType::kU16, {0, 7}, nullptr});
            }));
}

// Archives of others may have any number of rows of nothing.
TEST_F(ArchiveDigestTest, RowsWithoutBytesTakeNoTime) {
  constexpr int64_t kMany = int64_t{1} << 59;
  DigestOf([&](ArchiveWriter& writer) {
    writer.Write("none", {DType::kF32, {kMany, 0}, nullptr});
  });
  const auto copy = Hdf5Format().create(folder_ / "copy.h5");
  CopyArchive(*Hdf5Format().open(path_), *copy);
  copy->Close();
  EXPECT_EQ(Hdf5Format().open(folder_ / "copy.h5")->Info("none").shape, Shape({kMany, 0}));
}

TEST_F(ArchiveDigestTest, ArraysLargerThanAPieceAgree) {
  std::vector<uint16_t> large(11 << 20);  // 22 MiB; read back in pieces of 8 MiB
  std::iota(large.begin(), large.end(), uint16_t{0});
  const auto rows = static_cast<int64_t>(large.size()) / 3;
  DigestOf([&](ArchiveWriter& writer) {
    writer.Write("tall", {DType::kU16, {rows, 3}, large.data()});
    writer.Write("wide", {DType::kU16, {2, rows}, large.data()});
  });
}

TEST_F(ArchiveDigestTest, IsOnlyThereAfterClose) {
  DigestingWriter writer(Hdf5Format().create(path_));
  EXPECT_THROW((void)writer.digest(), BugError);
  EXPECT_THROW(writer.Append("never created", {DType::kF32, {0}, nullptr}), BugError);
}

}  // namespace
}  // namespace puzzle
