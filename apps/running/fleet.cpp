#include "apps/running/fleet.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "graph/run/lanes.h"
#include "graph/run/machine.h"
#include "graph/store/locks.h"
#include "graph/view/show.h"
#include "io/error.h"

namespace puzzle {
namespace {

constexpr size_t kMaxWorkers = 1024;

using Words = std::vector<std::string>;

Words Split(const std::string& text, char separator) {
  Words words;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// 0 for what is none.
size_t CountIn(const std::string& text) {
  size_t count = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

void Append(Words& words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
}

Words WorkerWords(const WorkerCommand& command, const std::string& name) {
  Words words = {command.program};
  Append(words, command.arguments);
  Append(words, {"--worker", name});
  return words;
}

Error NoSuchPlace(const std::string& where) {
  return Error(fmt::format("--on {}: expected local:N, ssh:HOST,HOST,... or slurm", where));
}

/// The lanes that the user listed, dealt out; without a list every worker has one cpu lane, or as
/// many as there are cores for.
Fleet OnThisMachine(size_t workers, const WorkerCommand& command) {
  const std::vector<Device> devices =
      command.devices.empty() ? DefaultDevices() : ParseDevices(command.devices);
  if (!command.devices.empty() && devices.size() < workers) {
    throw Error(
        fmt::format("--on local:{} shares the lanes of --devices among its workers, and {} "
                    "are too few",
                    workers, devices.size()));
  }
  const auto cores = static_cast<size_t>(AvailableCores());
  Fleet fleet;
  for (size_t i = 0; i < workers; ++i) {
    Words lanes;
    for (size_t d = i; d < devices.size(); d += workers) lanes.push_back(devices[d].name());
    if (lanes.empty()) lanes.push_back(Device().name());
    fleet.lanes += lanes.size();
    const std::string name = fmt::format("local#{}", i + 1);
    Words words = WorkerWords(command, name);
    Append(words, {"--devices", fmt::format("{}", fmt::join(lanes, ","))});
    const size_t share = std::max<size_t>(1, cores / (workers * lanes.size()));
    const size_t threads =
        command.threads_per_lane > 0 ? static_cast<size_t>(command.threads_per_lane) : share;
    Append(words, {"--threads-per-lane", std::to_string(threads)});
    if (command.memory_mib > 0) {
      Append(words,
             {"--memory", std::to_string(std::max<uint64_t>(1, command.memory_mib / workers))});
    }
    fleet.launches.push_back({name, std::move(words), false, true});
  }
  return fleet;
}

/// What the user said of lanes, for workers that have a machine to themselves.
WorkerCommand WithLanes(WorkerCommand command) {
  if (!command.devices.empty()) Append(command.arguments, {"--devices", command.devices});
  if (command.threads_per_lane > 0) {
    Append(command.arguments, {"--threads-per-lane", std::to_string(command.threads_per_lane)});
  }
  if (command.memory_mib > 0) {
    Append(command.arguments, {"--memory", std::to_string(command.memory_mib)});
  }
  return command;
}

/// Of a worker that has a machine to itself.
size_t LanesOfOne(const WorkerCommand& command) {
  return command.devices.empty() ? 1 : ParseDevices(command.devices).size();
}

Fleet OnHosts(const Words& hosts, const OnOptions& options, const WorkerCommand& command) {
  Fleet fleet;
  fleet.lanes = hosts.size() * LanesOfOne(command);
  fleet.hosts = std::set<std::string>(hosts.begin(), hosts.end()).size();
  for (size_t i = 0; i < hosts.size(); ++i) {
    if (hosts[i].front() == '-') throw NoSuchPlace(options.where);
    const std::string name = fmt::format("ssh#{}", i + 1);
    Words words = Split(options.ssh_command, ' ');
    words.push_back(hosts[i]);
    words.push_back(fmt::format("cd {} && exec {}",
                                ShellWord(std::filesystem::current_path().string()),
                                ShellCommand(WorkerWords(command, name))));
    fleet.launches.push_back({name, std::move(words), false, false});
  }
  return fleet;
}

/// Inside an allocation a worker per device, unless the user said how many tasks there are to be;
/// else srun makes one from what the user says.
Fleet InSlurm(const OnOptions& options, const WorkerCommand& command) {
  if (const std::string word = OptionOfOurs(options.srun_arguments); !word.empty()) {
    throw Error(
        fmt::format("\"{}\": a run names its job, to cancel it, and reads its output", word));
  }
  Fleet fleet;
  Words words = {"srun", "--label", "--kill-on-bad-exit=0", "--wait=0", "--no-kill"};
  const std::string tasks = Variable("SLURM_NTASKS"), gpus = Variable("SLURM_GPUS_ON_NODE");
  if (Variable("SLURM_JOB_ID").empty()) {
    fleet.job_name = "puzzle-" + ProcessToken();
    Append(words, {"--job-name=" + fleet.job_name, "--comment=" + fleet.job_name});
  } else {
    if (tasks.empty()) {
      const std::string nodes = Variable("SLURM_NNODES");
      Append(words, {"--nodes=" + (nodes.empty() ? "1" : nodes),
                     "--ntasks-per-node=" + (gpus.empty() ? "1" : gpus)});
      // An allocation has a core per node unless more were asked for; srun would refuse.
      words.emplace_back("--overcommit");
    }
    const size_t devices = std::max<size_t>(1, CountIn(Variable("SLURM_NNODES"))) * CountIn(gpus);
    const bool one_each = tasks.empty() || Variable("SLURM_NTASKS_PER_NODE") == gpus ||
                          (devices > 0 && CountIn(tasks) == devices);
    if (!gpus.empty() && one_each) {
      words.emplace_back("--gpus-per-task=1");
    }
  }
  const std::string cpus = Variable("SLURM_CPUS_PER_TASK");
  if (!cpus.empty()) words.push_back("--cpus-per-task=" + cpus);
  Append(words, options.srun_arguments);
  Append(words, WorkerWords(command, "slurm"));
  fleet.launches.push_back({"slurm", std::move(words), true, false});
  fleet.lanes = LanesOfOne(command);
  fleet.hosts = Variable("SLURM_NNODES") == "1" ? 1 : 2;
  return fleet;
}

}  // namespace

std::string OptionOfOurs(const std::vector<std::string>& words) {
  const auto ours = std::find_if(words.begin(), words.end(), [](const std::string& word) {
    const std::string name = word.substr(0, word.find('='));
    return name == "--job-name" || name == "--output" || word.starts_with("-J") ||
           word.starts_with("-o");
  });
  return ours == words.end() ? "" : *ours;
}

Fleet PlanFleet(const OnOptions& options, const WorkerCommand& command) {
  const size_t colon = options.where.find(':');
  const std::string place = options.where.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : options.where.substr(colon + 1);
  if (place != "slurm" && !options.srun_arguments.empty()) {
    throw Error(
        fmt::format("\"{}\" is for srun, which needs --on slurm", options.srun_arguments.front()));
  }
  if (place == "local") {
    size_t workers = 0;
    const auto [end, failure] = std::from_chars(rest.data(), rest.data() + rest.size(), workers);
    if (failure != std::errc() || end != rest.data() + rest.size() || workers == 0 ||
        workers > kMaxWorkers) {
      throw NoSuchPlace(options.where);
    }
    return OnThisMachine(workers, command);
  }
  if (place == "ssh") {
    const Words hosts = Split(rest, ',');
    if (hosts.empty() || hosts.size() > kMaxWorkers) throw NoSuchPlace(options.where);
    return OnHosts(hosts, options, WithLanes(command));
  }
  if (place == "slurm" && rest.empty()) return InSlurm(options, WithLanes(command));
  throw NoSuchPlace(options.where);
}

}  // namespace puzzle
