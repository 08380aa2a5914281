// `command`, `timed_command`: a step that runs a program of the user's, to put an evaluation, a
// benchmark or a training of somebody else's into a graph. Needs no tensors of its own.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/kind/kind.h"
#include "io/archive.h"
#include "nodes/data/kinds.h"

namespace puzzle {

/// What a program left: figures (numbers, texts and booleans, by names such as "results.arc.acc"),
/// files, and beginning and end of what it wrote. Immutable; files are read on demand, hence one
/// thread at a time.
class CommandResult {
 public:
  static constexpr std::string_view kType = "command";

  [[nodiscard]] const nlohmann::json& figures() const { return figures_; }
  /// Relative names.
  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }
  /// Writes the files, and the figures as figures.json unless there is such a file, into a folder
  /// that exists.
  void WriteTo(const std::string& folder) const;

  void Save(ArchiveWriter& out) const;  // only streamed; throws BugError
  static CommandResult Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return 4096 + 64 * files_.size(); }

 private:
  nlohmann::json figures_;  // an object of scalars
  std::vector<std::string> files_;
  std::shared_ptr<const ArchiveReader> reader_;
};

/// The scalars of a JSON document by their paths: {"a": {"b": [1, 2]}} has a.b.0 and a.b.1. Throws
/// Error, naming `source`, for what is no JSON (NaN is none), for a document that is no object or
/// array, for one that is nested too deep, for more than a thousand scalars, and for names that
/// mean something else in a result.
[[nodiscard]] nlohmann::json FiguresIn(const std::string& text, const std::string& source);

/// Runs the program in a scratch folder of its own, which goes when it is done, and takes up what
/// the parameters declare. Anything but exit status 0, and anything declared that is not there, is
/// an Error with the end of what the program wrote to standard error. When the run is stopped the
/// program and its children are.
void RunCommand(const CommandParams& params, const Inputs& inputs, RunContext& context,
                ArchiveWriter& out);

}  // namespace puzzle
