#include "apps/running/run.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <future>
#include <memory>
#include <optional>
#include <set>

#include "apps/frame/output.h"
#include "apps/frame/signals.h"
#include "apps/graphs/plan.h"
#include "apps/running/run_fleet.h"
#include "apps/running/run_view.h"
#include "apps/running/sealed.h"
#include "graph/plan/workload.h"
#include "graph/run/demand.h"
#include "graph/run/executor.h"
#include "graph/run/machine.h"
#include "graph/store/files.h"
#include "graph/view/run_log.h"
#include "io/error.h"

namespace puzzle {
namespace {

/// Part of the free memory that steps may plan with; the rest is for what they share, and for what
/// they did not foresee.
constexpr double kMemoryPart = 0.8;

/// For the whole program: what the user says, or most of what is free.
uint64_t MemoryOfRun(const RunOptions& options) {
  if (options.memory_mib > 0) return options.memory_mib << 20;
  const uint64_t free = AvailableMemory();
  return free == 0 ? UINT64_MAX : static_cast<uint64_t>(kMemoryPart * static_cast<double>(free));
}

/// For steps on cpu lanes and what they share.
uint64_t MemoryOfSteps(const RunOptions& options) {
  const uint64_t all = MemoryOfRun(options);
  if (options.memory_mib == 0) return all;  // the program has its part already
  return all - std::min(all / 2, static_cast<uint64_t>(kProgramBytes));
}

/// A device that is not there is the user's mistake, said before anything begins. Throws Error.
void TryDevices(const std::vector<Device>& devices, const Hooks& hooks) {
  if (!hooks.on_lane_start) return;
  std::set<std::string> tried;
  for (const Device& device : devices) {
    if (device.type == "cpu" || !tried.insert(device.name()).second) continue;
    // On a thread of its own: trying binds it.
    std::async(std::launch::async, [&] { hooks.on_lane_start(device, 0); }).get();
  }
}

std::unique_ptr<EventWriter> WorkerEvents(const RunOptions& options) {
  return options.worker.given() ? MakeWorkerEvents() : nullptr;
}

Report ExecutePlan(const Plan& plan, const Forecast& forecast, Store& store,
                   const RunOptions& options, const Hooks& hooks, RunOutputs& outputs) {
  const bool silent = options.quiet || options.worker.given();
  const std::unique_ptr<ProgressView> view = silent ? nullptr : MakeOutputView(options.verbose);
  ObserverList observers;
  observers.Add(view.get());
  outputs.AddTo(observers);
  const std::unique_ptr<EventWriter> events = WorkerEvents(options);
  observers.Add(events.get());
  LocalLanesOptions lane_options;
  lane_options.devices = options.lanes.Devices();
  lane_options.threads_per_lane = options.threads_per_lane;
  const uint64_t memory = MemoryOfSteps(options);
  lane_options.memory_bytes["cpu"] = memory;
  lane_options.on_start = hooks.on_lane_start;
  lane_options.set_threads = hooks.set_threads;
  SignalWatcher signals;
  std::optional<FrontWatch> front;
  if (options.worker.given()) front.emplace([&signals] { signals.RequestStop(); });
  TryDevices(lane_options.devices, hooks);
  LocalLanes lanes(std::move(lane_options));
  const Ticker ticker(view.get());
  ExecuteOptions execute;
  execute.keep_going = options.keep_going;
  // What several steps use is a part of what there is for all.
  execute.resident_bytes = std::min(uint64_t{options.resident_mib} << 20, memory / 2);
  execute.memory_bytes = memory;
  execute.tool = PUZZLE_VERSION;
  if (hooks.numerics) execute.numerics = hooks.numerics();
  execute.command = options.graph.Command();
  execute.stop = signals.token();
  execute.classify = hooks.classify_failure;
  return Execute(plan, forecast, store, lanes, &observers, execute);
}

Report TakeHits(const Plan& plan, const Forecast& forecast, Store& store, const RunOptions& options,
                RunOutputs& outputs) {
  ObserverList observers;
  outputs.AddTo(observers);
  const std::unique_ptr<EventWriter> events = WorkerEvents(options);
  observers.Add(events.get());
  return ReportHits(plan, forecast, store, observers.empty() ? nullptr : &observers,
                    options.graph.Command());
}

/// A dozen heartbeats before a run counts as dead.
LeaseTimes LeasesFor(double lost_after_s) {
  return {lost_after_s / 12, lost_after_s, std::min(LeaseTimes().visible_s, lost_after_s / 2)};
}

/// Leaves the log of a run that computed something; one that did not changed nothing.
void SaveLog(const Plan& plan, const Report& report, const RunOptions& options) {
  RunLog log = MakeRunLog(plan, report);
  log.graph = options.graph.graph;
  log.command = options.command;
  log.again = options.graph.Command();
  log.tool = PUZZLE_VERSION;
  try {
    SaveRunLog(options.graph.store, log);
  } catch (const std::exception& error) {
    Say("warning: {}\n", error.what());
  }
}

void PrintHits(const HitsAnswer& answer, const RunOptions& options) {
  PrintText(answer.display);
  PrintText(options.quiet ? "" : "\n" + SummaryLine(answer.totals) + '\n');
}

}  // namespace

int RunCommand(const RunOptions& options, const Registry& registry, const Hooks& hooks) {
  if (options.verbose) spdlog::set_level(spdlog::level::debug);
  if (options.dry_run) {
    PlanVerbOptions plan_options;
    plan_options.graph = options.graph;
    plan_options.lanes = options.lanes;
    plan_options.selection = options.selection;
    plan_options.verbose = options.verbose;
    return PlanCommand(plan_options, registry, hooks);
  }
  if (const std::string complaint = ComplaintAboutFleet(options); !complaint.empty()) {
    Say("{}\n", complaint);
    return kExitBadInput;
  }
  try {
    CheckBeacon(options.graph.store, options.worker.beacon);
  } catch (const Error& error) {
    Say("{}\n", error.what());
    return kExitBadInput;
  }
  const std::unique_ptr<Store> opened = OpenStore(options.graph);
  Store& store = *opened;
  if (options.lost_after_s > 0) store.locks().UseLeases(LeasesFor(options.lost_after_s));
  const int64_t begin_ns = FileClock_ns();
  if (const auto answer = AnswerFromSeal(options, hooks, store)) {
    PrintHits(*answer, options);
    return kExitDone;
  }
  std::vector<ReadPath> read;
  auto prepared = Prepare(options.graph, options.selection, registry, hooks, store,
                          /*for_run=*/true, &read);
  if (!prepared) return kExitBadInput;
  const auto& [plan, forecast] = *prepared;
  spdlog::debug("{} steps: {} in the store, {} to run, {} to decide", plan.steps.size(),
                forecast.hits, forecast.runs, forecast.waits);
  const bool nothing_to_do = forecast.hits == plan.steps.size();
  const bool by_workers = options.on.given() && !nothing_to_do;
  const std::string too_few =
      nothing_to_do || by_workers  // those count their own lanes
          ? ""
          : ComplaintAboutLanes(plan, forecast, options.lanes.Devices(), store);
  if (!too_few.empty()) {
    Say("{}\n", too_few);
    return kExitBadInput;
  }
  if (!nothing_to_do && !by_workers && hooks.before_execute) hooks.before_execute();
  if (options.worker.given()) SayHello(plan, PUZZLE_VERSION);
  (void)Foresee(hooks, options.lanes.Devices().size(), store, *prepared);  // for what is left to do
  for (const std::string& complaint : store.TakeComplaints()) Say("warning: {}\n", complaint);
  RunOutputs outputs(options.outputs);
  const Report report =
      nothing_to_do ? TakeHits(plan, forecast, store, options, outputs)
      : by_workers  ? ExecuteOnFleet(plan, forecast, store, options, MemoryOfRun(options), outputs)
                    : ExecutePlan(plan, forecast, store, options, hooks, outputs);
  if (options.worker.given()) return report.ExitCode();
  if (nothing_to_do) {
    const HitsAnswer answer{DisplayText(plan, report), TotalsOf(report)};
    PrintHits(answer, options);
    SealAnswer(options, hooks, *prepared, read, answer, begin_ns, store);
  } else {
    SaveLog(plan, report, options);
    PrintText(DisplayText(plan, report));
    const std::string failures = FailuresText(plan, report, options.command);
    if (!failures.empty()) Say("\n{}", failures);
    PrintText("\n" + SummaryLine(report) + '\n');
  }
  outputs.Write(plan, report, store, options.graph.graph, options.command);
  return report.ExitCode();
}

void AddRunVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks) {
  auto options = std::make_shared<RunOptions>();
  CLI::App& verb = verbs.Add(
      "run", "Run a graph: compute what is missing in the store.",
      "  puzzle run configs/demo.json\n"
      "  puzzle run configs/demo.json --set student.steps=100 --devices cpu,cpu\n"
      "  puzzle run configs/demo.json --set 'blocks[layer=3].lr=3e-4' --summary out.json\n"
      "  puzzle run configs/demo.json --until 'blocks[layer=3,variant=ffn:*]' -k\n"
      "  puzzle run configs/demo.json --only choice --force choice\n"
      "  puzzle run configs/demo.json --accept blocks    # an edit that does not matter\n"
      "  puzzle run configs/demo.json --on local:2\n"
      "  puzzle run configs/demo.json --on ssh:gpu1,gpu2 --store /shared/store --devices cuda:0\n"
      "  puzzle run configs/demo.json --on slurm -- -N 2 --gpus-per-task=1 --ntasks-per-node=8\n"
      "Run the same command again to resume; exit status 0 done, 1 a step failed, 2 bad input,\n"
      "130 interrupted.",
      [options, &registry, &hooks] { return RunCommand(*options, registry, hooks); });
  options->command = verbs.command();
  options->graph.Declare(verb, /*with_store=*/true);
  options->lanes.Declare(verb);
  options->selection.Declare(verb);
  verb.add_option("--threads-per-lane", options->threads_per_lane,
                  "threads of each lane (default: busy lanes share the cores)")
      ->check(CLI::Range(1, 1024));
  verb.add_flag("-k,--keep-going", options->keep_going,
                "after a failure, run whatever does not depend on it");
  verb.add_flag("-n,--dry-run", options->dry_run, "print the plan and stop");
  verb.add_option(
          "--resident-mib", options->resident_mib,
          "MiB for what several steps use, per kind of device, at most half of --memory; "
          "data of more than a quarter of it is kept in files, and a larger model is walked "
          "through layer by layer")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  verb.add_option("--memory", options->memory_mib,
                  "MiB for the program, the steps on its cpu lanes and what they share (default: "
                  "most of what is free): steps that do not fit wait, what is shared makes room, "
                  "and a step that needs more runs alone")
      ->check(CLI::Range(1, 1 << 30));
  verb.add_option("--on", options->on.where,
                  "several workers on one store: local:N processes here, ssh:HOST,HOST,... one for "
                  "each, or slurm: a job of which what follows -- are the options")
      ->type_name("WHERE");
  verb.add_option("--ssh-command", options->on.ssh_command, "what reaches a host of --on ssh")
      ->capture_default_str();
  verb.add_option("SRUN", options->on.srun_arguments, "after --: options of srun, for --on slurm");
  verb.add_option("--lost-after", options->lost_after_s,
                  "claim steps by files with heartbeats beside locks; a run that shows none for so "
                  "many seconds is dead (default: 60 on network file systems and where there are "
                  "no locks)")
      ->check(CLI::Range(0.1, 86400.0));
  verb.add_option("--worker", options->worker.name)->group("");
  verb.add_option("--beacon", options->worker.beacon)->group("");
  options->outputs.Declare(verb);
  verb.add_flag("-q,--quiet", options->quiet, "no progress");
  verb.add_flag("-v,--verbose", options->verbose, "say more, in plain lines");
}

}  // namespace puzzle
