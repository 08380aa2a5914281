// `puzzle run --on`: which programs make a run by several workers, on this machine, on others by
// ssh, or in an allocation of Slurm. Nothing is started here. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace puzzle {

/// One program to start: a worker, or what starts several.
struct Launch {
  std::string name;                    // "local#1", "slurm"
  std::vector<std::string> arguments;  // program first
  /// srun: its lines begin with "NUMBER: ", and what is lost is not started again.
  bool many = false;
  /// Signals reach the worker and what it started.
  bool here = false;
};

struct Fleet {
  std::vector<Launch> launches;
  size_t lanes = 0;      // of all workers; where only their machine knows, one for each
  size_t hosts = 1;      // that are expected; 2 stands for several
  std::string job_name;  // of a job to cancel when the run is stopped; "": none
};

/// What `--on` says, and what goes with it.
struct OnOptions {
  std::string where;  // "local:2", "ssh:a,b", "slurm"; "": this process computes
  /// What reaches a host: words before its name.
  std::string ssh_command = "ssh -o BatchMode=yes -o ServerAliveInterval=15";
  std::vector<std::string> srun_arguments;

  [[nodiscard]] bool given() const { return !where.empty(); }
};

/// What every worker is told, and what workers of this machine share.
struct WorkerCommand {
  std::string program;
  std::vector<std::string> arguments;  // without what follows
  std::string devices;                 // "": the default of each machine
  int threads_per_lane = 0;            // 0: an even share
  uint64_t memory_mib = 0;             // that all of this machine may use together; 0: not said
};

/// Of options for srun or sbatch one that names the job, or takes its output elsewhere: both are
/// ours, since we look for the job by its name and read what it prints. "": there is none.
[[nodiscard]] std::string OptionOfOurs(const std::vector<std::string>& words);

/// Throws Error when the options say nothing that can be.
[[nodiscard]] Fleet PlanFleet(const OnOptions& options, const WorkerCommand& command);

}  // namespace puzzle
