// `latency`: what every variant costs in time, measured on the lane's device, and `model_latency`:
// the same for a whole model, beside what was predicted for it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "graph/kind/kind.h"
#include "nodes/cost/kinds.h"
#include "nodes/cost/serving_time.h"

namespace puzzle {

/// Measured times by shape. Values.
struct Latencies {
  static constexpr std::string_view kType = "latencies";
  std::string device;  // "cpu"
  ServingLoad load;
  ServingTimes outside;                       // embedding, final norm, head
  std::map<std::string, ServingTimes> times;  // by VariantName: equal shapes are measured once

  void Save(ArchiveWriter& out) const;
  static Latencies Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return times.size() * 128; }
};

/// The time of a whole model in service.
struct ModelLatency {
  static constexpr std::string_view kType = "model_latency";
  std::string label;
  ServingLoad load;
  ServingTimes measured;
  std::optional<ServingTimes> predicted;  // sums of Latencies

  void Save(ArchiveWriter& out) const;
  static ModelLatency Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof(ModelLatency) + label.size(); }
};

/// What was measured for a VariantName. Throws Error naming a shape that was not measured.
[[nodiscard]] const ServingTimes& TimesOf(const Latencies& latencies, const std::string& name);
/// What the parts of `model` add up to. Throws Error naming a shape that was not measured.
[[nodiscard]] ServingTimes PredictTimes(const ModelConfig& model, const Latencies& latencies);

[[nodiscard]] Latencies RunLatency(const LatencyParams& params, const Inputs& inputs,
                                   RunContext& context);
[[nodiscard]] ModelLatency RunModelLatency(const ModelLatencyParams& params, const Inputs& inputs,
                                           RunContext& context);

}  // namespace puzzle
