// What holds for the tables of all kinds.
#include "nodes/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "graph/kind/registry.h"
#include "graph/language/spec.h"
#include "graph/plan/plan.h"
#include "nodes/train/kinds.h"

namespace puzzle {
namespace {

// Sizes are multiplied with each other: a batch of 2^62 gave negative costs once, and exit status
// 0.
TEST(CatalogueTest, EveryWholeNumberHasAnUpperBound) {
  const std::set<std::string> free = {"seed"};  // any value is as good as another
  for (const NodeKind& kind : PuzzleKinds()) {
    const std::shared_ptr<void> params = kind.make_params();
    for (const ParamSpec& param : kind.params) {
      if (!std::holds_alternative<int64_t*>(param.member(params.get()))) continue;
      const bool bounded =
          std::any_of(param.rules.begin(), param.rules.end(), [](const ParamRule& rule) {
            return rule.type == ParamRule::Type::kBetween && rule.high <= 1e12;
          });
      EXPECT_TRUE(bounded || free.contains(param.name)) << kind.name << "." << param.name;
    }
  }
}

// What a graph says about the ports of a kind, and what is wrong with it: known before anything
// runs.
TEST(CatalogueTest, PortsThatBelongTogetherAreCheckedBeforeAnythingRuns) {
  const Registry registry(PuzzleKinds(), {});
  const auto complaints = [&](const std::string& node) {
    const std::string graph = R"({"puzzle": 1, "nodes": {
      "model": {"kind": "pretrain", "in": {"tokens": "tokens"}, "params": {"steps": 1}},
      "words": {"kind": "teacher_logits", "in": {"parent": "model", "tokens": "tokens"}},
      "text": {"kind": "synthetic_text"},
      "states": {"kind": "activations", "in": {"parent": "model", "tokens": "tokens"}},
      "block": {"kind": "bld", "in": {"parent": "model", "activations": "states"},
                "params": {"layer": 0, "variant": "ffn:50%"}},
      "scores": {"kind": "score", "in": {"parent": "model", "activations": "states", "block": "block"}},
      "costs": {"kind": "cost", "in": {"parent": "model"}, "params": {"variants": ["ffn:50%"]}},
      "choice": {"kind": "search", "in": {"scores": ["scores"], "costs": "costs"},
                 "params": {"max": {"block_parameters": "90%"}}},
      "types": {"kind": "precision_score", "in": {"parent": "model", "activations": "states"},
                "params": {"part": "embed"}},
      "chosen": {"kind": "precision", "in": {"model": "model", "scores": ["types"]},
                 "params": {"max": {"file_mib": 1}}},
      "tokens": {"kind": "tokenize", "in": {"text": "text"}, "params": {"tokenizer": "byte"}},
      "it": )" + node + "}}";
    Diagnostics found;
    const GraphSpec spec =
        ParseSpec(std::make_shared<const JsonText>(JsonText::Parse(graph, "g.json")), {}, found);
    (void)MakePlan(spec, registry, {}, found);
    return found.Text();
  };
  const std::string score =
      R"({"kind": "score", "in": {"parent": "model", "activations": "states", "block": "block")";
  const std::string gkd = R"({"kind": "gkd", "in": {"teacher": "model", "student": "model",
      "tokens": "tokens", "teacher_logits": "words")";
  const std::map<std::string, std::string> expected = {
      {score + R"(, "context": "model"}})", "`context` and `context_activations` belong together"},
      {score + R"(, "context": "model", "context_activations": "states"}})", ""},
      {R"({"kind": "precision_score", "in": {"parent": "model", "activations": "states",
          "context_activations": "states"}, "params": {"part": "head"}})",
       "`context` and `context_activations` belong together"},
      {gkd + "}}", "the teacher's logits do not have the hidden states that `cosine_weight`"},
      {gkd + R"(, "activations": "states"}})", ""},
      {gkd + R"(}, "params": {"cosine_weight": 0}})", ""},
      {R"({"kind": "cost", "params": {"variants": ["ffn:50%"]}})", "give the model one way"},
      {R"({"kind": "cost", "in": {"parent": "model"},
          "params": {"path": "some/folder", "variants": ["ffn:50%"]}})",
       "give the model one way"},
      {R"({"kind": "quantize", "in": {"model": "model", "precision": "chosen"},
          "params": {"parts": ["embed=q8_0"]}})",
       "give `type`"},
      {R"({"kind": "tokenize", "params": {"tokenizer": "byte"}})", "give the text one way"},
      {R"({"kind": "tokenize", "in": {"text": "text"}})", "needs the port `model`"},
      {R"({"kind": "quantize", "in": {"model": "model"}})",
       "one of the port `precision` and the parameter `type`"},
      {R"({"kind": "quantize", "in": {"model": "model"}, "params": {"type": "q8_0"}})", ""},
      {R"({"kind": "command", "in": {"model": "model"},
          "params": {"arguments": ["p", "a={model},b={parent}"]}})",
       "\"a={model},b={parent}\" asks for {parent}, but nothing is connected to that input"},
      {R"({"kind": "command", "params": {"arguments": ["p"], "environment": {"A": "{text}"}}})",
       "\"{text}\" asks for {text}"},
      {R"({"kind": "timed_command", "params": {"arguments": ["p", "{script}"]}})",
       "there is no parameter \"script\""},
      {R"({"kind": "command", "in": {"model": "model"},
          "params": {"arguments": ["p", "{model}{out}{device}", "{x} {} {"]}})",
       ""},
      {R"({"kind": "bld", "in": {"parent": "model", "activations": "states"},
          "params": {"layer": 0, "variant": "start"}})",
       "variant \"start\" is that of the port `start`"},
      {R"({"kind": "bld", "in": {"parent": "model", "activations": "states", "start": "block"},
          "params": {"layer": 0, "variant": "start"}})",
       ""},
      {R"({"kind": "export", "in": {"model": "model", "precision": "chosen"},
          "params": {"folder": "out"}})",
       "format \"hf\" has one type for all matrices; a precision needs \"gguf\""},
      {R"({"kind": "export", "in": {"model": "model", "precision": "chosen"},
          "params": {"folder": "out", "format": "gguf", "dtype": "q8_0"}})",
       "dtype \"q8_0\" and a precision: give one of them"},
      {R"({"kind": "export", "in": {"model": "model", "precision": "chosen"},
          "params": {"folder": "out", "format": "gguf"}})",
       ""},
      {R"({"kind": "precision", "in": {"model": "model", "parent": "model", "scores": ["types"]},
          "params": {"max": {"file_mib": 1}}})",
       "give `like`, or no parent"},
      {R"({"kind": "precision", "in": {"model": "model", "scores": ["types"]},
          "params": {"max": {"file_mb": 1}}})",
       "max: there is file_mib, but no \"file_mb\""},
      {R"({"kind": "precision", "in": {"model": "model", "scores": ["types"]},
          "params": {"like": "q8_0", "objective": {"kl": 1, "task_kl": 1}}})",
       "objective: unknown metric \"task_kl\""},
      {R"({"kind": "precision", "in": {"model": "model", "scores": ["types"]},
          "params": {"like": "q8_0", "objective": {"kl": 1, "lm_loss": 0.5}}})",
       ""},
      {R"({"kind": "bisect", "in": {"scores": ["scores"], "costs": "costs", "previous": "choice"},
          "params": {"loss": {"kl": 0.1}}})",
       "`previous` and `evaluation` belong together"},
      {R"({"kind": "sweep", "in": {"scores": ["scores"], "costs": ["costs"]},
          "params": {"budgets": "kv_mib=1..2:3", "max": {"kv_mib": 1}}})",
       "max: kv_mib is what is swept"},
      {R"({"kind": "bisect", "in": {"scores": ["scores"], "costs": "costs"},
          "params": {"loss": {"kl": 0.1}, "resource": "runtime_ms", "max": {"latency_ms": 5}}})",
       "runtime_ms is what is bisected"},
      {R"({"kind": "bisect", "in": {"scores": ["scores"], "costs": "costs"},
          "params": {"loss": {"kl": 0.1}, "resource": "runtime_ms", "min": {"throughput": 5}}})",
       "runtime_ms is what is bisected"},
      {R"({"kind": "bisect", "in": {"scores": ["scores"], "costs": "costs"},
          "params": {"loss": {"kl": 0.1}, "resource": "memory_mib", "min": {"throughput": 5}}})",
       ""}};
  for (const auto& [node, complaint] : expected) {
    if (complaint.empty())
      EXPECT_EQ(complaints(node), "") << node;
    else
      EXPECT_THAT(complaints(node), testing::HasSubstr(complaint)) << node;
  }
}

