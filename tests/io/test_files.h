// What the tests of io/ share: a folder of their own, whole files as strings, the text of an error.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "io/error.h"
#include "tests/io/temp_folder.h"

namespace puzzle {

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
