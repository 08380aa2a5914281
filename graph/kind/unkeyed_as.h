// A rule for parameters that come to a kind of which there are results.
#pragma once

#include <string>
#include <utility>

#include "graph/kind/kind.h"

namespace puzzle {

/// Not part of the key while the parameter is this text ("": while it is empty, a list or an object
/// too): what results had before it came, so that those stay valid.
[[nodiscard]] inline ParamRule UnkeyedAs(std::string value) {
  return {ParamRule::Type::kUnkeyed, 0, 0, {std::move(value)}, {}};
}

}  // namespace puzzle
