// Everything the store knows about one result: figures, provenance, how to make it again.
// Thread-compatible.
#pragma once

#include <optional>
#include <string>

#include "graph/store/store.h"
#include "graph/view/run_log.h"

namespace puzzle {

/// A result, or a step without one, and what became of it.
struct Shown {
  std::string step;
  std::optional<Record> record;  // of the last result, if there ever was one
  Presence presence = Presence::kAbsent;
  /// The run in which the step failed since then.
  std::optional<std::pair<RunLog, RunStep>> failure;
};

/// Looks up a step name, a key, or the unique beginning of a key (six digits or more). Throws Error
/// when the store knows no such thing.
[[nodiscard]] Shown FindShown(Store& store, const std::string& name);

/// A word as it can be typed into a shell.
[[nodiscard]] std::string ShellWord(const std::string& word);
/// Words, each as ShellWord writes it.
[[nodiscard]] std::string ShellCommand(const std::vector<std::string>& words);
/// The command line that makes this step alone again, "" when it is not known.
[[nodiscard]] std::string Reproducer(const Shown& shown);

[[nodiscard]] std::string ShownText(const Shown& shown, Store& store);
[[nodiscard]] std::string ShownJson(const Shown& shown);

/// The picture that the result brings along (SVG). Throws Error when there is none.
[[nodiscard]] std::string ShownPicture(const Shown& shown, const Store& store);

}  // namespace puzzle
