#include "nodes/catalogue.h"

#include <iterator>

#include "nodes/cost/kinds.h"
#include "nodes/data/kinds.h"
#include "nodes/measure/kinds.h"
#include "nodes/precision/kinds.h"
#include "nodes/search/kinds.h"
#include "nodes/states/kinds.h"
#include "nodes/train/kinds.h"

namespace puzzle {

std::vector<NodeKind> PuzzleKinds() {
  std::vector<NodeKind> all;
  for (auto room :
       {CostKinds, DataKinds, MeasureKinds, PrecisionKinds, SearchKinds, StatesKinds, TrainKinds}) {
    std::vector<NodeKind> kinds = room();
    std::move(kinds.begin(), kinds.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace puzzle
