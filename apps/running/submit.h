// `puzzle submit`: a run in a job of Slurm, which goes on when this program has ended.
#pragma once

#include <string>
#include <vector>

#include "apps/cli.h"
#include "apps/frame/load.h"

namespace puzzle {

struct SubmitOptions {
  GraphOptions graph;
  SelectionOptions selection;
  LaneOptions lanes;
  bool keep_going = false;
  bool dry_run = false;
  std::vector<std::string> sbatch_arguments;
};

/// The batch script: its job is called `token`, which is how it is found again, for numbers of jobs
/// are given out twice. `folder`: where it runs; `output`: what it prints goes there.
[[nodiscard]] std::string BatchScript(const SubmitOptions& options, const std::string& token,
                                      const std::string& folder, const std::string& program,
                                      const std::string& output);

[[nodiscard]] int SubmitCommand(const SubmitOptions& options, const Registry& registry,
                                const Hooks& hooks);
void AddSubmitVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
