// `puzzle show`: everything about one result.
#pragma once

#include <string>

#include "apps/cli.h"

namespace puzzle {

struct ShowOptions {
  std::string name;  // a step or a key
  std::string store = "store";
  std::string picture;  // file for the result's picture; "": none
  bool json = false;
};

[[nodiscard]] int ShowCommand(const ShowOptions& options);
void AddShowVerb(Verbs& verbs);

}  // namespace puzzle
