// The functions behind the tables of kinds.cpp: a line per kind.
#include "nodes/precision/kinds.h"
#include "nodes/precision/precision_score.h"
#include "nodes/precision/precision_search.h"
#include "nodes/precision/quantize.h"

namespace puzzle {

std::map<std::string, Body> PrecisionBodies() {
  return {{"precision_score", MakeBody(RunPrecisionScore)},
          {"precision", MakeBody(RunPrecision)},
          {"quantize", MakeBody(RunQuantize)}};
}

}  // namespace puzzle
