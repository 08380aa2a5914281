#include "model/files/gguf_rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle {

namespace {
using Json = nlohmann::ordered_json;

constexpr const char* kLlama3Factors = "rope_freqs.weight";
constexpr const char* kShortFactors = "rope_factors_short.weight";
constexpr const char* kLongFactors = "rope_factors_long.weight";

std::vector<float> Llama3RopeFactors(const RopeConfig& rope, int64_t head_dim) {
  RopeConfig plain = rope;
  plain.type = RopeConfig::Type::kPlain;
  const std::vector<double> before = plain.InverseFrequencies(head_dim);
  const std::vector<double> after = rope.InverseFrequencies(head_dim);
  std::vector<float> factors;
  for (size_t i = 0; i < before.size(); ++i)
    factors.push_back(static_cast<float>(before[i] / after[i]));
  return factors;
}

std::vector<float> ReadFactors(const GgufReader& reader, const char* name, int64_t dims) {
  const Shape shape = {dims / 2};
  if (reader.ShapeOf(name) != shape)
    throw Error(fmt::format("{}: tensor {} has shape {}, the metadata implies {}", reader.path(),
                            name, ShapeString(reader.ShapeOf(name)), ShapeString(shape)));
  std::vector<float> factors(static_cast<size_t>(dims / 2));
  reader.ReadF32(name, factors);
  return factors;
}

/// Llama 3's scaling comes as a tensor of factors. What they were made from is found by trying: all
/// published models have frequency factors 1 and 4 and a power of two as the first context.
Json Llama3Scaling(const GgufReader& reader, double theta, int64_t head_dim) {
  const std::vector<float> factors = ReadFactors(reader, kLlama3Factors, head_dim);
  RopeConfig rope;
  rope.type = RopeConfig::Type::kLlama3;
  rope.theta = theta;
  rope.factor = *std::max_element(factors.begin(), factors.end());
  for (int64_t context = 512; context <= 1 << 20; context *= 2) {
    rope.original_max_positions = context;
    const std::vector<float> tried = Llama3RopeFactors(rope, head_dim);
    const bool same = std::equal(tried.begin(), tried.end(), factors.begin(), [](float a, float b) {
      return std::abs(a - b) <= 1e-5F * std::abs(b);
    });
    if (same)
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", context}};
  }
  throw Error(
      fmt::format("{}: tensor {}: these factors are not those of Llama 3's rope scaling; "
                  "others are not supported",
                  reader.path(), kLlama3Factors));
}

/// `longrope`, whose two lists of factors are tensors.
Json LongRopeScaling(const GgufKeys& keys, int64_t dims) {
  const GgufReader& reader = keys.reader();
  Json scaling = {{"rope_type", "longrope"}};
  for (const auto& [name, field] :
       {std::pair{kShortFactors, "short_factor"}, {kLongFactors, "long_factor"}}) {
    if (!reader.Has(name))
      throw Error(fmt::format("{}: tensor {} is missing, of two that belong together",
                              reader.path(), name));
    const std::vector<float> factors = ReadFactors(reader, name, dims);
    for (const float factor : factors)
      if (!(factor > 0))
        throw Error(
            fmt::format("{}: tensor {}: {} is no positive factor", reader.path(), name, factor));
    scaling[field] = factors;
  }
  scaling["original_max_position_embeddings"] = keys.Int("rope.scaling.original_context_length");
  // Files without it have the factor that follows from the two contexts.
  if (const auto factor = keys.FindNumber("rope.scaling.attn_factor"))
    scaling["attention_factor"] = *factor;
  return scaling;
}

/// The part of a head that is rotated, such that its product with head_dim is not below `dims`.
double PartOfHead(int64_t dims, int64_t head_dim) {
  const auto whole = static_cast<double>(head_dim);
  double part = static_cast<double>(dims) / whole;
  while (static_cast<int64_t>(whole * part) < dims) part = std::nextafter(part, 1.0);
  return part;
}

int64_t ReadRotatedDims(const GgufKeys& keys, int64_t head_dim, bool may_be_partial, Json& json) {
  const int64_t dims = keys.FindInt("rope.dimension_count").value_or(head_dim);
  if (dims == head_dim) return dims;
  if (!may_be_partial)
    keys.Fail("rope.dimension_count",
              fmt::format("{} of {} dimensions of a head: a partial rotation is not supported",
                          dims, head_dim));
  if (dims < 2 || dims > head_dim || dims % 2 != 0)
    keys.Fail("rope.dimension_count",
              fmt::format("{}, expected an even number up to {}", dims, head_dim));
  json["partial_rotary_factor"] = PartOfHead(dims, head_dim);
  return dims;
}

}  // namespace

