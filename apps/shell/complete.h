// Completion of a command line that is being typed: `puzzle complete WORD...` prints what the last
// word may become, one a line, and packaging/puzzle.bash asks it. Everything comes from the tables
// that the program parses with, so that nothing can go stale. Pure but for what `Known` reads.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace puzzle {

/// What no option knows by itself. Each gives nothing for what cannot be read.
struct Known {
  std::vector<std::string> kinds;
  /// Steps of a graph that begin with `typed`: nodes, and behind "[" the steps of one node.
  std::function<std::vector<std::string>(const std::string& graph, const std::string& typed)> steps;
  /// "vars.budget=", "blocks.lr=": what `--set` may begin with.
  std::function<std::vector<std::string>(const std::string& graph)> settings;
  /// Steps that have a result in a store.
  std::function<std::vector<std::string>(const std::string& store)> results;
};

/// What the last of `words` (those behind the program's name; "" for a word that is not begun) may
/// be. Empty where a file is meant, or anything.
[[nodiscard]] std::vector<std::string> Complete(const CLI::App& app,
                                                const std::vector<std::string>& words,
                                                const Known& known);

}  // namespace puzzle
