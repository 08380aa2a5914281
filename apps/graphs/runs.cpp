#include "apps/graphs/runs.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/frame/output.h"
#include "graph/view/run_diff.h"
#include "graph/view/run_log.h"
#include "io/error.h"
#include "io/hdf5_archive.h"

namespace puzzle {

int RunsCommand(const RunsOptions& options) {
  const std::vector<RunLog> runs = ListRuns(options.store);
  Print("{}", options.json ? RunListJson(runs) : RunListText(runs));
  return kExitDone;
}

int DiffCommand(const DiffOptions& options) {
  try {
    Store store(options.store, Hdf5Format());
    const RunDifference difference = DiffRuns(LoadRun(options.store, options.before),
                                              LoadRun(options.store, options.after), store);
    Print("{}", options.json ? DifferenceJson(difference) : DifferenceText(difference));
  } catch (const Error& error) {
    Say("{}\n", error.what());
    return kExitBadInput;
  }
  return kExitDone;
}

void AddRunsVerb(Verbs& verbs) {
  auto options = std::make_shared<RunsOptions>();
  CLI::App& verb = verbs.Add("runs", "List past runs, the last one at the end.",
                             "  puzzle runs\n"
                             "  puzzle runs --store /data/store --json",
                             [options] { return RunsCommand(*options); });
  verb.add_option("--store", options->store, "folder of finished results")->capture_default_str();
  verb.add_flag("--json", options->json, "print JSON");
}

void AddDiffVerb(Verbs& verbs) {
  auto options = std::make_shared<DiffOptions>();
  CLI::App& verb =
      verbs.Add("diff", "Compare two runs: which steps differ, why, and in what results.",
                "  puzzle diff                # the last two runs\n"
                "  puzzle diff 3 1            # numbers of `puzzle runs`: 1 is the last\n"
                "  puzzle diff 20261122T1512 20261122T1540 --json",
                [options] { return DiffCommand(*options); });
  verb.add_option("BEFORE", options->before, "a run: its id, the beginning of it, or its number")
      ->capture_default_str();
  verb.add_option("AFTER", options->after, "likewise")->capture_default_str();
  verb.add_option("--store", options->store, "folder of finished results")->capture_default_str();
  verb.add_flag("--json", options->json, "print JSON");
}

}  // namespace puzzle
