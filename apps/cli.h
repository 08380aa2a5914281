// The command line: verbs, exit codes and what a program adds to them. Not thread-safe; one call
// per process.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "graph/kind/registry.h"
#include "graph/plan/workload.h"
#include "graph/run/executor.h"

namespace CLI {
class App;
}

namespace puzzle {

/// 0 done, 1 a step failed, 2 bad input, 130 interrupted.
enum ExitCode : int { kExitDone = 0, kExitFailed = 1, kExitBadInput = 2, kExitInterrupted = 130 };

/// The verbs of a command line under construction.
class Verbs {
 public:
  /// `command` is the command line as typed.
  Verbs(CLI::App& app, std::string command) : app_(app), command_(std::move(command)) {}

  /// Adds a verb. Declare its options on the result, bound to variables that live as long as
  /// `run` does (let `run` share them). `run` returns the exit code; what it throws is reported.
  /// `examples` are shown below the options by --help, one per line.
  CLI::App& Add(const std::string& name, const std::string& description,
                const std::string& examples, std::function<int()> run);

  /// Runs the verb that was chosen.
  [[nodiscard]] int Run() const;
  [[nodiscard]] const std::string& command() const { return command_; }

 private:
  struct Verb {
    CLI::App* app;
    std::function<int()> run;
  };
  CLI::App& app_;
  std::string command_;
  std::vector<Verb> verbs_;
};

/// What the program around the engine contributes; everything is optional.
struct Hooks {
  /// Adds verbs such as `eval`.
  std::function<void(Verbs&)> add_verbs;
  /// Called by `run` when at least one step has to run, before anything is written or started. A
  /// front program without bodies replaces itself here by the program that has them.
  std::function<void()> before_execute;
  /// Called first thing on the thread of every lane.
  std::function<void(const Device& device, int lane)> on_lane_start;
  /// Sets the threads that computations of the calling thread may use.
  std::function<void(int threads)> set_threads;
  /// Knows exceptions of the library behind the devices; see ExecuteOptions.
  std::function<FailureKind(const std::exception&)> classify_failure;
  /// Facts about machine, build and a type of device that enter the keys of kinds that measure.
  std::function<std::map<std::string, std::string>(const std::string& device_type)> environment;
  /// How many layers a checkpoint has, for {"layers_of": checkpoint} in graphs.
  std::function<int64_t(const std::string& checkpoint)> layers_of;
  /// How much work a step is, from sizes that are known before it runs.
  WorkloadFunction workload;
  /// What decides the last bits of a computation: libtorch, BLAS kernel, kind of CPU. Recorded with
  /// every result that was computed on a device; enters the keys with --strict-environment.
  std::function<std::map<std::string, std::string>()> numerics;
};

/// Parses the command line, runs a verb and returns the exit code. Every message goes to stderr.
[[nodiscard]] int PuzzleMain(int argc, char** argv, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
