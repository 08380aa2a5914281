// Any text as a block library, and what follows a line "---" as the measurement_info.json beside
// it: refused with an Error, or a table whose rows have as many numbers as it has names, that asks
// sensible things of the solver and is written so that it is read back as the same one.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "nodes/search/block_library.h"
#include "nodes/search/variant_table.h"
#include "tests/fuzz/fuzz.h"
#include "tests/io/temp_folder.h"

namespace puzzle {
namespace {

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

void Ignore(const std::string& /*warning*/) {}

void CheckShape(const VariantTable& table) {
  PUZZLE_CHECK(!table.groups.empty() && table.fixed.size() == table.resources.size(),
               "a table without groups or costs");
  PUZZLE_CHECK(std::isfinite(table.tokens), "more tokens than there are numbers");
  for (const double cost : table.fixed) PUZZLE_CHECK(cost >= 0, "a cost below nothing");
  for (const VariantTable::Group& group : table.groups) {
    PUZZLE_CHECK(!group.variants.empty(), "a group without variants");
    for (const VariantTable::Variant& variant : group.variants) {
      PUZZLE_CHECK(variant.costs.size() == table.resources.size() &&
                       variant.metrics.size() == table.metrics.size(),
                   "a row of another length");
      PUZZLE_CHECK(std::all_of(variant.costs.begin(), variant.costs.end(),
                               [](double cost) { return cost >= 0 && std::isfinite(cost); }),
                   "a cost that is none");
    }
  }
}

/// As `search` does before it solves.
void Ask(const VariantTable& table) {
  try {
    nlohmann::json max;
    for (const std::string& resource : table.resources) max[resource] = "90%";
    const auto limits =
        ReadLimits(table, nlohmann::json::object(), max.is_null() ? nlohmann::json::object() : max);
    if (table.metrics.empty()) return;
    const SearchProblem search =
        MakeSearchProblem(table, {{table.metrics.front(), 1}}, limits, Ignore);
    PUZZLE_CHECK(search.problem.groups.size() == table.groups.size(), "a group was lost");
    (void)ParameterCounts(table, search);
    (void)TotalsByName(table, std::vector<int>(table.groups.size(), 0));
  } catch (const Error&) {  // a parent without the metric, a difference beyond the largest number
  }
}

}  // namespace
}  // namespace puzzle

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace puzzle;
  static const TempFolder folder;
  const std::string library = folder / "block_library.json";
  const std::string info = folder / "measurement_info.json";
  const std::string input(reinterpret_cast<const char*>(data), size);
  constexpr std::string_view kBorder = "\n---\n";
  const size_t border = input.find(kBorder);
  try {
    WriteText(library, input.substr(0, border));
    WriteText(info, border == std::string::npos ? "{}" : input.substr(border + kBorder.size()));
    const VariantTable table = ReadBlockLibrary(library, Ignore);
    CheckShape(table);
    Ask(table);
    const auto files = WriteBlockLibrary(table);
    for (const auto& [name, text] : files) WriteText(folder / name, text);
    const auto again = WriteBlockLibrary(ReadBlockLibrary(library, Ignore));
    using nlohmann::json;
    PUZZLE_CHECK(
        json::parse(again.at("block_library.json")) == json::parse(files.at("block_library.json")),
        "another library came back");
  } catch (const Error&) {  // refused
  }
  return 0;
}

namespace puzzle::fuzz {

std::vector<std::string> Seeds() {
  const std::string own = R"("a\t&&\tb":{"stats":{"runtime_ms":4,"memory_mib":2},)"
                          R"("metrics":{"kl":0,"accuracy":0.5}})";
  const std::string none =
      R"("none":{"stats":{"runtime_ms":0,"memory_mib":0.5},"metrics":{"kl":3.5}})";
  return {R"({"layer_0":{)" + own + "," + none + R"(},"layer_1":{)" + own + "}}\n---\n" +
              R"({"batch_size":256,"sequence_length":1200,"non_block_stats":{"memory_mib":7}})",
          R"({"layer_1":{)" + none + R"(},"layer_0":{)" + none + "," + own + "}}"};
}

std::vector<std::string> Words() {
  return {"\"layer_0\"",
          "\"layer_2\"",
          "\"stats\"",
          "\"metrics\"",
          "\"kl\"",
          "\"num_params\"",
          "\"non_block_stats\"",
          "\"batch_size\"",
          "null",
          "true",
          "0",
          "-1",
          "1e308",
          "1e-320",
          "9223372036854775807",
          "\n---\n",
          "{",
          "}",
          "[",
          "]",
          ",",
          ":"};
}

}  // namespace puzzle::fuzz
