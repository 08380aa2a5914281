// The files in which a run describes itself: --events, --trace, --report, --summary.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "graph/run/observer.h"
#include "graph/run/report.h"
#include "graph/store/store.h"
#include "graph/view/events.h"
#include "graph/view/timeline.h"

namespace CLI {
class App;
}

namespace puzzle {

/// Names of files; "" for none.
struct OutputOptions {
  std::string events;   // a line of JSON per event, while the run goes on
  std::string trace;    // a Chrome trace, or a picture when the name ends in .svg
  std::string report;   // one HTML file
  std::string summary;  // counts and results as JSON

  void Declare(CLI::App& verb);
};

/// Collects what the files need while a run goes on. Not thread-safe; its observers are.
class RunOutputs {
 public:
  /// Opens the events file and tries the paths of the others, before hours of work. Throws Error
  /// when one cannot be written.
  explicit RunOutputs(const OutputOptions& options);

  /// Adds what has to see the events of the run.
  void AddTo(ObserverList& observers);
  /// Writes the files that describe the whole run. Throws Error naming the one that fails.
  /// `command` is the command line that was run, `graph` the file.
  void Write(const Plan& plan, const Report& report, const Store& store, const std::string& graph,
             const std::string& command) const;

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  const OutputOptions options_;
  std::unique_ptr<std::FILE, CloseFile> events_file_;
  int events_failure_ = 0;  // errno of the first write that failed
  std::unique_ptr<EventWriter> events_;
  std::unique_ptr<TimelineRecorder> timeline_;
};

}  // namespace puzzle
