// The two halves of ParseSpec: what files say, and what `--set` arguments say. Used by spec.cpp.
#pragma once

#include <memory>
#include <string>

#include "graph/language/spec.h"

namespace puzzle {

/// Adds the file `text` and everything that it includes to an empty `spec`.
void ReadFiles(std::shared_ptr<const JsonText> text, GraphSpec& spec, Diagnostics& diagnostics);

/// Works one `--set` argument into `spec`.
void ApplySetting(const std::string& argument, GraphSpec& spec, Diagnostics& diagnostics);

}  // namespace puzzle
