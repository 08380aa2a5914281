#include "apps/graphs/schema.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/frame/output.h"
#include "graph/kind/schema.h"

namespace puzzle {

int SchemaCommand(const Registry& registry) {
  Print("{}", GraphSchema(registry));
  return kExitDone;
}

void AddSchemaVerb(Verbs& verbs, const Registry& registry) {
  verbs.Add("schema", "Print the JSON Schema of graphs, for completion in editors.",
            "  puzzle schema > graph.schema.json", [&registry] { return SchemaCommand(registry); });
}

}  // namespace puzzle
