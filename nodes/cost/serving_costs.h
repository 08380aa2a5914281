// What a model costs to serve, counted from its shape: per sub-block parameters, memory, arithmetic
// and traffic in a scenario; and the time that a device would need at least, a roofline estimate.
// No libtorch. Values; the functions are thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "model/shape/variant.h"

namespace puzzle {

/// Bytes of an element: "fp32", "bf16", "fp16", "fp8". Throws Error for another name.
[[nodiscard]] double BytesOf(const std::string& dtype);

/// What is served at once, and in which types.
struct ServingScenario {
  int64_t batch = 1;
  int64_t prefill_length = 1024;
  int64_t generation_length = 1024;
  std::string weights = "bf16";
  std::string activations = "bf16";
  std::string kv = "bf16";

  /// Tokens in a finished sequence.
  [[nodiscard]] int64_t sequence() const { return prefill_length + generation_length; }
  bool operator==(const ServingScenario&) const = default;
};

/// How to count. kPuzzletron reproduces NVIDIA Model-Optimizer's puzzletron: its KV cache has
/// hidden_size / heads for head_dim, and tied embeddings count twice.
enum class CountingRules { kExact, kPuzzletron };

/// Costs of a part of the model. Prefill is one pass over batch * prefill_length tokens, decode all
/// of the generation_length steps of `batch` tokens, with a KV cache.
struct ServingCosts {
  double parameters = 0;  // the norm of a sub-block included
  double weight_mib = 0;
  double kv_mib = 0;
  double kv_heads = 0;
  double prefill_flops = 0;
  double decode_flops = 0;
  double prefill_bytes = 0;  // weights, activations and KV cache, read or written once each
  double decode_bytes = 0;
  double kernels = 0;  // launches in a pass

  [[nodiscard]] double memory_mib() const { return weight_mib + kv_mib; }
  ServingCosts& operator+=(const ServingCosts& other);
};

[[nodiscard]] ServingCosts CountSubBlock(const VariantSpec& spec, const ModelConfig& config,
                                         const ServingScenario& scenario,
                                         CountingRules rules = CountingRules::kExact);
/// Embedding, final norm and head.
[[nodiscard]] ServingCosts CountNonBlock(const ModelConfig& config, const ServingScenario& scenario,
                                         CountingRules rules = CountingRules::kExact);
/// All of it.
[[nodiscard]] ServingCosts CountModel(const ModelConfig& config, const ServingScenario& scenario,
                                      CountingRules rules = CountingRules::kExact);

/// A device that need not be at hand.
struct DeviceModel {
  std::string name;
  std::map<std::string, double> peak_tflops;  // by dtype of the weights, dense
  double bandwidth_gb_per_s = 0;
  double launch_us = 0;  // of a kernel
};

/// Reads configs/devices/*.json. Throws Error naming file and field.
[[nodiscard]] DeviceModel ReadDeviceModel(const std::string& path);

/// Time of prefill and of all decode steps.
struct PassTimes {
  double prefill_ms = 0;
  double decode_ms = 0;
};

/// An estimate from below: each pass takes the longer of its arithmetic at the peak rate and its
/// traffic at full bandwidth, and its launches. Throws Error when the device has no rate for the
/// scenario's weights.
[[nodiscard]] PassTimes EstimateTime(const ServingCosts& costs, const ServingScenario& scenario,
                                     const DeviceModel& device);

}  // namespace puzzle
