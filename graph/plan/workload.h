// How long a run will take, and how much disk and memory, before any of it ran: from sizes that are
// known beforehand (a checkpoint's header, a text's length, parameters), and the speed of steps
// that ran, or of the machine. What is not known is named, not guessed. Thread-compatible.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"

namespace puzzle {

/// What the program itself takes, with its libraries.
inline constexpr double kProgramBytes = 300e6;

/// What one step will have to do.
struct Workload {
  bool is_known = false;    // else the figures mean nothing
  double flops = 0;         // of its products, forward and backward
  double bf16_flops = 0;    // of products that may be faster than those, not among them
  double host_s = 0;        // what does not scale with products: reading, cutting, writing
  double disk_bytes = 0;    // of its result
  double memory_bytes = 0;  // of its own while it runs
  double shared_bytes = 0;  // of inputs that all steps hold together
  /// What steps that take its result may ask of it; only those who work loads out know the type.
  std::shared_ptr<const void> facts = nullptr;
};

/// The loads of the steps at every port of a kind.
using PortWorkloads = std::vector<std::vector<const Workload*>>;

/// Works out the load of a step of this kind from its parameters and what is known of its inputs.
using WorkloadFunction =
    std::function<Workload(const NodeKind& kind, const void* params, const PortWorkloads& inputs)>;

/// Floating-point operations a second of all cores together, in products as this program does them.
struct MachineSpeed {
  double flops = 0;
  double bf16_flops = 0;
};

/// What a run will need.
struct Outlook {
  double disk_bytes = 0;             // of results that are not there yet
  double memory_bytes = 0;           // of the largest steps, one per lane, side by side
  bool is_predicted = false;         // some step's time comes from sizes
  std::vector<std::string> unknown;  // nodes of which neither sizes nor a past run tell anything
};

/// Replaces the guesses of `forecast` by what sizes tell, and says there what steps take. Steps
/// that ran before keep their own past; results of a kind that are hits say how fast this machine
/// is for that kind, else `speed` does, which is asked for at most once. `lanes` share the cores
/// where a node has many steps.
[[nodiscard]] Outlook Foresee(const Plan& plan, const WorkloadFunction& workload,
                              const std::function<MachineSpeed()>& speed, size_t lanes,
                              Store& store, Forecast& forecast);

/// "1.2 GiB of disk, at most 2.0 GiB of memory; of unknown length: tasks".
[[nodiscard]] std::string OutlookText(const Outlook& outlook);

}  // namespace puzzle
