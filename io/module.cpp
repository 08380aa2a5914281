#include "io/module.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "io/error.h"

namespace puzzle {
namespace {

/// Whether code may be loaded from a folder that is remembered only: where the program was copied
/// to, somebody else may have made a folder of that name.
bool IsOurs(const std::string& path) {
  struct stat module {};
  struct stat program {};
  if (::stat(path.c_str(), &module) != 0 || ::stat("/proc/self/exe", &program) != 0) return false;
  const bool known =
      module.st_uid == 0 || module.st_uid == ::geteuid() || module.st_uid == program.st_uid;
  return known && (module.st_mode & S_IWOTH) == 0;
}

}  // namespace

void* ModuleSymbol(const std::string& name, const std::string& symbol) {
  namespace fs = std::filesystem;
  const fs::path beside = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path places[] = {beside, beside.parent_path() / "lib" / "puzzleflow",
                             PUZZLE_MODULE_FOLDER};
  const std::string file = "lib" + name + ".so";
  fs::path path;
  for (const fs::path& place : places) {
    std::error_code unreadable;  // such a folder holds nothing for us
    if (!fs::exists(place / file, unreadable)) continue;
    if (place == PUZZLE_MODULE_FOLDER && !IsOurs(place / file)) continue;
    path = place / file;
    break;
  }
  if (path.empty()) {
    throw Error(fmt::format(
        "a part of the program is missing: {} is in none of {}, {} and {}; copy it along with the "
        "program, or build it again",
        file, places[0].string(), places[1].string(), places[2].string()));
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
