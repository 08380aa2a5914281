// The functions behind the tables of kinds.cpp: a line per kind.
#include "nodes/states/activations.h"
#include "nodes/states/importance.h"
#include "nodes/states/kinds.h"

namespace puzzle {

std::map<std::string, Body> StatesBodies() {
  return {{"activations", MakeStreamingBody<Activations>(RunActivations)},
          {"importance", MakeBody(RunImportance)}};
}

}  // namespace puzzle
