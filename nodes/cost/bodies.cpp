// The functions behind the tables of kinds.cpp: a line per kind.
#include "nodes/cost/bench.h"
#include "nodes/cost/cost.h"
#include "nodes/cost/kinds.h"
#include "nodes/cost/latency.h"
#include "nodes/cost/speed_report.h"

namespace puzzle {

std::map<std::string, Body> CostBodies() {
  return {{"bench", MakeBody(RunBenchStep)},
          {"cost", MakeBody(RunCost)},
          {"latency", MakeBody(RunLatency)},
          {"model_latency", MakeBody(RunModelLatency)},
          {"speed_report", MakeBody(RunSpeedReport)}};
}

}  // namespace puzzle
