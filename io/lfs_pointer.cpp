#include "io/lfs_pointer.h"

#include <fmt/format.h>

#include "io/error.h"

namespace puzzle {

void RefuseLfsPointer(std::string_view beginning, const std::string& path) {
  if (!beginning.starts_with("version https://git-lfs.github.com/spec/")) return;
  throw Error(fmt::format(
      "{}: is a Git LFS pointer, the file itself is not there: run \"git lfs pull\" in its folder",
      path));
}

}  // namespace puzzle
