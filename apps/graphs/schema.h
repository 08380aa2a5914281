// `puzzle schema`: the JSON Schema of graphs, for editors.
#pragma once

#include "apps/cli.h"

namespace puzzle {

[[nodiscard]] int SchemaCommand(const Registry& registry);
void AddSchemaVerb(Verbs& verbs, const Registry& registry);

}  // namespace puzzle
