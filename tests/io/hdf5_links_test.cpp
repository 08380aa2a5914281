// Archives that somebody else wrote, with links that lead out of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/stat.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "io/archive.h"
#include "io/hdf5_archive.h"
#include "tests/io/test_files.h"

// Of libhdf5, which has it in no header.
extern "C" uint32_t H5_checksum_metadata(const void* data, size_t size, uint32_t initial);

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

/// Makes the checksum of a changed object header right again: "OHDR", version, flags, times and
/// limits where the flags say so, how many bytes of messages follow, those, and the checksum.
void SignObjectHeader(std::string& file, size_t header) {
  const auto flags = static_cast<unsigned char>(file.at(header + 5));
  size_t at = header + 6 + ((flags & 0x20) != 0 ? 16 : 0) + ((flags & 0x10) != 0 ? 4 : 0);
  const size_t width = size_t{1} << (flags & 3);
  uint64_t messages = 0;
  std::memcpy(&messages, file.data() + at, width);
  at += width + messages;
  const uint32_t sum = H5_checksum_metadata(file.data() + header, at - header, 0);
  std::memcpy(file.data() + at, &sum, sizeof(sum));
}

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

// A text without an end: read further, it would be what lies behind it in memory.
TEST_F(Hdf5LinksTest, AnElementTypeWhoseNameHasNoEndIsUnknown) {
  Forge([](hid_t file) {
    const hid_t array = H5Dopen2(file, "arrays/x", H5P_DEFAULT);
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, 8);
    const hid_t name = H5Acreate2(array, "dtype", type, space, H5P_DEFAULT, H5P_DEFAULT);
    const herr_t written = H5Awrite(name, type, "boolbool");
    H5Aclose(name);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(array);
    return written;
  });
  EXPECT_THAT(Refusal(), HasSubstr("'x': unknown element type"));
}

// The place of an array is a number in the file, which may be any.
TEST_F(Hdf5LinksTest, AnArrayOutsideOfTheFileIsRefusedBeforeItIsRead) {
  const std::string good = folder_ / "good";
  const hid_t file = H5Fopen(good.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  const hid_t array = H5Dopen2(file, "arrays/x", H5P_DEFAULT);
  const uint64_t place[2] = {H5Dget_offset(array), H5Dget_storage_size(array)};
  ASSERT_TRUE(H5Dclose(array) >= 0 && H5Fclose(file) >= 0);
  const std::string bytes = ReadBytes(good);
  const size_t at = bytes.find(std::string(reinterpret_cast<const char*>(place), sizeof(place)));
  ASSERT_NE(at, std::string::npos);
  for (const uint64_t offset : {bytes.size() - place[1] + 1, bytes.size() + 1}) {
    std::string changed = bytes;
    std::memcpy(changed.data() + at, &offset, sizeof(offset));
    SignObjectHeader(changed, changed.rfind("OHDR", at));
    WriteBytes(good, changed);
    const auto reader = Hdf5Format().open(good);
    EXPECT_THAT(ErrorOf([&] { (void)reader->Info("x"); }), HasSubstr("are outside the file of"));
  }
}

}  // namespace
}  // namespace puzzle
