#include "io/hdf5_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/io/test_files.h"

/// The library loses a few hundred bytes for each damaged file that it refuses.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}

namespace puzzle {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr DType kAllTypes[] = {DType::kF32, DType::kF64, DType::kF16, DType::kBF16,
                               DType::kI8,  DType::kU8,  DType::kI16, DType::kU16,
                               DType::kI32, DType::kI64, DType::kBool};

std::string RandomBytes(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

/// All of an archive, as a test likes to compare it.
std::string ReadArray(const ArchiveReader& reader, const std::string& name) {
  const ArrayInfo info = reader.Info(name);
  std::string bytes(ArrayView{info.dtype, info.shape}.bytes(), '\0');
  reader.Read(name, bytes.data());
  return bytes;
}

class Hdf5ArchiveTest : public testing::Test {
 protected:
  std::unique_ptr<ArchiveWriter> Create() const { return Hdf5Format().create(path_); }
  std::shared_ptr<ArchiveReader> Open() const { return Hdf5Format().open(path_); }

  /// An archive with a bit of everything.
  void WriteSample() const {
    const auto writer = Create();
    writer->SetAttribute("config", {{"layers", 2}, {"name", "tiny"}});
    const std::string bytes = RandomBytes(96, 1);
    writer->Write("plain", {DType::kF32, {4, 6}, bytes.data()});
    writer->Write("named", {DType::kBF16, {6}, bytes.data()});
    const std::vector<float> zeros(1024);
    writer->Write("halved", {DType::kF32, {1024}, zeros.data()});
    writer->Create("streamed", DType::kI64, {3, 2});
    writer->Append("streamed", {DType::kI64, {3, 2}, bytes.data()});
    writer->Close();
  }

  /// Opens the file and touches everything in it. Errors are fine; crashes are not.
  void ReadAll() const {
    const auto reader = Open();
    for (const std::string& name : reader->AttributeNames()) (void)reader->Attribute(name);
    for (const std::string& name : reader->ArrayNames()) (void)ReadArray(*reader, name);
  }

  bool ReadsAll() const {
    try {
      ReadAll();
      return true;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(path_));
      return false;
    }
  }

  const TempFolder folder_;
  const std::string path_ = folder_ / "archive.h5";
};

TEST_F(Hdf5ArchiveTest, EveryTypeAndShapeSurvives) {
  const Shape shapes[] = {{}, {1}, {0}, {5}, {2, 3}, {0, 3}, {3, 0}, {2, 1, 3, 1, 2, 1, 1, 2}};
  const std::string bytes = RandomBytes(8 * 24, 2);
  const auto writer = Create();
  for (const DType dtype : kAllTypes) {
    for (const Shape& shape : shapes) {
      writer->Write(std::string(DTypeName(dtype)) + ShapeString(shape),
                    {dtype, shape, bytes.data()});
    }
  }
  writer->Close();

  const auto reader = Open();
  EXPECT_EQ(reader->ArrayNames().size(), std::size(kAllTypes) * std::size(shapes));
  for (const DType dtype : kAllTypes) {
    for (const Shape& shape : shapes) {
      const std::string name = std::string(DTypeName(dtype)) + ShapeString(shape);
      EXPECT_EQ(reader->Info(name).dtype, dtype);
      EXPECT_EQ(reader->Info(name).shape, shape);
      EXPECT_EQ(ReadArray(*reader, name), bytes.substr(0, ArrayView{dtype, shape}.bytes()));
    }
  }
}

TEST_F(Hdf5ArchiveTest, NumbersThatAreExactInBf16TakeHalfThePlace) {
  constexpr int64_t kRows = 300, kColumns = 700;  // more than passes through memory at a time
  std::vector<float> halves(kRows * kColumns), whole;
  std::mt19937 random(4);
  for (float& value : halves)
    value = std::bit_cast<float>(static_cast<uint32_t>(random()) & 0xFFFF'0000U);  // NaN among them
  whole = halves;
  whole.back() = std::bit_cast<float>(std::bit_cast<uint32_t>(whole.back()) | 1U);
  const auto write = [&](const std::vector<float>& values) {
    DigestingWriter writer(Create());
    writer.Write("values", {DType::kF32, {kRows, kColumns}, values.data()});
    writer.Write("few", {DType::kF32, {2}, halves.data()});
    writer.Close();
    return writer.digest();
  };
  (void)write(whole);
  const auto bytes = static_cast<int64_t>(halves.size() * sizeof(float));
  EXPECT_GE(std::ssize(ReadBytes(path_)), bytes) << "one bit is one too many";
  const std::string digest = write(halves);
  EXPECT_NEAR(std::ssize(ReadBytes(path_)), bytes / 2, 4096);

  const auto reader = Open();
  EXPECT_EQ(DigestArchive(*reader), digest) << "what it says is f32";
  EXPECT_EQ(reader->Info("values").dtype, DType::kF32);
  const std::string expected(reinterpret_cast<const char*>(halves.data()), bytes);
  EXPECT_EQ(ReadArray(*reader, "values"), expected);
  EXPECT_EQ(ReadArray(*reader, "few"), expected.substr(0, 8));
  constexpr int64_t kRowBytes = kColumns * sizeof(float);
  std::string rows(250 * kRowBytes, '\0');
  reader->ReadRows("values", 50, 250, rows.data());
  EXPECT_EQ(rows, expected.substr(50 * kRowBytes));
  EXPECT_THAT(ErrorOf([&] { reader->ReadRows("values", 51, 250, rows.data()); }),
              HasSubstr("no 250 rows from row 51"));
}

TEST_F(Hdf5ArchiveTest, AttributesOfAnyKindAndSizeSurvive) {
  const std::vector<std::pair<std::string, nlohmann::json>> attributes = {
      {"null", nullptr},
      {"integer", UINT64_MAX},
      {"real", 0.1},
      {"text", "ünïcode \" \n"},
      {"object", {{"layers", {1, 2, 3}}, {"deep", {{"er", true}}}}},
      {"large", std::string(1 << 20, 'x')},
  };
  const auto writer = Create();
  for (const auto& [name, value] : attributes) writer->SetAttribute(name, value);
  writer->Close();

  const auto reader = Open();
  for (const auto& [name, value] : attributes) EXPECT_EQ(reader->Attribute(name), value);
  EXPECT_THAT(reader->AttributeNames(),
              ElementsAre("integer", "large", "null", "object", "real", "text"));
  EXPECT_TRUE(reader->HasAttribute("null"));
  EXPECT_FALSE(reader->HasAttribute("nul"));
  EXPECT_FALSE(reader->HasArray("null"));
}

TEST_F(Hdf5ArchiveTest, NamesAreFree) {
  const std::vector<std::string> names = {"a",
                                          "a/b",
                                          "/",
                                          "//",
                                          ".",
                                          "..",
                                          "./.",
                                          "100%",
                                          "%2F",
                                          "%2E",
                                          "%",
                                          "%A",
                                          "é",
                                          " ",
                                          std::string("nul\0nul", 7),
                                          "\n",
                                          std::string(5000, 'n')};
  const auto writer = Create();
  for (const std::string& name : names) {
    writer->SetAttribute(name, name.size());
    writer->Write(name, {DType::kU8, {static_cast<int64_t>(name.size())}, name.data()});
  }
  writer->Close();

  const auto reader = Open();
  for (const std::string& name : names) {
    EXPECT_EQ(reader->Attribute(name), name.size());
    EXPECT_EQ(ReadArray(*reader, name), name);
  }
  auto sorted = names;
  std::ranges::sort(sorted);
  EXPECT_EQ(reader->ArrayNames(), sorted);
  EXPECT_EQ(reader->AttributeNames(), sorted);
}

TEST_F(Hdf5ArchiveTest, ThousandsOfArraysAreSortedByName) {
  const auto writer = Create();
  for (int32_t i = 0; i < 3000; ++i) {
    writer->Write("layer." + std::to_string(i), {DType::kI32, {1}, &i});
  }
  writer->Close();
  const auto reader = Open();
  const auto names = reader->ArrayNames();
  EXPECT_EQ(names.size(), 3000u);
  EXPECT_TRUE(std::ranges::is_sorted(names));
  int32_t value = 0;
  reader->Read("layer.1234", &value);
  EXPECT_EQ(value, 1234);
}

TEST_F(Hdf5ArchiveTest, RowsArriveInOrderAndInterleaved) {
  std::vector<int32_t> values(1000 * 3);
  std::iota(values.begin(), values.end(), 0);
  const auto writer = Create();
  writer->Create("a", DType::kI32, {1000, 3});
  writer->Create("b/c", DType::kI32, {500, 2, 3});
  for (int64_t row = 0; row < 1000; row += 10) {
    writer->Append("a", {DType::kI32, {10, 3}, &values[static_cast<size_t>(row) * 3]});
    writer->Append("b/c", {DType::kI32, {5, 2, 3}, &values[static_cast<size_t>(row) * 3]});
  }
  writer->Close();

  const auto reader = Open();
  for (const std::string name : {"a", "b/c"}) {
    std::vector<int32_t> read(values.size());
    reader->Read(name, read.data());
    EXPECT_EQ(read, values);
  }
  std::vector<int32_t> rows(7 * 3);
  reader->ReadRows("a", 990, 7, rows.data());
  EXPECT_EQ(rows.front(), 990 * 3);
  EXPECT_EQ(rows.back(), 997 * 3 - 1);
  reader->ReadRows("a", 1000, 0, nullptr);
}

TEST_F(Hdf5ArchiveTest, RowsOutsideAreErrors) {
  WriteSample();
  const auto reader = Open();
  char buffer[64];
  EXPECT_THAT(ErrorOf([&] { reader->ReadRows("plain", 3, 2, buffer); }),
              AllOf(HasSubstr("'plain'"), HasSubstr("no 2 rows from row 3 on in shape [4, 6]")));
  EXPECT_THROW(reader->ReadRows("plain", -1, 1, buffer), Error);
  EXPECT_THROW(reader->ReadRows("plain", 0, -1, buffer), Error);
  EXPECT_THROW(reader->ReadRows("plain", INT64_MAX, INT64_MAX, buffer), Error);
}

TEST_F(Hdf5ArchiveTest, MissingNamesAreErrorsWithTheName) {
  WriteSample();
  const auto reader = Open();
  EXPECT_THAT(ErrorOf([&] { (void)reader->Info("nothing"); }),
              AllOf(HasSubstr(path_), HasSubstr("array 'nothing'"), HasSubstr("does not exist")));
  EXPECT_THAT(ErrorOf([&] { (void)reader->Attribute("plain"); }), HasSubstr("attribute 'plain'"));
}

TEST_F(Hdf5ArchiveTest, NamesAreTakenOnce) {
  const auto writer = Create();
  writer->SetAttribute("a", 1);
  EXPECT_THAT(ErrorOf([&] { writer->SetAttribute("a", 1); }), HasSubstr("attribute 'a'"));
}

TEST_F(Hdf5ArchiveTest, UnwritableAttributesAreErrorsWithTheName) {
  const auto writer = Create();
  EXPECT_THAT(ErrorOf([&] { writer->SetAttribute("loss", NAN); }),
              AllOf(HasSubstr(path_), HasSubstr("'loss'"), HasSubstr("NaN")));
}

TEST_F(Hdf5ArchiveTest, MissingRowsAreNoticedOnClose) {
  const auto writer = Create();
  const float row[2] = {};
  writer->Create("a", DType::kF32, {3, 2});
  writer->Append("a", {DType::kF32, {1, 2}, row});
  EXPECT_THAT(ErrorOf([&] { writer->Close(); }),
              AllOf(HasSubstr("array 'a'"), HasSubstr("1 of 3 rows")));
}

TEST_F(Hdf5ArchiveTest, RowsThatDoNotFitAreBugs) {
  const auto writer = Create();
  const float rows[8] = {};
  writer->Create("a", DType::kF32, {3, 2});
  EXPECT_THROW(writer->Append("a", {DType::kF32, {4, 2}, rows}), BugError);
  EXPECT_THROW(writer->Append("a", {DType::kF32, {2, 3}, rows}), BugError);
  EXPECT_THROW(writer->Append("a", {DType::kF32, {2}, rows}), BugError);
  EXPECT_THROW(writer->Append("a", {DType::kF16, {1, 2}, rows}), BugError);
  EXPECT_THROW(writer->Append("b", {DType::kF32, {1, 2}, rows}), BugError);
}

TEST_F(Hdf5ArchiveTest, UnclosedArchiveIsNotReadable) {
  {
    const auto writer = Create();
    writer->SetAttribute("a", 1);
    EXPECT_FALSE(ReadsAll());
  }
  EXPECT_FALSE(ReadsAll());
}

TEST_F(Hdf5ArchiveTest, ClosedWriterTakesNoMore) {
  const auto writer = Create();
  writer->Close();
  EXPECT_THROW(writer->SetAttribute("a", 1), BugError);
}

TEST_F(Hdf5ArchiveTest, EqualArchivesAreEqualFiles) {
  WriteSample();
  const std::string first = ReadBytes(path_);
  WriteSample();
  EXPECT_EQ(ReadBytes(path_), first);
}

TEST_F(Hdf5ArchiveTest, OtherFilesAreNotArchives) {
  EXPECT_THAT(ErrorOf([&] { ReadAll(); }), HasSubstr("No such file"));
  for (const std::string& bytes : {std::string(), std::string("\x89HDF"), std::string(4096, 'x')}) {
    WriteBytes(path_, bytes);
    EXPECT_THAT(ErrorOf([&] { ReadAll(); }), HasSubstr("not an archive"));
  }
  EXPECT_THAT(ErrorOf([&] { Hdf5Format().open(folder_.path()); }), HasSubstr(folder_.path()));
  EXPECT_THAT(ErrorOf([&] { Hdf5Format().create(folder_ / "none/a.h5"); }), HasSubstr("none/a.h5"));
}

TEST_F(Hdf5ArchiveTest, FileCutAnywhereIsAnError) {
  WriteSample();
  const std::string whole = ReadBytes(path_);
  EXPECT_TRUE(ReadsAll());
  for (size_t size = 0; size < whole.size(); ++size) {
    WriteBytes(path_, whole.substr(0, size));
    ASSERT_FALSE(ReadsAll()) << size;
  }
}

TEST_F(Hdf5ArchiveTest, FlippedBytesNeverCrash) {
  WriteSample();
  const std::string whole = ReadBytes(path_);
  size_t noticed = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    WriteBytes(path_, damaged);
    if (!ReadsAll()) ++noticed;
  }
  EXPECT_GT(noticed, whole.size() / 4);  // what is left is array bytes and gaps
}

TEST_F(Hdf5ArchiveTest, OverwrittenRangesNeverCrash) {
  WriteSample();
  const std::string whole = ReadBytes(path_);
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    std::string damaged = whole;
    const size_t begin = 9 + random() % (whole.size() - 9);
    const size_t size = std::min<size_t>(1 + random() % 64, whole.size() - begin);
    damaged.replace(begin, size, RandomBytes(size, static_cast<unsigned>(i)));
    WriteBytes(path_, damaged);
    (void)ReadsAll();
  }
}

