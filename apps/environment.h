// What machine and build a measurement belongs to: it enters the keys of kinds that measure time,
// and of no others. The two programs agree on it, though only one of them loads libtorch.
#pragma once

#include <map>
#include <string>

namespace puzzle {

/// CPU model, cores, libtorch version and BLAS kernel, by name. Thread-safe.
[[nodiscard]] std::map<std::string, std::string> MachineFacts();

}  // namespace puzzle