void ReadGgufRope(const GgufKeys& keys, int64_t head_dim, bool may_be_partial, Json& json) {
  const GgufReader& reader = keys.reader();
  const int64_t dims = ReadRotatedDims(keys, head_dim, may_be_partial, json);
  const double theta = keys.FindNumber("rope.freq_base").value_or(10000.0);
  json["rope_theta"] = theta;
  if (reader.Has(kShortFactors) || reader.Has(kLongFactors)) {
    json["rope_scaling"] = LongRopeScaling(keys, dims);
    return;
  }
  // llama.cpp's own defaults; the older name of the factor is from before there was a type.
  const std::string type = keys.FindText("rope.scaling.type").value_or("linear");
  const double old_factor = keys.FindNumber("rope.scale_linear").value_or(1.0);
  const double factor = keys.FindNumber("rope.scaling.factor").value_or(old_factor);
  const bool scales = factor != 0.0 && factor != 1.0;
  if (type == "linear") {
    if (scales) json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", factor}};
  } else if (type != "none") {
    keys.Fail("rope.scaling.type", fmt::format("\"{}\" is not supported (none, linear)", type));
  }
  if (!reader.Has(kLlama3Factors)) return;
  if (json.contains("rope_scaling"))
    throw Error(fmt::format("{}: has both {} and {}", reader.path(), keys.Name("rope.scaling.type"),
                            kLlama3Factors));
  json["rope_scaling"] = Llama3Scaling(reader, theta, head_dim);
}

std::vector<GgufRopeFactors> RopeFactorsForGguf(const RopeConfig& rope, int64_t head_dim) {
  const auto as_floats = [](const std::vector<double>& factors) {
    return std::vector<float>(factors.begin(), factors.end());
  };
  if (rope.type == RopeConfig::Type::kLlama3)
    return {{kLlama3Factors, Llama3RopeFactors(rope, head_dim)}};
  if (rope.type == RopeConfig::Type::kLongRope)
    return {{kLongFactors, as_floats(rope.long_factors)},
            {kShortFactors, as_floats(rope.short_factors)}};
  return {};
}

void AddRopeKeys(const std::string& architecture, const ModelConfig& config, GgufMetadata& keys) {
  const RopeConfig& rope = config.rope;
  const auto add = [&](const char* key, GgufValue value) {
    keys.emplace_back(architecture + ".rope." + key, std::move(value));
  };
  add("dimension_count", rope.RotatedDims(config.head_dim));
  add("freq_base", rope.theta);
  if (rope.type == RopeConfig::Type::kLinear) {
    add("scaling.type", std::string("linear"));
    add("scaling.factor", rope.factor);
  }
  if (rope.type == RopeConfig::Type::kLongRope) {
    add("scaling.original_context_length", rope.original_max_positions);
    add("scaling.attn_factor", rope.attention_factor);
  } else if (architecture == "phi3") {
    add("scaling.original_context_length", config.max_positions);
  }
}

bool IsGgufRopeFactors(std::string_view name) {
  return name == kLlama3Factors || name == kShortFactors || name == kLongFactors;
}

}  // namespace puzzle