// Graphs that include another one are not looked at when that changes: headline.json once had
// distilled baselines of children that it does not make.
TEST(CatalogueTest, EveryGraphOfConfigsCanBePlanned) {
  const Registry registry(PuzzleKinds());
  PlanOptions options;  // without files: neither checkpoints nor texts are asked for
  options.layers_of = [](const std::string&) -> int64_t { return 6; };
  int graphs = 0;
  for (const char* folder : {"/configs", "/configs/paper"}) {
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(PUZZLE_SOURCE_DIR) + folder)) {
      if (entry.path().extension() != ".json") continue;
      Diagnostics found;
      const auto text =
          std::make_shared<const JsonText>(JsonText::ParseFile(entry.path().string()));
      const Plan plan = MakePlan(ParseSpec(text, {}, found), registry, options, found);
      EXPECT_EQ(found.Text(), "") << entry.path();
      EXPECT_FALSE(plan.steps.empty()) << entry.path();
      ++graphs;
    }
  }
  EXPECT_GE(graphs, 24);
}

TEST(CatalogueTest, ADistillationThatLearnsFromNothingIsRefused) {
  const std::vector<NodeKind> kinds = PuzzleKinds();
  const auto gkd = std::find_if(kinds.begin(), kinds.end(),
                                [](const NodeKind& kind) { return kind.name == "gkd"; });
  ASSERT_NE(gkd, kinds.end());
  GkdParams params;
  EXPECT_FALSE(gkd->check(&params));
  params.kl_weight = params.cosine_weight = 0;
  EXPECT_THAT(gkd->check(&params),
              testing::Optional(testing::HasSubstr("lm_weight are 0, so that nothing is learned")));
  params.lm_weight = 1;
  EXPECT_FALSE(gkd->check(&params)) << "cross entropy alone";
}

}  // namespace
}  // namespace puzzle
