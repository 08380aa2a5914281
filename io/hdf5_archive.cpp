#include "io/hdf5_archive.h"

#include "io/module.h"

namespace puzzle {
namespace {

const ArchiveFormat& LoadedFormat() {
  static const ArchiveFormat format = [] {
    ArchiveFormat loaded;
    reinterpret_cast<void (*)(ArchiveFormat*)>(ModuleSymbol("puzzle_hdf5", "PuzzleHdf5Format"))(
        &loaded);
    return loaded;
  }();
  return format;
}

}  // namespace

ArchiveFormat Hdf5Format() {
  return {
      [](const std::string& path) { return LoadedFormat().create(path); },
      [](const std::string& path) { return LoadedFormat().open(path); },
  };
}

}  // namespace puzzle
