// Any text as a graph: parsed, planned, drawn and selected from over the toy kinds. Whatever is
// wrong with it ends in diagnostics; a graph without any is consistent.
#include <unistd.h>

#include <cstdlib>

#include "graph/language/spec.h"
#include "graph/plan/select.h"
#include "graph/view/draw.h"
#include "io/error.h"
#include "tests/fuzz/fuzz.h"
#include "tests/graph/toy_kinds.h"

namespace puzzle {
namespace {

/// Files that a graph may name are looked for in a folder without any.
const Registry& Setup() {
  static testing::Playground playground;
  static const Registry registry = [] {
    char folder[] = "/tmp/puzzle_fuzz_XXXXXX";
    if (::mkdtemp(folder) == nullptr || ::chdir(folder) != 0) std::abort();
    ::rmdir(folder);
    return testing::MakeToyRegistry(playground);
  }();
  return registry;
}

void Use(const Plan& plan, const std::string& pattern) {
  PUZZLE_CHECK(plan.order.size() == plan.steps.size(), "a step is not ordered");
  std::vector<size_t> position(plan.steps.size());
  for (size_t i = 0; i < plan.order.size(); ++i) position[plan.order[i]] = i;
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    for (const StepId input : plan.predecessors(id)) {
      PUZZLE_CHECK(position[input] < position[id], "a step comes before its input");
    }
  }
  (void)DrawMermaid(plan, true);
  Diagnostics diagnostics;
  Selection selection;
  selection.until = {pattern};
  const SelectedPlan selected = Select(plan, selection, diagnostics);
  PUZZLE_CHECK(!diagnostics.empty() || selected.plan.steps.size() <= plan.steps.size(),
               "a part is larger than the whole");
}

}  // namespace
}  // namespace puzzle

/// A graph; the text after a line "--set " is a setting, and after "--until " a pattern.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace puzzle;
  const Registry& registry = Setup();
  std::string text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> settings;
  std::string pattern = "*";
  for (const char* flag : {"\n--until ", "\n--set "}) {
    const size_t at = text.find(flag);
    if (at == std::string::npos) continue;
    const std::string value = text.substr(at + std::string_view(flag).size());
    if (flag[3] == 's') {
      settings = {value};
    } else {
      pattern = value;
    }
    text.resize(at);
  }
  Diagnostics diagnostics;
  PlanOptions options;
  options.max_steps = 2000;
  options.layers_of = [](const std::string& checkpoint) { return std::ssize(checkpoint); };
  try {
    const auto json = std::make_shared<const JsonText>(JsonText::Parse(text, "graph.json"));
    const GraphSpec spec = ParseSpec(json, settings, diagnostics);
    const Plan plan = MakePlan(spec, registry, options, diagnostics);
    if (diagnostics.empty()) Use(plan, pattern);
  } catch (const Error&) {  // no JSON
  }
  (void)diagnostics.Text();
  return 0;
}

namespace puzzle::fuzz {

std::vector<std::string> Seeds() {
  return {
      R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": "x"}},
          "b": {"kind": "concat", "in": {"parts": ["a"]}}}})",
      R"({"puzzle": 1, "vars": {"l": {"range": [0, 3]}, "v": ["a", "b"], "w": "${v}"}, "nodes": {
          "t": {"kind": "text", "foreach": {"layer": "${l}", "variant": "${w}"},
                "exclude": [{"layer": [1, 2], "variant": "b"}],
                "params": {"value": "${layer}-${variant}"},
                "overrides": [{"where": {"layer": 2}, "params": {"value": "${vars.l}"}}]},
          "u": {"kind": "upper", "foreach": {"layer": "${l}"},
                "in": {"in": "t[layer=${layer},variant=a]"}},
          "all": {"kind": "concat", "in": {"first": "u[layer=0]", "parts": ["t", "u[layer=1]"]}}}}
--set t[layer=1].value=3)",
      R"({"$schema": "s", "puzzle": 1, "doc": "d", // comment
          "include": {"base": {"file": "base.json", "vars": {"x": [1]}}},
          "nodes": {"e": {"kind": "every", "retries": 2, "timeout": 1.5, "doc": "e",
            "params": {"integer": 3, "number": 1e2, "boolean": true, "text": "beta",
                       "integers": [1, 2], "numbers": [], "texts": ["x"], "json": {"a": [null]},
                       "required": -0.5}}}}
--until e)",
      R"({"puzzle": 1, "nodes": {"a": {"kind": "upper", "in": {"in": "b"}},
          "b": {"kind": "upper", "in": {"in": "a"}}}}
--until b[layer=*,variant=ffn:?])",
      R"({"puzzle": 1, "vars": {"m": {"layers_of": "model"}}, "nodes": {
          "f": {"kind": "file", "params": {"path": "x"}},
          "s": {"kind": "sleep", "foreach": {"i": "${m}", "j": {"range": [2, 4]}},
                "in": {"in": "f"}, "params": {"ms": "${i}"}}}}
--set vars.m=[1,2])"};
}

std::vector<std::string> Words() {
  return {"\"kind\"",
          "\"in\"",
          "\"params\"",
          "\"foreach\"",
          "\"exclude\"",
          "\"overrides\"",
          "\"where\"",
          "\"vars\"",
          "\"nodes\"",
          "\"include\"",
          "\"file\"",
          "\"range\"",
          "\"layers_of\"",
          "\"retries\"",
          "\"timeout\"",
          "\"puzzle\"",
          "\"text\"",
          "\"concat\"",
          "\"upper\"",
          "\"every\"",
          "\"a\"",
          "\"t[layer=1]\"",
          "${",
          "}",
          "$${",
          "${layer}",
          "${vars.l}",
          "\"\"",
          "null",
          "true",
          "0",
          "-1",
          "1e308",
          "9223372036854775807",
          "18446744073709551615",
          "-9223372036854775808",
          "0.1",
          "[",
          "]",
          "{",
          "}",
          ",",
          ":",
          "//",
          "/*",
          "*/",
          "\\u0000",
          "\\ud800",
          "\n--set ",
          "\n--until ",
          "[layer=",
          "*",
          "?",
          "base/",
          "../",
          "\xff",
          "\xc3\xa9"};
}

}  // namespace puzzle::fuzz
