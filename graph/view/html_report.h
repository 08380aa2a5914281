// A run as one HTML file that needs nothing else: no script, no network. Thread-safe (a function of
// its arguments).
#pragma once

#include <string>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/run/report.h"
#include "graph/store/store.h"
#include "graph/view/timeline.h"

namespace puzzle {

/// What the report says besides the run itself.
struct HtmlReportOptions {
  std::string title;    // the graph's file name
  std::string command;  // as typed
  std::string tool;     // program and version
  std::string date;     // when the run ended
};

/// A picture that a step made: the text attribute "picture_svg" of its artifact.
struct Picture {
  std::string step;
  std::string svg;
};

/// The pictures in the results of a run, in plan order, at most fifty. Opens only artifacts whose
/// record says that they have one; those that cannot be read are left out.
[[nodiscard]] std::vector<Picture> CollectPictures(const Plan& plan, const Report& report,
                                                   const Store& store);

/// Totals, pictures, failures with their messages, time line per lane, critical path, slowest
/// steps, savings and the graph with a box per node. Pictures are embedded as images, so that
/// nothing in them is executed.
[[nodiscard]] std::string HtmlReport(const Plan& plan, const Report& report,
                                     const Timeline& timeline, const std::vector<Picture>& pictures,
                                     const HtmlReportOptions& options);

}  // namespace puzzle
