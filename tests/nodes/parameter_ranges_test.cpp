// What numbers a graph may give. A graph that was accepted once still is: a range may grow, and
// this table with it, but it does not shrink by accident.
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <string>
#include <utility>

#include "nodes/catalogue.h"

namespace puzzle {
namespace {

TEST(ParameterRangesTest, AreThoseThatGraphsRelyOn) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kMany = 65'536, kBatch = 1'048'576, kTokens = 16'777'216, kMib = 1'073'741'824;
  using Range = std::pair<double, double>;
  const std::map<std::string, Range> expected = {{"activations.batch", {1, kBatch}},
                                                 {"activations.max_mib", {0, kMib}},
                                                 {"bench.batch", {1, kBatch}},
                                                 {"bench.decode", {1, kTokens}},
                                                 {"bench.prefill", {1, kTokens}},
                                                 {"bench.rounds", {1, 1000}},
                                                 {"bench.threads", {0, 4096}},
                                                 {"bisect.time_limit_s", {0.01, kInfinity}},
                                                 {"bld.batch", {1, kBatch}},
                                                 {"bld.clip", {0, kInfinity}},
                                                 {"bld.epochs", {0, kInfinity}},
                                                 {"bld.holdout", {1, 1e9}},
                                                 {"bld.layer", {0, kMany}},
                                                 {"bld.lr", {0, 1}},
                                                 {"bld.multiple_of", {1, kBatch}},
                                                 {"bld.refit_tokens", {0, 1e12}},
                                                 {"bld.warmup", {0, 1}},
                                                 {"bld.weight_decay", {0, 1}},
                                                 {"command.memory_mib", {0, kMib}},
                                                 {"command.threads", {0, 4096}},
                                                 {"cost.batch", {1, kBatch}},
                                                 {"cost.generation", {0, kTokens}},
                                                 {"cost.multiple_of", {1, kBatch}},
                                                 {"cost.prefill", {1, kTokens}},
                                                 {"evaluate.batch", {1, kBatch}},
                                                 {"evaluate.max_questions", {0, 1e9}},
                                                 {"evaluate.positions", {0, 1e12}},
                                                 {"evaluate.sample_tokens", {0, kTokens}},
                                                 {"gkd.batch", {1, kBatch}},
                                                 {"gkd.checks", {1, kBatch}},
                                                 {"gkd.clip", {0, kInfinity}},
                                                 {"gkd.cosine_weight", {0, kInfinity}},
                                                 {"gkd.devices", {1, 64}},
                                                 {"gkd.holdout", {0, 1e9}},
                                                 {"gkd.kl_weight", {0, kInfinity}},
                                                 {"gkd.lm_weight", {0, kInfinity}},
                                                 {"gkd.lr", {0, 1}},
                                                 {"gkd.patience", {0, kBatch}},
                                                 {"gkd.rank", {1, kBatch}},
                                                 {"gkd.steps", {1, 1e12}},
                                                 {"gkd.warmup", {0, 1}},
                                                 {"gkd.weight_decay", {0, 1}},
                                                 {"importance.batch", {1, kBatch}},
                                                 {"importance.batches", {1, kBatch}},
                                                 {"importance.seed", {0, kMib}},
                                                 {"join.layer", {0, kMany}},
                                                 {"join.multiple_of", {1, kBatch}},
                                                 {"latency.batch", {1, kBatch}},
                                                 {"latency.copies", {0, 1024}},
                                                 {"latency.generation", {1, kTokens}},
                                                 {"latency.multiple_of", {1, kBatch}},
                                                 {"latency.prefill", {1, kTokens}},
                                                 {"latency.seconds", {0.001, 3600}},
                                                 {"long_context.lengths", {64, kTokens}},
                                                 {"long_context.questions", {1, 1e6}},
                                                 {"long_context.seed", {0, kMib}},
                                                 {"model_latency.batch", {1, kBatch}},
                                                 {"model_latency.generation", {1, kTokens}},
                                                 {"model_latency.prefill", {1, kTokens}},
                                                 {"model_latency.seconds", {0.001, 3600}},
                                                 {"precision.time_limit_s", {0.01, kInfinity}},
                                                 {"precision_score.batch", {1, kBatch}},
                                                 {"precision_score.layer", {0, kMany}},
                                                 {"pretrain.batch", {1, kBatch}},
                                                 {"pretrain.clip", {0, kInfinity}},
                                                 {"pretrain.ffn", {1, kBatch}},
                                                 {"pretrain.heads", {1, kMany}},
                                                 {"pretrain.hidden", {2, kBatch}},
                                                 {"pretrain.kv_heads", {1, kMany}},
                                                 {"pretrain.layers", {1, 256}},
                                                 {"pretrain.lr", {0, 1}},
                                                 {"pretrain.steps", {1, 1e12}},
                                                 {"pretrain.warmup", {0, 1}},
                                                 {"pretrain.weight_decay", {0, 1}},
                                                 {"remove_blocks.batch", {1, kBatch}},
                                                 {"score.batch", {1, kBatch}},
                                                 {"search.distance", {1, 1e6}},
                                                 {"search.pool", {1, 1e6}},
                                                 {"search.rank", {1, 1e6}},
                                                 {"search.time_limit_s", {0.01, kInfinity}},
                                                 {"shortlist.layer", {0, kMany}},
                                                 {"shortlist.rank", {1, 1e6}},
                                                 {"speed_report.batch", {0, kBatch}},
                                                 {"speed_report.keep", {0, 1000}},
                                                 {"speed_report.speedup", {0, 1e6}},
                                                 {"sweep.time_limit_s", {0.01, kInfinity}},
                                                 {"synthetic_text.stories", {1, 1e7}},
                                                 {"tasks.limit", {0, 1e9}},
                                                 {"teacher_logits.batch", {1, kBatch}},
                                                 {"teacher_logits.k", {1, kMany}},
                                                 {"timed_command.memory_mib", {0, kMib}},
                                                 {"timed_command.threads", {0, 4096}},
                                                 {"tokenize.length", {2, kTokens}},
                                                 {"tokenize.sequences", {0, 1e9}}};
  std::map<std::string, Range> found;
  for (const NodeKind& kind : PuzzleKinds()) {
    for (const ParamSpec& param : kind.params) {
      for (const ParamRule& rule : param.rules) {
        if (rule.type == ParamRule::Type::kBetween)
          found[kind.name + '.' + param.name] = {rule.low, rule.high};
        if (rule.type == ParamRule::Type::kAtLeast)
          found[kind.name + '.' + param.name] = {rule.low, kInfinity};
      }
    }
  }
  for (const auto& [name, range] : expected) EXPECT_EQ(found[name], range) << name;
  EXPECT_EQ(found.size(), expected.size()) << "a number without a line above";
}

}  // namespace
}  // namespace puzzle
