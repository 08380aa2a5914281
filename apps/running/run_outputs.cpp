#include "apps/running/run_outputs.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <optional>

#include "graph/view/html_report.h"
#include "graph/view/timeline_svg.h"
#include "graph/view/trace.h"
#include "io/error.h"
#include "io/file.h"

namespace puzzle {
namespace {

Error CannotWrite(const std::string& path, int failure) {
  return Error(fmt::format("cannot write \"{}\": {}", path, std::strerror(failure)));
}

/// A stream of this process, such as /dev/stdout, is not opened anew: that would begin at the start
/// of the file behind it. nullptr, with errno, when it cannot be opened.
std::FILE* OpenForEvents(const std::string& path) {
  const std::optional<int> stream = OpenDescriptorOf(path);
  if (!stream) return std::fopen(path.c_str(), "w");
  const int copy = ::fcntl(*stream, F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? nullptr : ::fdopen(copy, "w");
}

}  // namespace

void OutputOptions::Declare(CLI::App& verb) {
  verb.add_option("--events", events, "write every event as a line of JSON to this file");
  verb.add_option("--trace", trace,
                  "write a trace for https://ui.perfetto.dev, or a picture of the time line when "
                  "the name ends in .svg");
  verb.add_option("--report", report, "write a report of the run: one HTML file");
  verb.add_option("--summary", summary, "write counts and results to this JSON file");
}

RunOutputs::RunOutputs(const OutputOptions& options) : options_(options) {
  if (!options_.events.empty()) {
    events_file_.reset(OpenForEvents(options_.events));
    if (!events_file_) throw CannotWrite(options_.events, errno);
    std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is a failed write like any other
    events_ = std::make_unique<EventWriter>([this](const std::string& line) {
      errno = 0;
      const bool written =
          std::fwrite(line.data(), 1, line.size(), events_file_.get()) == line.size();
      const bool flushed = std::fflush(events_file_.get()) == 0;  // for whoever follows the file
      if (!(written && flushed) && events_failure_ == 0) events_failure_ = errno == 0 ? EIO : errno;
    });
  }
  for (const std::string* path : {&options_.trace, &options_.report, &options_.summary}) {
    if (!path->empty()) CheckWritable(*path);
  }
  if (!options_.trace.empty() || !options_.report.empty()) {
    timeline_ = std::make_unique<TimelineRecorder>();
  }
}

void RunOutputs::AddTo(ObserverList& observers) {
  observers.Add(events_.get());
  observers.Add(timeline_.get());
}

void RunOutputs::Write(const Plan& plan, const Report& report, const Store& store,
                       const std::string& graph, const std::string& command) const {
  if (timeline_) {
    const Timeline timeline = timeline_->Take();
    if (options_.trace.ends_with(".svg")) {
      WriteWholeFile(options_.trace,
                     TimelineSvg(plan, timeline, CriticalPath(plan, report)) + '\n');
    } else if (!options_.trace.empty()) {
      WriteWholeFile(options_.trace, TraceJson(plan, timeline));
    }
    if (!options_.report.empty()) {
      HtmlReportOptions head;
      head.title = graph;
      head.command = command;
      head.tool = std::string("puzzle ") + PUZZLE_VERSION;
      head.date = fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(std::time(nullptr)));
      WriteWholeFile(options_.report, HtmlReport(plan, report, timeline,
                                                 CollectPictures(plan, report, store), head));
    }
  }
  if (!options_.summary.empty()) WriteWholeFile(options_.summary, SummaryJson(plan, report));
  if (events_failure_ != 0) throw CannotWrite(options_.events, events_failure_);
}

}  // namespace puzzle
