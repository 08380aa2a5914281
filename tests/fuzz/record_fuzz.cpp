// Any text as the record of a finished step, with a checksum that fits: what counts obeys the
// rules, and its line in the index says the same; the rest does not count. Any line as one of the
// index.
#include <nlohmann/json.hpp>

#include "graph/store/line_file.h"
#include "graph/store/record.h"
#include "io/error.h"
#include "tests/fuzz/fuzz.h"

namespace puzzle {
namespace {

/// As views, reports and the hit test read a record that counts.
void Use(const Record& record) {
  PUZZLE_CHECK(IsDigest(record.key) && IsDigest(record.digest), "a key that is none");
  PUZZLE_CHECK(record.step.find_first_of("\t\n") == std::string_view::npos, "a name of two lines");
  (void)RecordedMemory(record);
  const nlohmann::json json = RecordJson(record);
  PUZZLE_CHECK(json.at("key") == record.key && json.at("digest") == record.digest &&
                   json.at("step") == record.step && json.at("bytes") == record.bytes,
               "the line of a record says something else");
  (void)json.value("finished", "");
  (void)json.value("wall_s", 0.0);
  const nlohmann::json files = json.value("output_files", nlohmann::json::object());
  for (const auto& [name, bytes] : files.items()) {
    PUZZLE_CHECK(
        bytes.is_number() && name != ".." && !name.starts_with("../") && name.front() != '/',
        "a file outside of its folder");
  }
  const nlohmann::json curves = json.value("curves", nlohmann::json::object());
  for (const auto& curve : curves)
    for (const auto& point : curve)
      PUZZLE_CHECK(point.size() == 2 && point[0].is_number() && point[1].is_number(),
                   "a point that is none");
  const nlohmann::json inputs = json.at("recipe").value("inputs", nlohmann::json::object());
  for (const auto& digests : inputs) {
    for (const auto& digest : digests) {
      PUZZLE_CHECK(IsDigest(digest.get_ref<const std::string&>()), "a digest that is none");
    }
  }
}

}  // namespace
}  // namespace puzzle

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace puzzle;
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const std::string& record : {text, text + ",\"sum\":\"" + Checksum(text) + "\"}"}) {
    if (const auto line = IndexLineOf(record)) {
      const auto parsed = ParseIndexLine(*line);
      PUZZLE_CHECK(parsed.has_value(), "a record without a line");
      Use(*parsed);
    }
  }
  (void)ParseIndexLine(text);
  return 0;
}

namespace puzzle::fuzz {

std::vector<std::string> Seeds() {
  RecordDraft draft;
  draft.key = std::string(64, 'a');
  draft.digest = std::string(64, 'b');
  draft.step = "bld[layer=3]";
  draft.kind = "bld";
  draft.type = "block";
  draft.bytes = 100;
  draft.recipe_json =
      R"({"format":1,"inputs":{"parent":[")" + std::string(64, 'c') + R"("]},"params":{}})";
  draft.output_files_json = R"({"a.json":3})";
  draft.accepted_json = R"({"key":"x","change":"y"})";
  draft.environment_json = R"({"libtorch":"1"})";
  draft.curves_json = R"({"loss":[[0.5,1.25],[1,0.5]]})";
  draft.display = "a table";
  std::string text = RecordText(draft);
  text.resize(text.rfind(",\"sum\""));
  return {text, std::string(64, 'a') + ' ' + std::string(64, 'b') + " 1 2 0.5 0 t\tstep\t{}"};
}

std::vector<std::string> Words() {
  return {
      "\"digest\":",  "\"key\":",    "\"step\":\"", "\"bytes\":", "\"output_files\":{\"../x\":1}",
      "\"parents\":", "\"inputs\":", "\\n",         "\\t",        std::string(64, 'd')};
}

}  // namespace puzzle::fuzz
