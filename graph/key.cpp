#include "graph/key.h"

#include <nlohmann/json.hpp>

#include "io/fingerprint.h"

namespace puzzle {

std::string RecipeText(const Plan& plan, StepId step, const PortDigests& digests) {
  const NodeKind& kind = plan.kind(step);
  std::string text = "{";
  if (kind.needs == Needs::kQuietDevice) {  // it measures, so machine and build decide the result
    text += "\"environment\":" + CanonicalText(nlohmann::json(plan.environment)) + ',';
  }
  text += "\"format\":" + std::to_string(kKeyFormat) + ",\"inputs\":{";
  bool first = true;
  for (size_t p = 0; p < kind.ports.size(); ++p) {
    if (digests[p].empty() && kind.ports[p].arity == PortSpec::Arity::kOptional) continue;
    if (!first) text += ',';
    first = false;
    text += '"' + kind.ports[p].name + "\":[";
    for (size_t i = 0; i < digests[p].size(); ++i) {
      if (i > 0) text += ',';
      text.append("\"").append(digests[p][i]).append("\"");
    }
    text += ']';
  }
  text += "},\"kind\":\"" + kind.name + "\",\"params\":" + plan.steps[step].params.keyed +
          ",\"version\":" + std::to_string(kind.version) + '}';
  return text;
}

std::string KeyOf(const std::string& recipe) {
  return FingerprintText(recipe);
}

uint64_t SeedOf(const Plan& plan, StepId step) {
  Fingerprint fingerprint;
  fingerprint.AddField(plan.kind(step).name);
  fingerprint.AddField(plan.steps[step].params.keyed);
  return std::stoull(fingerprint.Hex().substr(0, 16), nullptr, 16);
}

}  // namespace puzzle
