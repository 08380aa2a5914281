// Modules: shared objects beside the program that hold what links a heavy library, loaded when it
// is first needed. Debian's HDF5 brings thirty libraries and costs 6 ms to load, which a run that
// has nothing to do would pay for nothing. Thread-safe.
#pragma once

#include <string>

namespace puzzle {

/// The function `symbol` (extern "C") of the module lib<name>.so, which is looked for in the folder
/// of this program, in ../lib/puzzleflow beside that, and in the folder where it was built, as what
/// is linked would be: a copy of the program alone works on the machine that built it. In the last
/// place only a file of this user's, the program's owner's or root's counts. Modules stay
/// loaded. Throws Error naming the places when there is no such file, or saying what cannot be
/// loaded.
[[nodiscard]] void* ModuleSymbol(const std::string& name, const std::string& symbol);

}  // namespace puzzle
