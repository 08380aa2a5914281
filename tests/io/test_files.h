// What the tests of io/ share: a folder of their own, whole files as strings, the text of an error.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "io/error.h"

namespace puzzle {

/// A new folder, removed at the end.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "puzzle_io_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw Error("no temporary folder");
    path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string path() const { return path_.string(); }
  [[nodiscard]] std::string operator/(const std::string& name) const {
    return (path_ / name).string();
  }
  [[nodiscard]] size_t CountFiles() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

inline void WriteBytes(const std::string& path, const std::string& bytes) {
  std::filesystem::remove(path);  // file systems flush a file that is emptied and written again
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Path of a file of the shared test data: $PUZZLE_DATA, else ../shared/data beside the sources.
inline std::string DataPath(const std::string& name) {
  const char* root = std::getenv("PUZZLE_DATA");
  return (std::filesystem::path(root != nullptr ? root : PUZZLE_SOURCE_DIR "/../shared/data") /
          name)
      .string();
}

/// The message of the Error that `action` throws; fails the test when it throws none.
template <typename Action>
std::string ErrorOf(Action action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "expected an Error";
  return "";
}

}  // namespace puzzle

/// Skips the test where the shared test data is absent.
#define PUZZLE_REQUIRE_DATA(name)                                                    \
  if (!std::filesystem::exists(::puzzle::DataPath(name)))                            \
  GTEST_SKIP() << "needs test data: " << ::puzzle::DataPath(name) << " is not there" \
               << " (set PUZZLE_DATA)"
