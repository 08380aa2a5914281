// How long serving takes on a device: one prefill of a batch, one decoding step of it, for a single
// sub-block or a whole model. Measured, so a caller wants the machine for itself. Not thread-safe:
// measure one thing at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/transformer.h"

namespace puzzle {

/// What is served at once.
struct ServingLoad {
  int64_t batch = 1;
  int64_t prefill = 128;     // tokens of every prompt
  int64_t generation = 128;  // tokens decoded for every prompt
};

/// A measured time: the median of the rounds, and their robust standard deviation (1.4826 times the
/// median absolute deviation).
struct Timing {
  double ms = 0;
  double spread_ms = 0;
  bool operator==(const Timing&) const = default;
};

/// `prefill`: all prompts of the batch. `decode`: one more token for each of them, when half of the
/// generation is in the KV cache; attention's share grows linearly with the cache, so the middle
/// stands for the average.
struct ServingTimes {
  Timing prefill;
  Timing decode;
  bool operator==(const ServingTimes&) const = default;
};

/// How much effort a figure is worth, and what to call between rounds.
struct TimingEffort {
  double seconds = 0.5;  // per figure, after warming up
  std::function<void()> poll = [] {};
};

/// Median and spread of samples in seconds, in milliseconds; never below zero.
/// REQUIRES: samples not empty.
[[nodiscard]] Timing Summarize(std::vector<double> samples_s);

/// What one sub-block adds to a model of this config: N of its blocks are timed alone and with a
/// copy of the sub-block behind each of them, in turns, and the difference / N is taken round by
/// round, so that everything else cancels. The blocks around keep the caches as busy as they are
/// in service (a stack of nothing but one small sub-block looks faster than it is), and every copy
/// has weights of its own. Zero for `none`. `copies` is N; 0: one per layer, at most eight.
[[nodiscard]] ServingTimes TimeSubBlock(const ModelConfig& config, const VariantSpec& spec,
                                        const ServingLoad& load, const std::string& device,
                                        int64_t copies, const TimingEffort& effort);

/// What a model costs beside its blocks: embedding, final norm, the head at the last position, and
/// the fixed cost of a pass.
[[nodiscard]] ServingTimes TimeOutside(const ModelConfig& config, const ServingLoad& load,
                                       const std::string& device, const TimingEffort& effort);

/// A whole model, head at the last position only. Its weights are where they are.
[[nodiscard]] ServingTimes TimeModel(const ModelWeights& model, const ServingLoad& load,
                                     const TimingEffort& effort);

/// Throws Error when the model has fewer positions than the load.
void CheckLoadFits(const ServingLoad& load, const ModelConfig& config);

}  // namespace puzzle
