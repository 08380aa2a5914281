#include "model/families/rope_fields.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "io/error.h"

namespace puzzle {

namespace {
using Json = nlohmann::ordered_json;
using Type = RopeConfig::Type;

constexpr double kDefaultTheta = 10000.0;

std::string TypeName(const HfFields& scaling) {
  return scaling.Text("rope_type", scaling.Text("type", "default").c_str());
}

double Required(const HfFields& scaling, const char* name) {
  if (scaling.Find(name) == nullptr)
    throw Error(fmt::format("{}: {}: missing, a scaling of type \"{}\" needs it", scaling.where(),
                            name, TypeName(scaling)));
  return scaling.Number(name, 0);
}

std::vector<double> Factors(const HfFields& scaling, const char* name) {
  const Json* list = scaling.Find(name);
  if (list == nullptr) Required(scaling, name);  // throws
  std::vector<double> factors;
  if (!list->is_array()) scaling.Wrong(name, "a list of numbers", *list);
  for (const Json& factor : *list) {
    if (!factor.is_number()) scaling.Wrong(name, "a list of numbers", *list);
    factors.push_back(factor.get<double>());
  }
  return factors;
}

// Phi-3 keeps it beside the scaling; where nobody says it, it is the model's own context.
int64_t OriginalPositions(const HfFields& fields, const HfFields& scaling,
                          const ModelConfig& config) {
  constexpr const char* kName = "original_max_position_embeddings";
  if (const auto outside = fields.FindInt(kName)) return *outside;
  return scaling.FindInt(kName).value_or(config.max_positions);
}

double YarnAttention(const HfFields& scaling, double factor) {
  const auto growth = [&](double m) { return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1; };
  if (scaling.Find("attention_factor") != nullptr) return scaling.Number("attention_factor", 1.0);
  const double scale = scaling.Number("mscale", 0), all_dims = scaling.Number("mscale_all_dim", 0);
  return scale != 0 && all_dims != 0 ? growth(scale) / growth(all_dims) : growth(1);
}

double LongRopeAttention(const HfFields& scaling, const RopeConfig& rope,
                         const ModelConfig& config) {
  if (scaling.Find("attention_factor") != nullptr) return scaling.Number("attention_factor", 1.0);
  const auto original = static_cast<double>(rope.original_max_positions);
  const double factor =
      scaling.Number("factor", static_cast<double>(config.max_positions) / original);
  return factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
}

// A part of the dimensions as transformers counts it, which passes it over in other families.
int64_t RotatedDims(const HfFields& fields, const HfFields& scaling, const ModelConfig& config) {
  if (config.family != "phi3") return 0;
  const double part =
      scaling.Number("partial_rotary_factor", fields.Number("partial_rotary_factor", 1.0));
  if (part == 1.0) return 0;
  if (!(part > 0 && part < 1))
    throw Error(
        fmt::format("{}: partial_rotary_factor is {}, expected a part of 1", fields.where(), part));
  return static_cast<int64_t>(static_cast<double>(config.head_dim) * part);
}

}  // namespace

RopeConfig ReadRopeObject(const HfFields& fields, const HfFields& scaling, double theta,
                          const ModelConfig& config) {
  RopeConfig rope;
  rope.theta = scaling.Number("rope_theta", theta);
  rope.dims = RotatedDims(fields, scaling, config);
  const std::string type = TypeName(scaling);
  if (type == "default") return rope;
  if (type == "longrope" || type == "su" || (type == "yarn" && config.family == "phi3")) {
    rope.type = Type::kLongRope;
    rope.short_factors = Factors(scaling, "short_factor");
    rope.long_factors = Factors(scaling, "long_factor");
    rope.original_max_positions = OriginalPositions(fields, scaling, config);
    if (rope.original_max_positions > 1)
      rope.attention_factor = LongRopeAttention(scaling, rope, config);
    return rope;
  }
  if (type != "linear" && type != "llama3" && type != "dynamic" && type != "yarn")
    throw Error(fmt::format(
        "{}: rope_type \"{}\" is not supported (default, linear, llama3, dynamic, yarn, longrope)",
        scaling.where(), type));
  rope.factor = Required(scaling, "factor");
  if (type == "linear") rope.type = Type::kLinear;
  if (type == "dynamic") rope.type = Type::kDynamic;
  if (type == "llama3") {
    rope.type = Type::kLlama3;
    rope.low_freq_factor = Required(scaling, "low_freq_factor");
    rope.high_freq_factor = Required(scaling, "high_freq_factor");
    rope.original_max_positions = OriginalPositions(fields, scaling, config);
  }
  if (type == "yarn") {
    rope.type = Type::kYarn;
    rope.original_max_positions = OriginalPositions(fields, scaling, config);
    rope.attention_factor = YarnAttention(scaling, rope.factor);
    rope.beta_fast = scaling.Number("beta_fast", 32.0);
    rope.beta_slow = scaling.Number("beta_slow", 1.0);
    rope.truncate = scaling.Bool("truncate", true);
  }
  return rope;
}

RopeConfig ReadRope(const HfFields& fields, const ModelConfig& config) {
  const Json none = Json::object();
  const auto object = [&](const char* name) {
    const Json* found = fields.Find(name);
    return HfFields(found != nullptr ? *found : none, fields.where() + ": " + name);
  };
  const HfFields parameters = object("rope_parameters"), scaling = object("rope_scaling");
  const double theta = fields.Number("rope_theta", kDefaultTheta);
  if (TypeName(scaling) == "default" && scaling.Find("rope_theta") == nullptr)
    return ReadRopeObject(fields, parameters, theta, config);
  // Somebody wrote a scaling beside what transformers 5 had put there: it counts, as it does there,
  // unless the two say different things.
  const bool scaled_twice = TypeName(parameters) != "default";
  const bool loses_theta = scaling.Find("rope_theta") == nullptr &&
                           fields.Find("rope_theta") == nullptr &&
                           parameters.Number("rope_theta", kDefaultTheta) != kDefaultTheta;
  RopeConfig rope = ReadRopeObject(fields, scaling, theta, config);
  if ((scaled_twice && !(ReadRopeObject(fields, parameters, theta, config) == rope)) || loses_theta)
    throw Error(
        fmt::format("{}: rope_parameters and rope_scaling say different things; keep one "
                    "of them, with rope_theta",
                    fields.where()));
  return rope;
}

Json RopeScalingJson(const RopeConfig& rope) {
  switch (rope.type) {
    case Type::kPlain:
      return nullptr;
    case Type::kLinear:
      return {{"rope_type", "linear"}, {"type", "linear"}, {"factor", rope.factor}};
    case Type::kDynamic:
      return {{"rope_type", "dynamic"}, {"type", "dynamic"}, {"factor", rope.factor}};
    case Type::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", rope.original_max_positions}};
    case Type::kYarn: {
      Json json = {{"rope_type", "yarn"},
                   {"factor", rope.factor},
                   {"original_max_position_embeddings", rope.original_max_positions},
                   {"attention_factor", rope.attention_factor},
                   {"beta_fast", rope.beta_fast},
                   {"beta_slow", rope.beta_slow}};
      if (!rope.truncate) json["truncate"] = false;
      return json;
    }
    case Type::kLongRope:
      return {{"rope_type", "longrope"},
              {"type", "longrope"},
              {"short_factor", rope.short_factors},
              {"long_factor", rope.long_factors},
              {"original_max_position_embeddings", rope.original_max_positions},
              {"attention_factor", rope.attention_factor}};
  }
  throw BugError("unknown rope scaling");
}

void WriteRope(const RopeConfig& rope, Json& json) {
  json["rope_theta"] = rope.theta;
  json["rope_scaling"] = RopeScalingJson(rope);
}

}  // namespace puzzle
