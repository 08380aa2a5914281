// A run whose memory is limited gives what it gives without a limit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

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
    "quality": { "kind": "evaluate", "in": { "model": "parent", "tokens": "tokens" },
                 "params": { "label": "parent" } },
    "exported": { "kind": "export", "in": { "model": "parent" }, "params": { "folder": "out" } }
  } })";

TEST(LittleMemoryTest, ResultsAreTheSameBits) {
  PUZZLE_REQUIRE_DATA("models/stories260K");
  const ProgramFolder folder(PUZZLE_PROGRAM);
  folder.Write("graph.json", kLimitedGraph);
  const auto results = [&](const std::string& store, const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {
        "run",
        "graph.json",
        "--store",
        store,
        "--set",
        "vars.model=" + std::filesystem::absolute(DataPath("models/stories260K")).string(),
        "--summary",
        "summary.json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const ProgramResult run = folder.Run(arguments);
    EXPECT_EQ(run.status, 0) << run.text();
    return folder.ReadJson("summary.json")["results"];
  };
  const json free = results("free", {});
  EXPECT_TRUE(free.contains("quality")) << free.dump(1);
  // The model takes a MiB, of which steps share half.
  EXPECT_EQ(results("limited", {"--memory", "1"}), free);
}

}  // namespace
}  // namespace puzzle::testing
