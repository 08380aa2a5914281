#include "graph/kind/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graph/kind/params.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

std::string_view ArityText(PortSpec::Arity arity) {
  switch (arity) {
    case PortSpec::Arity::kOne:
      return "one";
    case PortSpec::Arity::kOptional:
      return "one or none";
    case PortSpec::Arity::kList:
      return "list";
  }
  return {};
}

std::string_view NeedsText(Needs needs) {
  switch (needs) {
    case Needs::kHost:
      return "host";
    case Needs::kDevice:
      return "device";
    case Needs::kQuietDevice:
      return "quiet device";
  }
  return {};
}

ordered_json DefaultOf(const NodeKind& kind, const ParamSpec& param) {
  const auto params = kind.make_params();
  return ordered_json::parse(CanonicalText(param.member(params.get())));
}

/// A parameter may always be written as "${...}"; the rest depends on its type and rules.
ordered_json ParamSchema(const NodeKind& kind, const ParamSpec& param) {
  const auto params = kind.make_params();
  ordered_json number, element;
  for (const ParamRule& rule : param.rules) {
    if (rule.type == ParamRule::Type::kAtLeast) number = {{"minimum", rule.low}};
    if (rule.type == ParamRule::Type::kBetween) {
      number = {{"minimum", rule.low}, {"maximum", rule.high}};
    }
    if (rule.type == ParamRule::Type::kOneOf) element = {{"enum", rule.options}};
  }
  const auto with = [](ordered_json base, const ordered_json& more) {
    if (more.is_object()) base.update(more);
    return base;
  };
  const ordered_json integer = with({{"type", "integer"}}, number);
  const ordered_json real = with({{"type", "number"}}, number);
  const ordered_json text = with({{"type", "string"}}, element);
  const auto list = [](const ordered_json& items) {
    return ordered_json{{"type", "array"},
                        {"items", {{"anyOf", {items, {{"$ref", "#/$defs/reference"}}}}}}};
  };
  const ordered_json type =
      std::visit(Overload{[&](int64_t*) { return integer; }, [&](double*) { return real; },
                          [&](bool*) {
                            return ordered_json{{"type", "boolean"}};
                          },
                          [&](std::string*) { return text; },
                          [&](std::vector<int64_t>*) { return list(integer); },
                          [&](std::vector<double>*) { return list(real); },
                          [&](std::vector<std::string>*) { return list(text); },
                          [&](nlohmann::json*) { return ordered_json(true); }},
                 param.member(params.get()));
  ordered_json schema = {{"description", param.doc}};
  if (!FindRule(param, ParamRule::Type::kRequired)) schema["default"] = DefaultOf(kind, param);
  schema["anyOf"] = {type, {{"$ref", "#/$defs/reference"}}};
  return schema;
}

ordered_json PortSchema(const PortSpec& port) {
  ordered_json schema = {{"description", fmt::format("{} (type \"{}\", {})", port.doc, port.type,
                                                     ArityText(port.arity))}};
  if (port.arity == PortSpec::Arity::kList) {
    schema["anyOf"] = {{{"type", "string"}}, {{"type", "array"}, {"items", {{"type", "string"}}}}};
  } else {
    schema["type"] = "string";
  }
  return schema;
}

/// The part of a node's schema that its kind decides.
ordered_json KindSchema(const NodeKind& kind) {
  ordered_json ports = ordered_json::object(), params = ordered_json::object();
  ordered_json required_ports = ordered_json::array();
  for (const PortSpec& port : kind.ports) {
    ports[port.name] = PortSchema(port);
    if (port.arity != PortSpec::Arity::kOptional) required_ports.push_back(port.name);
  }
  for (const ParamSpec& param : kind.params) params[param.name] = ParamSchema(kind, param);
  ordered_json then = ordered_json::object();
  then["properties"]["in"] = {{"type", "object"},
                              {"properties", ports},
                              {"required", required_ports},
                              {"additionalProperties", false}};
  const ordered_json params_schema = {
      {"type", "object"}, {"properties", params}, {"additionalProperties", false}};
  then["properties"]["params"] = params_schema;
  then["properties"]["overrides"] = {{"type", "array"},
                                     {"items", {{"properties", {{"params", params_schema}}}}}};
  if (!required_ports.empty()) then["required"] = {"in"};
  ordered_json required_params = ordered_json::array();
  for (const ParamSpec& param : kind.params) {
    if (FindRule(param, ParamRule::Type::kRequired)) required_params.push_back(param.name);
  }
  if (!required_params.empty()) {  // unless overrides may give them
    then["if"] = {{"not", {{"required", {"overrides"}}}}};
    then["then"] = {{"required", {"params"}},
                    {"properties", {{"params", {{"required", required_params}}}}}};
  }
  return {{"if", {{"properties", {{"kind", {{"const", kind.name}}}}}, {"required", {"kind"}}}},
          {"then", then}};
}

