// The two stages of coupled distillation through the program, small enough for seconds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "tests/apps/program_folder.h"

namespace puzzle::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kCoupledGraph = R"({
  "puzzle": 1,
  "vars": { "layers": { "range": [0, 2] }, "ranks": { "range": [1, 4] },
            "variants": ["attn:kv1", "attn:none", "ffn:50%", "ffn:none", "none"],
            "liked_budgets": ["50%", "80%"] },
  "nodes": {
    "text": { "kind": "synthetic_text", "params": { "stories": 40 } },
    "tokens": { "kind": "tokenize", "in": { "text": "text" },
                "params": { "tokenizer": "byte", "length": 64, "sequences": 96 } },
    "parent": { "kind": "pretrain", "in": { "tokens": "tokens" },
                "params": { "layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 64, "steps": 150,
                            "lr": 0.01, "batch": 16 } },
    "states": { "kind": "activations", "in": { "parent": "parent", "tokens": "tokens" } },
    "blocks": { "kind": "bld", "foreach": { "layer": "${layers}", "variant": "${variants}" },
                "in": { "parent": "parent", "activations": "states" },
                "params": { "layer": "${layer}", "variant": "${variant}", "epochs": 1 } },
    "scores": { "kind": "score", "foreach": { "layer": "${layers}", "variant": "${variants}" },
                "in": { "parent": "parent", "activations": "states",
                        "block": "blocks[layer=${layer},variant=${variant}]" } },
    "costs": { "kind": "cost", "in": { "parent": "parent" }, "params": { "variants": "${variants}" } },
    "liked_choice": { "kind": "search", "foreach": { "budget": "${liked_budgets}" },
                      "in": { "scores": ["scores"], "costs": "costs" },
                      "params": { "max": { "block_parameters": "${budget}" }, "compare": false } },
    "liked": { "kind": "shortlist", "foreach": { "layer": "${layers}", "rank": "${ranks}" },
               "in": { "parent": "parent", "blocks": ["blocks[layer=${layer}]"], "choices": ["liked_choice"] },
               "params": { "layer": "${layer}", "rank": "${rank}" } },
    "coupled": { "kind": "bld", "foreach": { "layer": "${layers}", "rank": "${ranks}" },
                 "in": { "parent": "parent", "activations": "states", "start": "liked[layer=${layer},rank=${rank}]" },
                 "params": { "layer": "${layer}", "variant": "start", "epochs": 1 } },
    "coupled_scores": { "kind": "score", "foreach": { "layer": "${layers}", "rank": "${ranks}" },
                        "in": { "parent": "parent", "activations": "states",
                                "block": "coupled[layer=${layer},rank=${rank}]" } },
    "choice": { "kind": "search", "in": { "scores": ["scores", "coupled_scores"], "costs": "costs" },
                "params": { "max": { "block_parameters": "60%" }, "compare": false } },
    "child": { "kind": "assemble", "in": { "parent": "parent", "blocks": ["blocks", "coupled"], "choice": "choice" } },
    "child_quality": { "kind": "evaluate",
                       "in": { "model": "child", "parent": "parent", "tokens": "tokens", "choice": "choice" } },
    "additivity": { "kind": "additivity",
                    "in": { "parent": "parent", "scores": ["scores", "coupled_scores"], "children": ["child_quality"] } },
    "exported": { "kind": "export", "in": { "model": "child" }, "params": { "folder": "out" } }
  } })";

TEST(CoupledPipelineTest, WhatTheFirstSearchesLikeIsTrainedAsOneAndSearchedAgain) {
  const ProgramFolder folder(PUZZLE_PROGRAM);
  folder.Write("graph.json", kCoupledGraph);
  const ProgramResult first = folder.Run({"run", "graph.json", "--summary", "summary.json"});
  ASSERT_EQ(first.status, 0) << first.text();
  const json results = folder.ReadJson("summary.json")["results"];
  int trained = 0, surplus = 0;
  for (const auto& [step, figures] : results.items()) {
    if (!step.starts_with("coupled[")) continue;
    surplus += figures["parents_own"].get<bool>() ? 1 : 0;
    trained += figures["loss"] < figures["init_loss"] ? 1 : 0;
  }
  EXPECT_GE(trained, 1);
  EXPECT_GE(surplus, 2) << "two choices name two blocks of a layer at most; there are three ranks";
  EXPECT_LE(results["choice"]["block_parameters"].get<double>(),
            0.6 * 2 * (32 + 2 * 32 * 8 * 6 + 32 + 3 * 32 * 64));
  EXPECT_THAT(first.text(), HasSubstr("sums are off by"));
  EXPECT_THAT(folder.Read("out/config.json"), HasSubstr("block_configs"));

  // A budget that takes the parent itself adds nothing to the shortlists.
  const ProgramResult more = folder.Run(
      {"run", "graph.json", "-v", "--set", R"(vars.liked_budgets=["50%", "80%", "100%"])"});
  ASSERT_EQ(more.status, 0) << more.text();
  EXPECT_THAT(more.text(), HasSubstr("liked_choice[budget=100%]"));
  EXPECT_THAT(more.text(), Not(HasSubstr("start   coupled")));
}

}  // namespace
}  // namespace puzzle::testing
