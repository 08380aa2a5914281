// `puzzle validate`: checks graphs exactly as `run` does, without running them.
#pragma once

#include <string>
#include <vector>

#include "apps/cli.h"

namespace puzzle {

struct ValidateOptions {
  std::vector<std::string> graphs;
  std::vector<std::string> settings;
};

[[nodiscard]] int ValidateCommand(const ValidateOptions& options, const Registry& registry,
                                  const Hooks& hooks);
void AddValidateVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
