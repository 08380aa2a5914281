// Git LFS leaves a small text in the place of a file that was cloned without it. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace puzzle {

/// Throws Error when `beginning`, the first bytes of the file at `path`, is such a text's.
void RefuseLfsPointer(std::string_view beginning, const std::string& path);

}  // namespace puzzle
