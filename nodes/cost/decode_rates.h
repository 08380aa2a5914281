// What memory and arithmetic give a team of threads that decodes, measured, and how long a step of
// a model takes at these rates: the prediction of `bench`.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "nodes/cost/decode_bench.h"

namespace puzzle {

/// What decides, beside the type, how fast attention reads a cache: the size of a head and the
/// queries that share one.
struct AttentionShape {
  int64_t head_dim = 0;
  int64_t group = 1;
  auto operator<=>(const AttentionShape&) const = default;
};
/// Those of a model's blocks.
[[nodiscard]] std::set<AttentionShape> AttentionShapesOf(const ModelConfig& config);

/// Per second, all threads together.
struct DecodeRates {
  double bandwidth = 0;  // bytes of memory that no cache holds
  double products = 0;   // multiplications and additions of cached weights with the batch's tokens
  // Bytes of keys and values: attention to caches that are larger than the processor's, with all
  // it computes. At most the bandwidth; less where arithmetic binds, or reading stops for it.
  std::map<AttentionShape, double> attention;
};

/// Seconds that attention takes of a step half way through what is written: of each block the bytes
/// of keys and values that it reads for the whole batch, by the rate of its shape. REQUIRES: the
/// rates of its shapes.
[[nodiscard]] double AttentionSeconds(const ModelConfig& config, const BenchOptions& options,
                                      const DecodeRates& rates);

/// Seconds of the products of a step.
[[nodiscard]] double ProductSeconds(const ModelConfig& config, const BenchOptions& options,
                                    const DecodeRates& rates);

/// Seconds that a step takes,
///
///   max(weights / bandwidth, 2 numbers batch / products) + AttentionSeconds:
///
/// weights stream past the tokens while these are multiplied, and whichever takes longer counts
/// (bytes of all matrices in their type, and how many numbers they have); attention alternates with
/// that, layer by layer. Norms, sampling and waiting for each other are not in it.
[[nodiscard]] double StepSeconds(const ModelConfig& config, const BenchOptions& options,
                                 const DecodeRates& rates);

/// Measures rates, as often as it is asked to. Takes 256 MiB of memory. An object belongs to one
/// thread.
class RateMeter {
 public:
  RateMeter(const BenchOptions& options, const std::set<AttentionShape>& shapes);
  ~RateMeter();
  RateMeter(const RateMeter&) = delete;
  RateMeter& operator=(const RateMeter&) = delete;

  /// Once more; a tenth of a second. Each rate is the best of a few attempts: what the machine
  /// gives when nothing disturbs it.
  const DecodeRates& Measure();
  /// The medians of what was measured. REQUIRES: something was.
  [[nodiscard]] DecodeRates Rates() const;

 private:
  class Machine;
  std::unique_ptr<Machine> machine_;
  std::vector<AttentionShape> shapes_;
  std::vector<DecodeRates> measured_;
};

}  // namespace puzzle
