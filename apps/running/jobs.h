// `puzzle jobs`: what became of the jobs that `puzzle submit` sent to Slurm.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/cli.h"

namespace puzzle {

/// A job that was submitted with a store.
struct SentJob {
  std::string token;      // its name in Slurm
  std::string last_line;  // of its output; "" when there is none
};

/// The jobs of a store, oldest first: its scripts and what they printed.
[[nodiscard]] std::vector<SentJob> SentJobs(const std::string& store);

/// "17 RUNNING" and the like by token, from the lines "TOKEN|NUMBER|STATE|REASON" of squeue.
[[nodiscard]] std::map<std::string, std::string> ParseQueue(const std::string& lines);

/// A line per job. Numbers of jobs are given out twice and forgotten after minutes; so a job is
/// known by its token, and one that Slurm does not know either left the summary of its run or is
/// LOST.
[[nodiscard]] std::string JobsText(const std::vector<SentJob>& jobs,
                                   const std::map<std::string, std::string>& queue);

void AddJobsVerb(Verbs& verbs);

}  // namespace puzzle
