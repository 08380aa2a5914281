// The functions behind the tables of kinds.cpp: a line per kind.
#include "nodes/data/command.h"
#include "nodes/data/export_model.h"
#include "nodes/data/kinds.h"
#include "nodes/data/load_model.h"
#include "nodes/data/synthetic_text.h"
#include "nodes/data/tokenize.h"

namespace puzzle {

std::map<std::string, Body> DataBodies() {
  return {{"command", MakeStreamingBody<CommandResult>(RunCommand)},
          {"timed_command", MakeStreamingBody<CommandResult>(RunCommand)},
          {"export", MakeBody(RunExport)},
          {"load_model", MakeBody(RunLoadModel)},
          {"synthetic_text", MakeBody(RunSyntheticText)},
          {"tokenize", MakeBody(RunTokenize)}};
}

}  // namespace puzzle
