// What the tests of the command line share: toy_puzzle in a folder of its own, and two graphs.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/apps/program_folder.h"

namespace puzzle::testing {

class CliTest : public ::testing::Test {
 protected:
  using Result = ProgramResult;

  [[nodiscard]] std::string path() const { return toy_.path(); }
  [[nodiscard]] std::string store() const { return path() + "/store"; }
  void Write(const std::string& name, const std::string& text) const { toy_.Write(name, text); }
  [[nodiscard]] std::string Read(const std::string& name) const { return toy_.Read(name); }
  Result Puzzle(const std::vector<std::string>& arguments) const { return toy_.Run(arguments); }
  /// Of a run with --summary summary.json.
  [[nodiscard]] nlohmann::json Summary() const { return toy_.ReadJson("summary.json"); }

  const ProgramFolder toy_{TOY_PUZZLE};
};

/// Three texts, three steps on a lane, one that joins them, and one that prints a table.
inline constexpr const char* kGraph =
    R"({"puzzle": 1, "vars": {"n": {"range": [0, 3]}}, "nodes": {
  "t": {"kind": "text", "foreach": {"i": "${n}"}, "params": {"value": "v${i}"}},
  "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "in": {"in": "t[i=${i}]"},
        "params": {"value": "s", "ms": 2}},
  "all": {"kind": "concat", "in": {"parts": ["s"]}},
  "end": {"kind": "text", "params": {"display": "the table"}}}})";

/// Twenty steps that write real archives: texts, streamed arrays, and one that joins everything.
inline constexpr const char* kSlow = R"({"puzzle": 1, "vars": {"n": {"range": [0, 6]}}, "nodes": {
  "t": {"kind": "text", "foreach": {"i": "${n}"}, "params": {"value": "v${i}"}},
  "r": {"kind": "stream", "foreach": {"rows": [100, 200, 300, 400, 500, 1000]},
        "params": {"rows": "${rows}"}},
  "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "in": {"in": "t[i=${i}]"},
        "params": {"value": "s", "ms": 5}},
  "all": {"kind": "concat", "in": {"parts": ["s"]}},
  "end": {"kind": "upper", "in": {"in": "all"}}}})";

}  // namespace puzzle::testing
