#include "nodes/search/kinds.h"

#include "graph/kind/unkeyed_as.h"
#include "io/error.h"
#include "nodes/measure/measured_loss.h"
#include "nodes/measure/score_objectives.h"
#include "nodes/search/frontier.h"
#include "nodes/search/question.h"
#include "nodes/search/variant_table.h"
#include "nodes/solver/search_methods.h"

namespace puzzle {

namespace {

std::string Objectives() {
  std::string names;
  for (const std::string& objective : ScoreObjectives()) {
    names += names.empty() ? "" : ", ";
    names += objective;
  }
  return names;
}

// What is wrong with an objective and limits before the resources are known.
std::optional<std::string> CheckQuery(const nlohmann::json& objective, const nlohmann::json& min,
                                      const nlohmann::json& max) {
  // Scores hold all that can be measured.
  if (auto complaint = CheckObjective(objective, ScoreObjectives())) return complaint;
  if (!min.is_object()) return "min: expected {resource: limit}";
  if (!max.is_object()) return "max: expected {resource: limit}";
  return std::nullopt;
}

NodeKind SearchKind() {
  return Kind<SearchParams>("search", 2,
                            "One variant for every sub-block, least damage within the limits "
                            "(Puzzle, section 4.3).")
      .InList("scores", "score", "damage per variant")
      .InList("costs", "costs", "cost per variant; tables of several batch sizes search that too")
      .Param("objective", &SearchParams::objective, {},
             "the damage to minimise: " + Objectives() +
                 ", or weights: {\"kl\": 1, \"lm_loss\": 0.2}; an accuracy's damage is its loss")
      .Param("method", &SearchParams::method, {OneOf(SearchMethods())},
             "exact or cbc for the optimum, or a baseline")
      .Param("max", &SearchParams::max, {},
             "resource -> limit: {\"memory_mib\": 900, \"block_parameters\": \"70%\"}; also "
             "latency_ms, time_to_first_token_ms")
      .Param("min", &SearchParams::min, {},
             "resource -> least use; also throughput (generated tokens per second)")
      .Param(
          "loss", &SearchParams::loss, {UnkeyedAs("")},
          "{\"max\": 0.05}: the inverse question, the smallest child whose sum of scores is at "
          "most this; \"minimize\": \"memory_mib\" beside it for another resource than parameters")
      .Param("uniform", &SearchParams::uniform, {OneOf(UniformNames()), UnkeyedAs("")},
             "one kv count (kv), one FFN size (ffn) or both (all) for all layers, so that every "
             "loader reads the child")
      .Param("time_limit_s", &SearchParams::time_limit_s, {AtLeast(0.01)}, "for the solver")
      .Param("seed", &SearchParams::seed, {}, "for random, evolution and policy")
      .Param("pool", &SearchParams::pool, {Between(1, 1e6)}, "solutions to look for, best first")
      .Param("distance", &SearchParams::distance, {Between(1, 1e6)},
             "in how many sub-blocks each of them differs from all before")
      .Param("rank", &SearchParams::rank, {Between(1, 1e6)}, "which of them to take")
      .Param("compare", &SearchParams::compare, {},
             "report what other methods find, with free layers; not made for the inverse question")
      .Check([](const SearchParams& p) -> std::optional<std::string> {
        if (p.rank > p.pool) return "rank must not exceed pool";
        if (auto complaint = CheckQuery(p.objective, p.min, p.max)) return complaint;
        Question question;
        question.settings.method = p.method;
        question.settings.pool = p.pool;
        try {
          question.loss = ReadLossLimit(p.loss);
          question.uniform = ReadUniform(p.uniform);
        } catch (const Error& error) {
          return error.what();
        }
        return question.Complaint();
      })
      .Out("choice");
}

// What is wrong with a bisection before its costs are known.
std::optional<std::string> CheckBisection(const BisectParams& p) {
  for (const auto* limits : {&p.max, &p.min}) {
    for (const auto& [name, limit] : limits->items()) {
      if (BoundedResource(name) == p.resource)
        return "max and min: " + p.resource + " is what is bisected; `from` limits it";
    }
  }
  try {
    (void)ReadMeasuredLimit(p.loss);
  } catch (const Error& error) {
    return std::string("loss: ") + error.what();
  }
  try {
    (void)ReadBudgetValue(p.from);
  } catch (const Error& error) {
    return std::string("from: ") + error.what();
  }
  return CheckQuery(p.objective, p.min, p.max);
}

NodeKind BisectKind() {
  return Kind<BisectParams>("bisect", 1,
                            "Which child to measure next, when the smallest is looked for that "
                            "loses at most so much as measured: a round of a bisection.")
      .InList("scores", "score", "damage per variant")
      .In("costs", "costs", "cost per variant")
      .InOptional("previous", "choice", "of the round before")
      .InOptional("evaluation", "evaluation", "of the child that was made of it")
      .InOptional("parent_evaluation", "evaluation",
                  "of the parent, on the same text and tasks; kl needs none")
      .Param("loss", &BisectParams::loss, {Required()},
             "{\"kl\": 0.05} or {\"task_accuracy\": \"1.6%\"}: what a child may lose at most")
      .Param("resource", &BisectParams::resource, {},
             "what is to be small: block_parameters, memory_mib, runtime_ms, ...")
      .Param("from", &BisectParams::from, {},
             "the smallest size that is looked at, such as \"40%\" of the parent's")
      .Param("objective", &BisectParams::objective, {}, "as in search: which child of a size")
      .Param("max", &BisectParams::max, {}, "further limits, as in search")
      .Param("min", &BisectParams::min, {}, "further limits, as in search")
      .Param("time_limit_s", &BisectParams::time_limit_s, {AtLeast(0.01)}, "for the solver")
      .Check(CheckBisection)
      .CheckPorts([](const BisectParams&, const ConnectedPorts& has) -> std::optional<std::string> {
        if (has("previous") == has("evaluation")) return std::nullopt;
        return "the ports `previous` and `evaluation` belong together";
      })
      .Out("choice");
}

NodeKind SweepKind() {
  return Kind<SweepParams>("sweep", 1,
                           "The best children for many budgets and batch sizes: the frontier, as a "
                           "table and a picture.")
      .InList("scores", "score", "damage per variant")
      .InList("costs", "costs", "cost per variant; one table per batch size")
      .Param("budgets", &SweepParams::budgets, {Required()},
             "RESOURCE=FROM..TO:POINTS such as memory_mib=50%..100%:20; \":bisect\" behind it "
             "refines where the objective changes most")
      .Param("objective", &SweepParams::objective, {}, "as in search")
      .Param("max", &SweepParams::max, {}, "further limits, as in search")
      .Param("min", &SweepParams::min, {}, "further limits, as in search")
      .Param("baselines", &SweepParams::baselines, {OneOf(SearchMethods())},
             "methods to draw beside the optimum")
      .Param("time_limit_s", &SweepParams::time_limit_s, {AtLeast(0.01)}, "per budget")
      .Param("seed", &SweepParams::seed, {}, "for random, evolution and policy")
      .Check([](const SweepParams& p) -> std::optional<std::string> {
        try {
          const std::string swept = ReadBudgetRange(p.budgets).resource;
          if (p.max.contains(swept)) return "max: " + swept + " is what is swept";
        } catch (const Error& error) {
          return std::string("budgets: ") + error.what();
        }
        return CheckQuery(p.objective, p.min, p.max);
      })
      .Out("frontier");
}

NodeKind BlockLibraryKind() {
  return Kind<BlockLibraryParams>("block_library", 1,
                                  "Writes scores and costs as a block library for `puzzle search`: "
                                  "the JSON that NVlabs published, with our names of figures.")
      .InList("scores", "score", "damage per variant")
      .In("costs", "costs", "cost per variant")
      .Param("folder", &BlockLibraryParams::folder, {Required(), OutputFolder()}, "where to")
      .Out("export");
}

}  // namespace

std::vector<NodeKind> SearchKinds() {
  return {SearchKind(), BisectKind(), SweepKind(), BlockLibraryKind()};
}

}  // namespace puzzle
