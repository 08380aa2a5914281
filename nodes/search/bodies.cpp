// The functions behind the tables of kinds.cpp: a line per kind.
#include "nodes/search/export_library.h"
#include "nodes/search/kinds.h"
#include "nodes/search/search.h"
#include "nodes/search/sweep.h"

namespace puzzle {

std::map<std::string, Body> SearchBodies() {
  return {{"block_library", MakeBody(RunBlockLibrary)},
          {"search", MakeBody(RunSearch)},
          {"sweep", MakeBody(RunSweep)}};
}

}  // namespace puzzle
