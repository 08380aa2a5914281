#include "io/module.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>

#include "io/error.h"

namespace puzzle {

void* ModuleSymbol(const std::string& name, const std::string& symbol) {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  const std::string file = "lib" + name + ".so";
  std::filesystem::path path = program.parent_path() / file;
  if (!std::filesystem::exists(path)) {
    path = program.parent_path().parent_path() / "lib" / "puzzleflow" / file;
  }
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    throw Error(
        fmt::format("cannot load a part of the program: {}; build or install it again", dlerror()));
  }
  void* found = dlsym(module, symbol.c_str());
  PUZZLE_CHECK(found != nullptr, fmt::format("{} has no {}", path.string(), symbol));
  return found;
}

}  // namespace puzzle
