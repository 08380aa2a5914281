// The functions behind the tables of kinds.cpp: a line per kind.
#include "nodes/measure/additivity.h"
#include "nodes/measure/best.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/kinds.h"
#include "nodes/measure/long_context.h"
#include "nodes/measure/remove_blocks.h"
#include "nodes/measure/report.h"
#include "nodes/measure/score.h"
#include "nodes/measure/tasks.h"
#include "nodes/measure/verdict.h"

namespace puzzle {

std::map<std::string, Body> MeasureBodies() {
  return {{"additivity", MakeBody(RunAdditivity)},
          {"best", MakeBody(RunBest)},
          {"evaluate", MakeBody(RunEvaluate)},
          {"long_context", MakeBody(RunLongContext)},
          {"remove_blocks", MakeBody(RunRemoveBlocks)},
          {"report", MakeBody(RunReport)},
          {"score", MakeBody(RunScore)},
          {"tasks", MakeBody(RunTasks)},
          {"verdict", MakeBody(RunVerdict)}};
}

}  // namespace puzzle
