// A run whose memory is limited gives what it gives without a limit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/apps/program_folder.h"
#include "tests/io/test_files.h"

namespace puzzle::testing {
namespace {

using nlohmann::json;

constexpr const char* kLimitedGraph = R"({
  "puzzle": 1,
  "vars": { "model": "", "layers": [1, 3], "variants": ["attn:none", "ffn:50%"] },
  "nodes": {
    "text": { "kind": "synthetic_text", "params": { "stories": 40 } },
    "parent": { "kind": "load_model", "params": { "path": "${model}" } },
    "tokens": { "kind": "tokenize", "in": { "text": "text", "model": "parent" },
                "params": { "length": 64, "sequences": 24 } },
    "states": { "kind": "activations", "in": { "parent": "parent", "tokens": "tokens" },
                "params": { "dtype": "fp32" } },
    "importance": { "kind": "importance", "in": { "parent": "parent", "activations": "states" },
                    "params": { "batches": 4 } },
    "blocks": { "kind": "bld", "foreach": { "layer": "${layers}", "variant": "${variants}" },
                "in": { "parent": "parent", "activations": "states", "importance": "importance" },
                "params": { "layer": "${layer}", "variant": "${variant}", "epochs": 1, "holdout": 4,
                            "refit_tokens": 512 } },
    "scores": { "kind": "score", "foreach": { "layer": "${layers}", "variant": "${variants}" },
                "in": { "parent": "parent", "activations": "states",
                        "block": "blocks[layer=${layer},variant=${variant}]" } },
    "child": { "kind": "gkd", "in": { "teacher": "parent", "student": "parent", "tokens": "tokens" },
               "params": { "steps": 3, "batch": 4, "lm_weight": 1, "holdout": 2 } },
    "quality": { "kind": "evaluate", "in": { "model": "parent", "tokens": "tokens" },
                 "params": { "label": "parent" } },
    "child_quality": { "kind": "evaluate", "in": { "model": "child", "tokens": "tokens" },
                       "params": { "label": "child" } },
    "exported": { "kind": "export", "in": { "model": "parent" }, "params": { "folder": "out" } }
  } })";

// Of every step its key, which the bits of its inputs are in, and the figures of its result.
json KeysAndFigures(const ProgramFolder& folder) {
  json all;
  std::istringstream events(folder.Read("events.jsonl"));
  for (std::string line; std::getline(events, line);) {
    const json event = json::parse(line);
    if (event["event"] == "step_done") all["keys"][event["step"]] = event["key"];
  }
  const json summary = folder.ReadJson("summary.json");
  all["figures"] = summary["results"];
  return all;
}

TEST(LittleMemoryTest, ResultsAreTheSameBits) {
  PUZZLE_REQUIRE_DATA("models/stories260K");
  const ProgramFolder folder(PUZZLE_PROGRAM);
  folder.Write("graph.json", kLimitedGraph);
  const std::string model =
      "vars.model=" + std::filesystem::absolute(DataPath("models/stories260K")).string();
  const auto run = [&](const std::string& store, const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"run",       "graph.json",  "--store",  store,
                                          "--set",     model,         "--events", "events.jsonl",
                                          "--summary", "summary.json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const ProgramResult result = folder.Run(arguments);
    EXPECT_EQ(result.status, 0) << result.text();
    return KeysAndFigures(folder);
  };
  const json free = run("free", {});
  EXPECT_EQ(free["keys"].size(), 17u) << free.dump(1);
  EXPECT_TRUE(free["figures"].contains("child_quality")) << free.dump(1);
  // The model takes a MiB, of which steps share a quarter, and a distillation sixteen.
  EXPECT_EQ(run("limited", {"--memory", "1"}), free);
  EXPECT_THAT(folder.ReadJson("summary.json")["warnings"].dump(),
              ::testing::HasSubstr("moments and rounded matrices lie in files"));
}

}  // namespace
}  // namespace puzzle::testing
