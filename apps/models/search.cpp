#include "apps/models/search.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/frame/number_checks.h"
#include "apps/frame/output.h"
#include "apps/frame/signals.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json_text.h"
#include "nodes/search/block_library.h"
#include "nodes/search/frontier.h"
#include "nodes/search/question.h"
#include "nodes/search/search_answer.h"
#include "nodes/solver/search_methods.h"

namespace puzzle {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

void Warn(const std::string& message) {
  Say("warning: {}\n", message);
}

// "memory_mib=80000" and "memory_mib=85%" into {"memory_mib": 80000} and {"memory_mib": "85%"}.
json LimitsOf(const std::vector<std::string>& texts, const char* flag) {
  json limits = json::object();
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error(
          fmt::format("{} {}: expected RESOURCE=LIMIT such as memory_mib=80000", flag, text));
    }
    const std::string resource = text.substr(0, equals);
    if (limits.contains(resource)) throw Error(fmt::format("{} {}: given twice", flag, resource));
    BudgetValue value;
    try {
      value = ReadBudgetValue(text.substr(equals + 1));
    } catch (const Error& error) {
      throw WithContext(fmt::format("{} {}", flag, resource), error);
    }
    limits[resource] = value.percent ? json(value.Text()) : json(value.value);
  }
  return limits;
}

Objective ObjectiveOf(const std::string& text) {
  if (!text.starts_with('{')) return ReadObjective(json(text));
  return ReadObjective(json(JsonText::Parse(text, "--objective").value()));
}

VariantTable LibraryOf(const SearchOptions& options) {
  VariantTable table = ReadBlockLibrary(options.library, Warn);
  const double sequence = table.batch > 0 ? table.tokens / table.batch : 0;
  if (options.batch > 0) table.batch = options.batch;
  table.tokens = table.batch * (options.sequence > 0 ? options.sequence : sequence);
  return table;
}

SearchSettings SettingsOf(const SearchOptions& options) {
  SearchSettings settings;
  settings.method = options.solver;
  settings.time_limit_s = options.time_limit_s;
  settings.seed = options.seed;
  settings.pool = options.pool;
  settings.distance = options.distance;
  return settings;
}

ordered_json PointJson(const FrontierPoint& point) {
  ordered_json json = {{"method", point.method},
                       {"budget", point.budget.Text()},
                       {"batch", point.batch},
                       {"status", SolveStatusName(point.solution.status)},
                       {"time_s", point.solution.time_s}};
  if (point.variants.empty()) return json;
  json["objective"] = point.solution.objective;
  json["bound"] = point.solution.bound;
  json["dominated"] = point.dominated;
  json["totals"] = point.totals;
  return json;
}

// Limits as a graph has them.
struct Bounds {
  json min, max;
};

Bounds BoundsOf(const SearchOptions& options) {
  Bounds bounds{LimitsOf(options.min, "--min"), LimitsOf(options.max, "--max")};
  if (options.throughput > 0) {
    if (bounds.min.contains("throughput")) throw Error("--min throughput: given twice");
    bounds.min["throughput"] = options.throughput;
  }
  return bounds;
}

Question QuestionOf(const SearchOptions& options) {
  Question question{ObjectiveOf(options.objective),
                    {},
                    std::nullopt,
                    ReadUniform(options.uniform),
                    SettingsOf(options)};
  if (!options.max_loss && !options.minimize.empty()) {
    throw Error("--minimize: say with --max-loss how much may be lost");
  }
  if (options.max_loss) {
    json loss = {{"max", *options.max_loss}};
    if (!options.minimize.empty()) loss["minimize"] = options.minimize;
    question.loss = ReadLossLimit(loss);
    if (options.compare) throw Error("--compare: other methods do not answer --max-loss");
  }
  if (!options.sweep.empty() && (options.max_loss || !options.uniform.empty())) {
    throw Error("--sweep: neither --max-loss nor --uniform can be swept");
  }
  return question;
}

int SweepLibrary(const SearchOptions& options, const VariantTable& table, const Question& question,
                 const Bounds& bounds) {
  SweepRequest request{ReadBudgetRange(options.sweep), question.objective, question.settings, {}};
  if (options.compare) request.baselines = {"greedy", "paper_greedy", "uniform", "depth", "random"};
  const Frontier frontier = Sweep({table}, request, bounds.min, bounds.max, Warn);
  if (!options.svg.empty()) WriteWholeFile(options.svg, FrontierSvg(frontier));
  if (options.json) {
    ordered_json points = ordered_json::array();
    for (const auto* list : {&frontier.points, &frontier.baselines}) {
      for (const FrontierPoint& point : *list) points.push_back(PointJson(point));
    }
    Print("{}\n", ordered_json{{"resource", frontier.resource}, {"points", points}}.dump());
  } else {
    Print("{}", FrontierTable(frontier));
  }
  return kExitDone;
}

int SearchLibrary(const SearchOptions& options, const VariantTable& table,
                  const Question& question) {
  const TableAnswer answer = AskTable(table, question, Warn);
  const auto compare = [&] {
    SearchSettings settings = question.settings;
    settings.sizes = ParameterCounts(table, answer.whole());
    return CompareMethods(answer.whole().problem, settings);
  };
  if (options.json) {
    ordered_json json = AnswerJson(table, answer);
    if (options.compare) json["methods"] = ComparisonJson(compare());
    Print("{}\n", json.dump());
  } else {
    Print("{}", AnswerText(table, answer, options.solver));
    if (options.compare) Print("\n{}", ComparisonTable(compare(), true));
  }
  return answer.solutions.front().choice.empty() ? kExitFailed : kExitDone;
}

}  // namespace