TEST_F(Hdf5ArchiveTest, ThreadsUseTheirOwnArchivesAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      const std::string path = folder_ / std::to_string(t);
      for (int i = 0; i < 20; ++i) {
        const std::string bytes = RandomBytes(10'000, static_cast<unsigned>(t * 100 + i));
        const auto writer = Hdf5Format().create(path);
        writer->SetAttribute("i", i);
        writer->Write("bytes", {DType::kU8, {10'000}, bytes.data()});
        writer->Close();
        const auto reader = Hdf5Format().open(path);
        EXPECT_EQ(reader->Attribute("i"), i);
        EXPECT_EQ(ReadArray(*reader, "bytes"), bytes);
        EXPECT_THROW((void)reader->Info("none"), Error);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Hdf5ArchiveTest, ReadersMayBeShared) {
  WriteSample();
  const auto reader = Open();
  const std::string plain = ReadArray(*reader, "plain");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(ReadArray(*reader, "plain"), plain);
        EXPECT_EQ(reader->Attribute("config")["layers"], 2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// Makes files longer than `bytes` fail to grow, as a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  void (*handler_)(int);
};

TEST_F(Hdf5ArchiveTest, FullDiskIsAnError) {
  const std::string bytes(1 << 20, 'x');
  for (const rlim_t limit : {64u, 500u, 1000u, 3000u, 100'000u}) {
    const FileSizeLimit full(limit);
    EXPECT_THAT(ErrorOf([&] {
                  const auto writer = Create();
                  writer->SetAttribute("a", 1);
                  if (limit > 3000) writer->Write("bytes", {DType::kU8, {1 << 20}, bytes.data()});
                  for (int i = 0; i < 40; ++i) writer->SetAttribute(std::to_string(i), i);
                  writer->Close();
                }),
                HasSubstr(path_));
  }
  WriteSample();
  EXPECT_TRUE(ReadsAll());
}

}  // namespace
}  // namespace puzzle
