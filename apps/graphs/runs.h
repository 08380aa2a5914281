// `puzzle runs` and `puzzle diff`: what past runs did, and how two of them differ.
#pragma once

#include <string>

#include "apps/cli.h"

namespace puzzle {

struct RunsOptions {
  std::string store = "store";
  bool json = false;
};

struct DiffOptions {
  std::string before = "2";  // ids of runs, beginnings of them, or numbers: 1 is the last
  std::string after = "1";
  std::string store = "store";
  bool json = false;
};

[[nodiscard]] int RunsCommand(const RunsOptions& options);
[[nodiscard]] int DiffCommand(const DiffOptions& options);
void AddRunsVerb(Verbs& verbs);
void AddDiffVerb(Verbs& verbs);

}  // namespace puzzle