std::string ParamNotes(const NodeKind& kind, const ParamSpec& param) {
  std::string notes;
  if (!FindRule(param, ParamRule::Type::kRequired)) {
    notes = "default " + CanonicalText(param.member(kind.make_params().get()));
  }
  for (const ParamRule& rule : param.rules) {
    if (!notes.empty()) notes += "; ";
    notes += RuleText(rule);
  }
  return notes;
}

}  // namespace

std::string GraphSchema(const Registry& registry) {
  const ordered_json scalar = {{"type", {"string", "number", "boolean"}}};
  ordered_json schema;
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "Puzzleflow graph";
  schema["type"] = "object";
  schema["required"] = {"puzzle"};
  schema["anyOf"] = {{{"required", {"nodes"}}}, {{"required", {"include"}}}};
  schema["additionalProperties"] = false;
  const ordered_json names = {{"pattern", "^[A-Za-z_][A-Za-z0-9_-]*$"}};
  ordered_json& top = schema["properties"];
  top["$schema"] = {{"type", "string"}, {"description", "this schema, for editors"}};
  top["puzzle"] = {{"const", 1}, {"description", "version of the graph language"}};
  top["doc"] = {{"type", "string"}, {"description", "for readers"}};
  top["vars"] = {{"type", "object"},
                 {"description", "values for \"${name}\" and --set vars.NAME=VALUE"},
                 {"propertyNames", names},
                 {"additionalProperties", {{"$ref", "#/$defs/variable"}}}};
  top["include"] = {
      {"type", "object"},
      {"description",
       "other graph files: the nodes of `file` are called PREFIX/NODE here, and `vars` replaces "
       "values of its variables"},
      {"propertyNames", names},
      {"additionalProperties",
       {{"type", "object"},
        {"properties",
         {{"file", {{"type", "string"}, {"description", "relative to this file"}}},
          {"vars",
           {{"type", "object"},
            {"propertyNames", names},
            {"additionalProperties", {{"$ref", "#/$defs/variable"}}}}}}},
        {"required", {"file"}},
        {"additionalProperties", false}}}};
  top["nodes"] = {{"type", "object"},
                  {"description", "node name -> node"},
                  {"propertyNames", names},
                  {"additionalProperties", {{"$ref", "#/$defs/node"}}}};

  ordered_json& defs = schema["$defs"];
  defs["reference"] = {{"type", "string"}, {"pattern", "\\$\\{[^}]+\\}"}};
  const ordered_json range = {
      {"type", "object"},
      {"properties",
       {{"range",
         {{"type", "array"}, {"items", {{"type", "integer"}}}, {"minItems", 2}, {"maxItems", 2}}},
        {"layers_of", {{"type", "string"}}}}},
      {"minProperties", 1},
      {"maxProperties", 1},
      {"additionalProperties", false}};
  defs["variable"] = {{"anyOf", {scalar, {{"type", "array"}}, range}}};
  const ordered_json where = {
      {"type", "object"},
      {"additionalProperties", {{"anyOf", {scalar, {{"type", "array"}, {"items", scalar}}}}}}};
  ordered_json condition = where;
  condition["minProperties"] = 1;
  ordered_json& node = defs["node"];
  node["type"] = "object";
  node["required"] = {"kind"};
  node["additionalProperties"] = false;
  std::vector<std::string> kinds, docs;
  for (const NodeKind& kind : registry.kinds()) {
    kinds.push_back(kind.name);
    docs.push_back(kind.doc);
  }
  const ordered_json reference = {{"$ref", "#/$defs/reference"}};
  node["properties"]["kind"] = {
      {"description", "what the node does"}, {"enum", kinds}, {"enumDescriptions", docs}};
  node["properties"]["doc"] = {{"type", "string"}, {"description", "for readers"}};
  node["properties"]["in"] = {
      {"type", "object"},
      {"description", "port -> NODE, NODE[axis=value,...], or for list ports a list of those"}};
  node["properties"]["params"] = {{"type", "object"},
                                  {"description",
                                   "parameters of the kind; \"${name}\" stands for "
                                   "an axis or a variable"}};
  node["properties"]["retries"] = {
      {"description", "how often a step that fails is tried again"},
      {"default", 0},
      {"anyOf", {{{"type", "integer"}, {"minimum", 0}, {"maximum", 100}}, reference}}};
  node["properties"]["timeout"] = {
      {"description", "seconds after which a step is stopped at its next poll, and fails"},
      {"anyOf", {{{"type", "number"}, {"exclusiveMinimum", 0}}, reference}}};
  node["properties"]["foreach"] = {
      {"type", "object"},
      {"description", "axis -> values; one step for every combination"},
      {"minProperties", 1},
      {"propertyNames", names},
      {"additionalProperties",
       {{"anyOf",
         {{{"type", "array"}, {"items", scalar}}, {{"$ref", "#/$defs/reference"}}, range}}}}};
  node["properties"]["exclude"] = {
      {"type", "array"}, {"description", "combinations to leave out"}, {"items", condition}};
  node["properties"]["overrides"] = {
      {"type", "array"},
      {"description", "parameters for some combinations only; later entries win"},
      {"items",
       {{"type", "object"},
        {"properties", {{"where", where}, {"params", {{"type", "object"}}}}},
        {"required", {"where", "params"}},
        {"additionalProperties", false}}}};
  node["allOf"] = ordered_json::array();
  for (const NodeKind& kind : registry.kinds()) node["allOf"].push_back(KindSchema(kind));
  return schema.dump(2) + '\n';
}

