#include "nodes/precision/kinds.h"

#include <string>
#include <vector>

#include "graph/kind/unkeyed_as.h"
#include "model/shape/metrics.h"
#include "nodes/measure/context_ports.h"
#include "nodes/search/variant_table.h"

namespace puzzle {

namespace {

std::vector<std::string> TypesAndNone() {
  std::vector<std::string> names = PrecisionTypes();
  names.insert(names.begin(), "");
  return names;
}

NodeKind PrecisionScoreKind() {
  Kind<PrecisionScoreParams> kind(
      "precision_score", 1,
      "Damage to a whole model when the matrices of one part of it are stored in other types: the "
      "figures of `score`, taken with the dequantised weights.");
  kind.In("parent", "checkpoint", "whose distribution is the measure")
      .In("activations", "activations", "its hidden states on validation tokens, best in fp32");
  AddContext(kind, "the child that is to be stored; else the parent itself")
      .Param("part", &PrecisionScoreParams::part,
             {Required(), OneOf({"embed", "head", "attn", "ffn"})},
             "which part; what a model lacks (a head that is the embedding, a sub-block that is "
             "nothing) has no scores")
      .Param("layer", &PrecisionScoreParams::layer, {Between(0, 1 << 16)}, "of attn and ffn")
      .Param("types", &PrecisionScoreParams::types, {OneOf(PrecisionTypes())},
             "what to try; a type whose blocks do not divide a row is left out")
      .Param("batch", &PrecisionScoreParams::batch, {Between(1, 1 << 20), Unkeyed()},
             "sequences at a time")
      .Out("precision_score")
      .On(Needs::kDevice);
  return AddLossOn(kind);
}

// What is wrong with a question before there are scores. They measure what scores of variants do,
// but for tasks.
std::optional<std::string> CheckPrecision(const PrecisionParams& p) {
  if (!p.max.is_object()) return "max: expected {\"file_mib\": limit}";
  for (const auto& [resource, limit] : p.max.items())
    if (resource != "file_mib") return "max: there is file_mib, but no \"" + resource + '"';
  if (p.max.empty() == p.like.empty())
    return "give one of `max` and `like`: how large the file may be";
  std::vector<std::string> metrics;
  for (const MetricInfo& info : AllMetrics()) metrics.emplace_back(info.objective);
  return CheckObjective(p.objective, metrics);
}

NodeKind PrecisionKind() {
  return Kind<PrecisionParams>("precision", 1,
                               "One type for every part of a model, least damage within a size of "
                               "its GGUF file: the integer program of `search`.")
      .In("model", "checkpoint", "what is to be stored, the one that was scored")
      .InList("scores", "precision_score", "damage per part and type")
      .InOptional("parent", "checkpoint", "whose file is meant by `like`; else that of `model`")
      .Param("objective", &PrecisionParams::objective, {},
             "the damage to minimise: a metric, or weights, as in search")
      .Param("max", &PrecisionParams::max, {},
             "{\"file_mib\": 12.5}, or \"60%\" of the file whose parts all have their first type")
      .Param("like", &PrecisionParams::like, {OneOf(TypesAndNone())},
             "no larger than the file of the model, or of the parent, with this type throughout")
      .Param("time_limit_s", &PrecisionParams::time_limit_s, {AtLeast(0.01)}, "for the solver")
      .Check(CheckPrecision)
      .CheckPorts(
          [](const PrecisionParams& p, const ConnectedPorts& has) -> std::optional<std::string> {
            if (!has("parent") || !p.like.empty()) return std::nullopt;
            return "the port `parent` says whose file `like` means: give `like`, or no parent";
          })
      .Out("precision");
}

NodeKind QuantizeKind() {
  return Kind<QuantizeParams>("quantize", 1,
                              "A model as readers of its GGUF file see it: its matrices went "
                              "through the types there.")
      .In("model", "checkpoint", "in full precision")
      .InOptional("precision", "precision", "the type of every part")
      .Param("type", &QuantizeParams::type, {OneOf(TypesAndNone())},
             "of all parts, where no precision is connected")
      .Param("parts", &QuantizeParams::parts, {UnkeyedAs("")},
             "[\"embed=q8_0\", \"attn:3=q5_0\"]: parts with a type other than `type`")
      .CheckPorts(
          [](const QuantizeParams& p, const ConnectedPorts& has) -> std::optional<std::string> {
            if (has("precision") != p.type.empty())
              return "give one of the port `precision` and the parameter `type`";
            if (p.type.empty() && !p.parts.empty())
              return "`parts` says what differs from `type`, not from a precision: give `type`";
            return std::nullopt;
          })
      .Out("checkpoint");
}

}  // namespace

const std::vector<std::string>& PrecisionTypes() {
  static const std::vector<std::string> types = {"f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"};
  return types;
}

std::vector<NodeKind> PrecisionKinds() {
  return {PrecisionScoreKind(), PrecisionKind(), QuantizeKind()};
}

}  // namespace puzzle
