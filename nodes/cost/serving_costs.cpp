#include "nodes/cost/serving_costs.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/json_text.h"

namespace puzzle {
namespace {

constexpr double kMib = 1 << 20;
// Kernels of a pass through a sub-block: norm, matrices, rotation, cache, attention, residual.
constexpr double kAttentionKernels = 8;
constexpr double kFfnKernels = 5;
constexpr double kLinearKernels = 3;
constexpr double kNonBlockKernels = 3;

double Double(int64_t value) {
  return static_cast<double>(value);
}

// Sum over positions first, first + 1, ... (count of them) of the keys that a query there sees.
double KeysSeen(int64_t first, int64_t count, int64_t window) {
  const auto triangle = [](double n) { return n * (n + 1) / 2; };  // 1 + 2 + ... + n
  const double begin = Double(first), end = Double(first + count);
  if (window == 0) return triangle(end) - triangle(begin);
  const double w = Double(window);
  const double growing_end = std::clamp(w, begin, end);
  return triangle(growing_end) - triangle(begin) + (end - growing_end) * w;
}

// A pass over `tokens` tokens at `positions` steps reads the weights once per step.
void AddMatrices(double matrix_parameters, double width, const ModelConfig& config,
                 const ServingScenario& s, ServingCosts& costs) {
  const double prefill = Double(s.batch * s.prefill_length);
  const double decode = Double(s.batch * s.generation_length);
  const double weight_bytes = matrix_parameters * BytesOf(s.weights);
  // The stream is read and written, the inner width written and read.
  const double token_bytes = (2 * Double(config.hidden_size) + 2 * width) * BytesOf(s.activations);
  costs.prefill_flops += 2 * matrix_parameters * prefill;
  costs.decode_flops += 2 * matrix_parameters * decode;
  costs.prefill_bytes += weight_bytes + token_bytes * prefill;
  costs.decode_bytes += weight_bytes * Double(s.generation_length) + token_bytes * decode;
}

void AddAttention(const AttentionSpec& spec, const ModelConfig& config, const ServingScenario& s,
                  CountingRules rules, ServingCosts& costs) {
  const bool theirs = rules == CountingRules::kPuzzletron;
  const int64_t cached_dim = theirs ? config.hidden_size / config.n_heads : config.head_dim;
  const int64_t cached = spec.window > 0 ? std::min(s.sequence(), spec.window) : s.sequence();
  const double token_kv_bytes = 2 * Double(spec.n_kv_heads * cached_dim) * BytesOf(s.kv);
  costs.kv_heads = Double(spec.n_kv_heads);
  costs.kv_mib = token_kv_bytes * Double(cached * s.batch) / kMib;
  // Scores and weighted values: two products of heads * head_dim per query and key.
  const double pair_flops = 4 * Double(QueryHeads(spec, config) * config.head_dim);
  const double prefill_pairs = Double(s.batch) * KeysSeen(0, s.prefill_length, spec.window);
  const double decode_pairs =
      Double(s.batch) * KeysSeen(s.prefill_length, s.generation_length, spec.window);
  costs.prefill_flops += pair_flops * prefill_pairs;
  costs.decode_flops += pair_flops * decode_pairs;
  // Prefill writes the cache and reads it once, tile by tile; a decode step reads what it sees.
  costs.prefill_bytes += 2 * token_kv_bytes * Double(s.batch * s.prefill_length);
  costs.decode_bytes += token_kv_bytes * (decode_pairs + Double(s.batch * s.generation_length));
}

}  // namespace

double BytesOf(const std::string& dtype) {
  static const std::map<std::string, double> bytes = {
      {"fp32", 4}, {"bf16", 2}, {"fp16", 2}, {"fp8", 1}};
  const auto it = bytes.find(dtype);
  if (it == bytes.end()) {
    throw Error(fmt::format("unknown dtype \"{}\"; there are fp32, bf16, fp16, fp8", dtype));
  }
  return it->second;
}

ServingCosts& ServingCosts::operator+=(const ServingCosts& other) {
  parameters += other.parameters;
  weight_mib += other.weight_mib;
  kv_mib += other.kv_mib;
  kv_heads += other.kv_heads;
  prefill_flops += other.prefill_flops;
  decode_flops += other.decode_flops;
  prefill_bytes += other.prefill_bytes;
  decode_bytes += other.decode_bytes;
  kernels += other.kernels;
  return *this;
}

ServingCosts CountSubBlock(const VariantSpec& spec, const ModelConfig& config,
                           const ServingScenario& scenario, CountingRules rules) {
  ServingCosts costs;
  if (const auto* block = std::get_if<BlockSpec>(&spec)) {
    costs = CountSubBlock(block->attention, config, scenario, rules);
    costs += CountSubBlock(block->ffn, config, scenario, rules);
    return costs;
  }
  costs.parameters = Double(CountParameters(spec, config));
  costs.weight_mib = costs.parameters * BytesOf(scenario.weights) / kMib;
  const auto* attention = std::get_if<AttentionSpec>(&spec);
  const auto* ffn = std::get_if<FfnSpec>(&spec);
  if (IsNone(spec)) return costs;
  double width = Double(config.hidden_size);
  const bool is_full = attention != nullptr ? attention->is_full() : ffn->is_full();
  if (is_full) {
    width =
        attention != nullptr
            ? Double(2 * (QueryHeads(*attention, config) + attention->n_kv_heads) * config.head_dim)
            : 2 * Double(ffn->size);
  }
  AddMatrices(costs.parameters, width, config, scenario, costs);
  costs.kernels = kLinearKernels;
  if (!is_full) return costs;
  costs.kernels = attention != nullptr ? kAttentionKernels : kFfnKernels;
  if (attention != nullptr) AddAttention(*attention, config, scenario, rules, costs);
  return costs;
}

ServingCosts CountNonBlock(const ModelConfig& config, const ServingScenario& scenario,
                           CountingRules rules) {
  const double matrix = Double(config.vocab_size * config.hidden_size);
  ServingCosts costs;
  costs.parameters = Double(CountNonBlockParameters(config));
  if (rules == CountingRules::kPuzzletron && config.tied_embeddings) costs.parameters += matrix;
  costs.weight_mib = costs.parameters * BytesOf(scenario.weights) / kMib;
  // Looking tokens up is free; the head runs once after prefill and once per generated token.
  const double heads = Double(scenario.batch);
  costs.prefill_flops = 2 * matrix * heads;
  costs.decode_flops = 2 * matrix * heads * Double(scenario.generation_length);
  costs.prefill_bytes = matrix * BytesOf(scenario.weights);
  costs.decode_bytes = costs.prefill_bytes * Double(scenario.generation_length);
  costs.kernels = kNonBlockKernels;
  return costs;
}

ServingCosts CountModel(const ModelConfig& config, const ServingScenario& scenario,
                        CountingRules rules) {
  ServingCosts costs = CountNonBlock(config, scenario, rules);
  for (const BlockSpec& block : config.blocks) {
    costs += CountSubBlock(block.attention, config, scenario, rules);
    costs += CountSubBlock(block.ffn, config, scenario, rules);
  }
  return costs;
}

DeviceModel ReadDeviceModel(const std::string& path) {
  const JsonText text = JsonText::ParseFile(path);
  const nlohmann::ordered_json& json = text.value();
  const auto refuse = [&](const std::string& field, const std::string& what) {
    throw Error(fmt::format("{}: {}: {}", path, field, what));
  };
  if (!json.is_object()) refuse("device", "expected an object");
  const auto positive = [&](const nlohmann::ordered_json& object, const std::string& field) {
    const auto it = object.find(field);
    if (it == object.end()) refuse(field, "missing");
    if (!it->is_number() || !(it->get<double>() > 0)) refuse(field, "expected a positive number");
    return it->get<double>();
  };
  DeviceModel device;
  if (!json.contains("name") || !json["name"].is_string()) refuse("name", "expected a text");
  device.name = json["name"];
  if (!json.contains("peak_tflops") || !json["peak_tflops"].is_object()) {
    refuse("peak_tflops", "expected {dtype: rate}");
  }
  for (const auto& [dtype, rate] : json["peak_tflops"].items()) {
    (void)BytesOf(dtype);
    device.peak_tflops[dtype] = positive(json["peak_tflops"], dtype);
  }
  device.bandwidth_gb_per_s = positive(json, "bandwidth_gb_per_s");
  device.launch_us = positive(json, "launch_us");
  return device;
}

PassTimes EstimateTime(const ServingCosts& costs, const ServingScenario& scenario,
                       const DeviceModel& device) {
  const auto rate = device.peak_tflops.find(scenario.weights);
  if (rate == device.peak_tflops.end()) {
    throw Error(fmt::format("{}: no peak_tflops for weights in {}", device.name, scenario.weights));
  }
  const auto milliseconds = [&](double flops, double bytes, double passes) {
    const double arithmetic = flops / (rate->second * 1e12);
    const double traffic = bytes / (device.bandwidth_gb_per_s * 1e9);
    return 1e3 * (std::max(arithmetic, traffic) + passes * costs.kernels * device.launch_us * 1e-6);
  };
  return {milliseconds(costs.prefill_flops, costs.prefill_bytes, 1),
          milliseconds(costs.decode_flops, costs.decode_bytes, Double(scenario.generation_length))};
}

}  // namespace puzzle