int SearchCommand(const SearchOptions& options) {
  try {
    const SignalWatcher signals;
    Question question = QuestionOf(options);
    question.settings.should_stop = [stop = signals.token()] { return stop.stop_requested(); };
    const Bounds bounds = BoundsOf(options);
    const VariantTable table = LibraryOf(options);
    int status = kExitDone;
    if (options.sweep.empty()) {
      question.limits = ReadLimits(table, bounds.min, bounds.max);
      status = SearchLibrary(options, table, question);
    } else {
      status = SweepLibrary(options, table, question, bounds);
    }
    return signals.token().stop_requested() ? kExitInterrupted : status;
  } catch (const Error& error) {
    Say("{}\n", error.what());
    return kExitBadInput;
  }
}

void AddSearchVerb(Verbs& verbs) {
  auto options = std::make_shared<SearchOptions>();
  CLI::App& verb = verbs.Add(
      "search", "Choose one variant per layer of a block library, the best within limits.",
      "  puzzle search block_library.json --objective kl_div --max memory_mib=80000 \\\n"
      "      --max runtime_ms=51200 --json\n"
      "  puzzle search block_library.json --objective kl_div --max memory_mib=80000 \\\n"
      "      --throughput 6000 --batch 256 --sequence 1200\n"
      "  puzzle search block_library.json --objective kl_div --max memory_mib=85% \\\n"
      "      --max runtime_ms=85% --pool 3 --distance 20\n"
      "  puzzle search block_library.json --objective kl_div --max memory_mib=60% --compare\n"
      "  puzzle search block_library.json --objective kl_div --max-loss 2.5\n"
      "  puzzle search block_library.json --objective kl_div --max-loss 2.5 --minimize runtime_ms\n"
      "  puzzle search block_library.json --objective kl_div --max memory_mib=70% --uniform all\n"
      "  puzzle search block_library.json --objective kl_div --sweep memory_mib=50%..100%:50 \\\n"
      "      --compare --svg frontier.svg\n"
      "Exit status 0 a choice was found, 1 there is none within the limits or in the time, 2 bad\n"
      "input, 130 interrupted.",
      [options] { return SearchCommand(*options); });
  verb.add_option("LIBRARY", options->library, "block library, a JSON file")->required();
  verb.add_option(
          "--objective", options->objective,
          "metric to add up, less being better, unless its name has \"accuracy\" in it; or "
          "weights: '{\"kl_div\": 1, \"lm_loss\": 0.2}', negative ones where more is better")
      ->required();
  verb.add_option("--max", options->max,
                  "RESOURCE=LIMIT, absolute or in per cent of the parent; may be repeated")
      ->allow_extra_args(false)
      ->type_name("RESOURCE=LIMIT");
  verb.add_option("--min", options->min, "the same for the least use")
      ->allow_extra_args(false)
      ->type_name("RESOURCE=LIMIT");
  verb.add_option("--max-loss", options->max_loss,
                  "the inverse question: the smallest child whose sum of the objective is at most "
                  "this; of equally small ones one that loses least")
      ->type_name("LOSS");
  verb.add_option("--minimize", options->minimize,
                  "with --max-loss: the resource that should be small (default: parameters)")
      ->type_name("RESOURCE");
  verb.add_option("--uniform", options->uniform,
                  "one kv count (kv), one FFN size (ffn) or both (all) for all layers, as every "
                  "loader reads it, and what that costs against free layers")
      ->check(CLI::IsMember({"kv", "ffn", "all"}));
  verb.add_option("--throughput", options->throughput,
                  "tokens per second at least: limits runtime_ms to 1000 * batch * sequence / "
                  "throughput")
      ->check(Positive());
  verb.add_option("--batch", options->batch,
                  "sequences at once when runtime_ms was measured (default: from "
                  "measurement_info.json beside the library)")
      ->check(Positive());
  verb.add_option("--sequence", options->sequence, "tokens per sequence, likewise")
      ->check(Positive());
  verb.add_option("--solver", options->solver, "how to search")
      ->check(CLI::IsMember(SearchMethods()))
      ->capture_default_str();
  verb.add_option("--pool", options->pool, "how many solutions")->check(Positive());
  verb.add_option("--distance", options->distance,
                  "in how many layers each differs at least from all before")
      ->check(Positive());
  verb.add_option("--time-limit", options->time_limit_s, "seconds per solution")
      ->check(Positive())
      ->capture_default_str();
  verb.add_option("--seed", options->seed, "of random, evolution and policy")
      ->capture_default_str();
  verb.add_option("--sweep", options->sweep,
                  "RESOURCE=FROM..TO:POINTS: the optimum at many budgets; \":bisect\" behind it "
                  "refines where the objective changes most");
  verb.add_option("--svg", options->svg, "write the picture of the sweep to this file")
      ->needs("--sweep");
  verb.add_flag("--compare", options->compare, "also search by every other method");
  verb.add_flag("--json", options->json, "print one JSON object");
}

}  // namespace puzzle
