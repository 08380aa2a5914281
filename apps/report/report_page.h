// A report as one HTML file: charts, tables, every number as CSV. It has no script and asks for
// nothing over the network, so whatever a model wrote or a graph is called is text. Thread-safe (a
// function of its arguments).
#pragma once

#include <string>

#include "apps/report/report_data.h"

namespace puzzle {

struct ReportHead {
  std::string title;    // the graph's file
  std::string command;  // that makes the results: "puzzle run ..."
  std::string tool;     // program and version
  std::string date;     // when the report was made
};

[[nodiscard]] std::string ReportPage(const Plan& plan, const Forecast& forecast,
                                     const ReportData& data, const ReportHead& head);

}  // namespace puzzle
