// The manual page puzzle(1), made from the tables that the program parses with: `puzzle manual`.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace puzzle {

/// Text for troff with the macros of man(7).
[[nodiscard]] std::string ManualPage(const CLI::App& app, const std::string& version);

}  // namespace puzzle
