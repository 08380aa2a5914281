// Archives that somebody else wrote, with links that lead out of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <string>

#include "io/archive.h"
#include "io/hdf5_archive.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

class Hdf5LinksTest : public testing::Test {
 protected:
  Hdf5LinksTest() {
    for (const char* name : {"good", "other"}) {
      const auto writer = Hdf5Format().create(folder_ / name);
      const std::string bytes = std::string("bytes of ") + name;
      writer->Write("x", {DType::kU8, {static_cast<int64_t>(bytes.size())}, bytes.data()});
      writer->SetAttribute("a", 1);
      writer->Close();
    }
    EXPECT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  }
  /// Lets `change` work on the open file.
  template <class Change>
  void Forge(Change change) {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    H5Pset_file_locking(access, false, true);
    const hid_t file = H5Fopen((folder_ / "good").c_str(), H5F_ACC_RDWR, access);
    ASSERT_GE(file, 0);
    ASSERT_GE(change(file), 0);
    H5Fclose(file);
    H5Pclose(access);
  }
  std::string Refusal() {
    return ErrorOf([&] { (void)DigestArchive(*Hdf5Format().open(folder_ / "good")); });
  }
  const TempFolder folder_;
};

TEST_F(Hdf5LinksTest, AnArrayThatIsAnExternalLinkIsRefusedAtOnce) {
  for (const char* target : {"other", "pipe", "nothing"}) {
    Forge([&](hid_t file) {
      H5Ldelete(file, "arrays/x", H5P_DEFAULT);
      return H5Lcreate_external((folder_ / target).c_str(), "arrays/x", file, "arrays/x",
                                H5P_DEFAULT, H5P_DEFAULT);
    });
    EXPECT_THAT(Refusal(), HasSubstr("is a link to somewhere else"));
    const auto reader = Hdf5Format().open(folder_ / "good");
    EXPECT_THAT(ErrorOf([&] { (void)reader->Info("x"); }), HasSubstr("'x': is a link"));
    EXPECT_THAT(ErrorOf([&] { (void)reader->ArrayNames(); }), HasSubstr("is a link"));
  }
}

TEST_F(Hdf5LinksTest, AnAttributeThatIsASoftLinkIsRefused) {
  Forge([](hid_t file) {
    return H5Lcreate_soft("/arrays/x", file, "attributes/b", H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_THAT(Refusal(), HasSubstr("is a link to somewhere else"));
}

TEST_F(Hdf5LinksTest, AGroupThatIsALinkIsRefused) {
  Forge([&](hid_t file) {
    H5Ldelete(file, "arrays", H5P_DEFAULT);
    return H5Lcreate_external((folder_ / "other").c_str(), "arrays", file, "arrays", H5P_DEFAULT,
                              H5P_DEFAULT);
  });
  EXPECT_THAT(Refusal(), HasSubstr("is a link to somewhere else"));
}

}  // namespace
}  // namespace puzzle
