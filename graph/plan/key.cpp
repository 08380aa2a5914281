#include "graph/plan/key.h"

#include <nlohmann/json.hpp>

#include "io/fingerprint.h"

namespace puzzle {

namespace {

class NoInputs final : public InputFacts {
 public:
  uint64_t Bytes(std::string_view /*port*/) const override { return 0; }
  double Number(std::string_view /*port*/, std::string_view /*name*/) const override { return 0; }
};

/// What the plan knows about the machine for a step that measures; nullptr for others.
const std::map<std::string, std::string>* EnvironmentOf(const Plan& plan, StepId step) {
  static const std::map<std::string, std::string> kNone;
  const NodeKind& kind = plan.kind(step);
  if (kind.needs != Needs::kQuietDevice) return nullptr;
  const auto facts = plan.environments.find(AskedFor(kind, plan.steps[step]).device_type);
  return facts == plan.environments.end() ? &kNone : &facts->second;
}

}  // namespace

Resources AskedFor(const NodeKind& kind, const Step& step) {
  if (!kind.resources || step.params.value == nullptr) return {};
  return kind.resources(step.params.value.get(), NoInputs());
}

std::map<std::string, std::string> KeyedEnvironment(const Plan& plan, StepId step) {
  std::map<std::string, std::string> facts;
  if (const auto* measured = EnvironmentOf(plan, step)) facts = *measured;
  if (plan.kind(step).needs != Needs::kHost) {
    facts.insert(plan.numerics.begin(), plan.numerics.end());
  }
  return facts;
}

std::string RecipeText(const Plan& plan, StepId step, const PortDigests& digests) {
  const NodeKind& kind = plan.kind(step);
  const std::string& keyed = plan.steps[step].params.keyed;
  size_t n_digests = 0;
  for (const auto& port : digests) n_digests += port.size();
  std::string text;
  text.reserve(keyed.size() + 70 * n_digests + 160);
  text += '{';
  const auto environment = KeyedEnvironment(plan, step);
  if (kind.needs == Needs::kQuietDevice || !environment.empty()) {
    text += "\"environment\":" + CanonicalText(nlohmann::json(environment)) + ',';
  }
  text += "\"format\":" + std::to_string(kKeyFormat) + ",\"inputs\":{";
  bool first = true;
  for (size_t p = 0; p < kind.ports.size(); ++p) {
    if (digests[p].empty() && kind.ports[p].arity == PortSpec::Arity::kOptional) continue;
    if (!first) text += ',';
    first = false;
    text.append("\"").append(kind.ports[p].name).append("\":[");
    for (size_t i = 0; i < digests[p].size(); ++i) {
      if (i > 0) text += ',';
      text.append("\"").append(digests[p][i]).append("\"");
    }
    text += ']';
  }
  text.append("},\"kind\":\"").append(kind.name).append("\",\"params\":").append(keyed);
  return text.append(",\"version\":").append(std::to_string(kind.version)).append("}");
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
