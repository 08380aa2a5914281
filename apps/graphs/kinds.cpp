#include "apps/graphs/kinds.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/frame/output.h"
#include "graph/kind/schema.h"
#include "graph/language/diagnostics.h"

namespace puzzle {

int KindsCommand(const KindsOptions& options, const Registry& registry) {
  if (options.kind.empty()) {
    Print("{}", options.json ? KindsJson(registry) : KindList(registry));
    return kExitDone;
  }
  const NodeKind* kind = registry.Find(options.kind);
  if (kind == nullptr) {
    std::vector<std::string> names;
    for (const NodeKind& known : registry.kinds()) names.push_back(known.name);
    const std::string hint = DidYouMean(options.kind, names);
    Say("unknown kind \"{}\"{}\n", options.kind, hint.empty() ? "" : " (" + hint + ")");
    return kExitBadInput;
  }
  Print("{}", options.json ? KindsJson(Registry({*kind})) : KindTable(*kind));
  return kExitDone;
}

void AddKindsVerb(Verbs& verbs, const Registry& registry) {
  auto options = std::make_shared<KindsOptions>();
  CLI::App& verb = verbs.Add("kinds", "List the kinds of nodes, or explain one.",
                             "  puzzle kinds\n"
                             "  puzzle kinds bld",
                             [options, &registry] { return KindsCommand(*options, registry); });
  verb.add_option("KIND", options->kind, "explain this kind");
  verb.add_flag("--json", options->json, "print JSON");
}

}  // namespace puzzle
