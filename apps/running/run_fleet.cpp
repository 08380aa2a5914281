#include "apps/running/run_fleet.h"

#include <fmt/format.h>
#include <unistd.h>

#include "apps/frame/signals.h"
#include "apps/running/fleet_run.h"
#include "apps/running/run_view.h"
#include "graph/crew/crew.h"
#include "io/error.h"
#include "io/file.h"
#include "io/spawn.h"

namespace puzzle {
namespace {

/// A file by which workers know the store of their front, while it lives. Where locks do not reach
/// other machines a heart tells them that it does: its files would be leftovers after a day.
class Beacon {
 public:
  explicit Beacon(Store& store) : path_(store.TemporaryPath()) {
    if (Leases* leases = store.locks().leases()) leases->ShowLife();
    (void)CreateNewFile(path_);
  }
  ~Beacon() { ::unlink(path_.c_str()); }
  Beacon(const Beacon&) = delete;
  Beacon& operator=(const Beacon&) = delete;

  [[nodiscard]] std::string name() const { return path_.substr(path_.rfind('/') + 1); }

 private:
  const std::string path_;
};

/// What a worker of this run is told.
WorkerCommand CommandOfWorkers(const RunOptions& options, const std::string& beacon) {
  WorkerCommand command;
  command.program = OwnProgram();
  command.arguments = options.graph.Arguments();
  const auto add = [&](const std::string& option, const std::string& value) {
    command.arguments.push_back(option);
    command.arguments.push_back(value);
  };
  for (const auto& pattern : options.selection.until) add("--until", pattern);
  for (const auto& pattern : options.selection.from) add("--from", pattern);
  for (const auto& pattern : options.selection.only) add("--only", pattern);
  for (const auto& pattern : options.selection.accept) add("--accept", pattern);
  add("--resident-mib", std::to_string(options.resident_mib));
  if (options.lost_after_s > 0) add("--lost-after", fmt::format("{}", options.lost_after_s));
  command.arguments.emplace_back("--keep-going");  // the front decides when to stop
  add("--beacon", beacon);
  command.devices = options.lanes.devices;
  for (int i = 0; options.lanes.devices.empty() && i < options.lanes.jobs; ++i) {
    command.devices += command.devices.empty() ? "cpu" : ",cpu";
  }
  command.threads_per_lane = options.threads_per_lane;
  command.memory_mib = options.memory_mib;
  return command;
}

}  // namespace

std::string ComplaintAboutFleet(const RunOptions& options) {
  if (!options.on.given()) {
    return options.on.srun_arguments.empty()
               ? ""
               : fmt::format("\"{}\": a second graph, or an argument of srun without --on slurm",
                             options.on.srun_arguments.front());
  }
  if (!options.selection.force.empty() || options.selection.force_all) {
    return "--force means this process: with --on every worker would run those steps";
  }
  try {
    NeedGraphFile(options.graph, "--on");
    (void)PlanFleet(options.on, CommandOfWorkers(options, ""));
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

Report ExecuteOnFleet(const Plan& plan, const Forecast& forecast, Store& store,
                      const RunOptions& options, uint64_t memory_bytes, RunOutputs& outputs) {
  const std::unique_ptr<ProgressView> view =
      options.quiet ? nullptr : MakeOutputView(options.verbose);
  ObserverList observers;
  observers.Add(view.get());
  outputs.AddTo(observers);
  const Beacon beacon(store);
  WorkerCommand command = CommandOfWorkers(options, beacon.name());
  if (options.on.where.starts_with("local") && memory_bytes < UINT64_MAX) {
    command.memory_mib = memory_bytes >> 20;
  }
  const Fleet fleet = PlanFleet(options.on, command);
  const SignalWatcher signals;
  const Ticker ticker(view.get());
  Crew crew(plan, forecast, &observers, {options.keep_going, PUZZLE_VERSION, fleet.hosts});
  crew.Begin(fleet.lanes);
  RunFleet(fleet, crew, signals.token());
  return crew.Finish(store, signals.token().stop_requested());
}

}  // namespace puzzle
