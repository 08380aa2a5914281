// Modules: shared objects beside the program that hold what links a heavy library, loaded when it
// is first needed. Debian's HDF5 brings thirty libraries and costs 6 ms to load, which a run that
// has nothing to do would pay for nothing. Thread-safe.
#pragma once

#include <string>

namespace puzzle {

/// The function `symbol` (extern "C") of the module lib<name>.so, which is looked for in the folder
/// of this program and in ../lib/puzzleflow beside that. Modules stay loaded. Throws Error when
/// there is no such file or a library that it needs cannot be loaded.
[[nodiscard]] void* ModuleSymbol(const std::string& name, const std::string& symbol);

}  // namespace puzzle