std::string KindList(const Registry& registry) {
  size_t width = 4;
  for (const NodeKind& kind : registry.kinds()) width = std::max(width, kind.name.size());
  std::string text;
  for (const NodeKind& kind : registry.kinds()) {
    text += fmt::format("{:<{}}  {}\n", kind.name, width, kind.doc);
  }
  return text;
}

std::string KindTable(const NodeKind& kind) {
  std::string text = fmt::format("{} (version {}, {}): {}\n", kind.name, kind.version,
                                 NeedsText(kind.needs), kind.doc);
  text += fmt::format("  makes  {}\n", kind.output);
  size_t width = 4;
  for (const PortSpec& port : kind.ports) width = std::max(width, port.name.size());
  for (const ParamSpec& param : kind.params) width = std::max(width, param.name.size());
  if (!kind.ports.empty()) text += "  in\n";
  for (const PortSpec& port : kind.ports) {
    text += fmt::format("    {:<{}}  {} ({}): {}\n", port.name, width, port.type,
                        ArityText(port.arity), port.doc);
  }
  if (!kind.params.empty()) text += "  params\n";
  for (const ParamSpec& param : kind.params) {
    text += fmt::format("    {:<{}}  {}: {} [{}]\n", param.name, width,
                        TypeName(param.member(kind.make_params().get())), param.doc,
                        ParamNotes(kind, param));
  }
  return text;
}

std::string KindsJson(const Registry& registry) {
  ordered_json kinds = ordered_json::array();
  for (const NodeKind& kind : registry.kinds()) {
    ordered_json ports = ordered_json::array(), params = ordered_json::array();
    for (const PortSpec& port : kind.ports) {
      ports.push_back({{"name", port.name},
                       {"type", port.type},
                       {"arity", ArityText(port.arity)},
                       {"doc", port.doc}});
    }
    for (const ParamSpec& param : kind.params) {
      ordered_json entry = {{"name", param.name},
                            {"type", TypeName(param.member(kind.make_params().get()))},
                            {"doc", param.doc},
                            {"rules", ordered_json::array()}};
      if (!FindRule(param, ParamRule::Type::kRequired)) entry["default"] = DefaultOf(kind, param);
      for (const ParamRule& rule : param.rules) entry["rules"].push_back(RuleText(rule));
      params.push_back(std::move(entry));
    }
    kinds.push_back({{"name", kind.name},
                     {"version", kind.version},
                     {"doc", kind.doc},
                     {"needs", NeedsText(kind.needs)},
                     {"in", ports},
                     {"params", params},
                     {"output", kind.output}});
  }
  return kinds.dump(2) + '\n';
}

}  // namespace puzzle
