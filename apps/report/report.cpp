#include "apps/report/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <filesystem>

#include "apps/frame/output.h"
#include "apps/report/report_page.h"
#include "graph/language/spec.h"
#include "io/file.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

constexpr uint64_t kMaxGraphBytes = 16 << 20;

// The graph's files as they are written, comments too.
std::vector<std::pair<std::string, std::string>> FilesOf(const GraphOptions& graph) {
  Diagnostics unsaid;  // planning has said it
  const auto text = std::make_shared<const JsonText>(ReadGraph(graph.graph));
  std::vector<std::pair<std::string, std::string>> files;
  for (const FileSpec& file : ParseSpec(text, graph.settings, unsaid).files) {
    const std::string& path = file.text->source();
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error))
      files.emplace_back(path, ReadWholeFile(path, kMaxGraphBytes));
  }
  return files;
}

std::string OutputOf(const ReportOptions& options) {
  if (!options.output.empty()) return options.output;
  const std::string stem = std::filesystem::path(options.graph.graph).stem().string();
  return (stem.empty() || stem == "-" ? "report" : stem) + ".html";
}

}  // namespace

int ReportCommand(const ReportOptions& options, const Registry& registry, const Hooks& hooks) {
  const std::string output = OutputOf(options);
  CheckWritable(output);
  const std::unique_ptr<Store> store = OpenStore(options.graph);
  const auto prepared =
      Prepare(options.graph, Selection(), registry, hooks, *store, /*for_run=*/false);
  if (!prepared) return kExitBadInput;
  const auto& [plan, forecast] = *prepared;
  if (forecast.hits == 0) {
    Say("puzzle: {} has no result of {}; run it first: {}\n", options.graph.store,
        options.graph.graph, options.graph.Command());
    return kExitBadInput;
  }
  ReportData data = CollectReport(plan, forecast, *store, options.events);
  data.files = FilesOf(options.graph);
  ReportHead head;
  head.title = options.graph.graph;
  head.command = options.graph.Command();
  head.tool = std::string("puzzle ") + PUZZLE_VERSION;
  head.date = fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(std::time(nullptr)));
  const std::string page = ReportPage(plan, forecast, data, head);
  WriteWholeFile(output, page);
  Print("{}: {}, {} of {} steps have their results\n", output, SizeText(page.size()), forecast.hits,
        plan.steps.size());
  return kExitDone;
}

void AddReportVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App& verb = verbs.Add(
      "report",
      "Write what a store knows about a graph as one HTML page: models, frontier, layers, costs, "
      "training, tasks, samples, time; every number as CSV. Computes nothing.",
      "  puzzle report configs/demo.json\n"
      "  puzzle report configs/smollm2.json --output smollm2.html --events run.jsonl",
      [options, &registry, &hooks] { return ReportCommand(*options, registry, hooks); });
  options->graph.Declare(verb, /*with_store=*/true);
  verb.add_option("--output", options->output,
                  "file to write (default: the graph's name and .html)");
  verb.add_option("--events", options->events, "file of `run --events`, for curves of losses")
      ->check(CLI::ExistingFile);
}

}  // namespace puzzle
