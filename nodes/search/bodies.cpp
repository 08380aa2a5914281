// The functions behind the tables of kinds.cpp: a line per kind.
#include "nodes/search/bisect.h"
#include "nodes/search/export_library.h"
#include "nodes/search/kinds.h"
#include "nodes/search/search.h"
#include "nodes/search/sweep.h"

namespace puzzle {

std::map<std::string, Body> SearchBodies() {
  return {{"bisect", MakeBody(RunBisect)},
          {"block_library", MakeBody(RunBlockLibrary)},
          {"search", MakeBody(RunSearch)},
          {"sweep", MakeBody(RunSweep)}};
}

}  // namespace puzzle
