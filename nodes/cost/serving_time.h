// How long serving takes on a device: one prefill of a batch, one decoding step of it, for a single
// sub-block or a whole model. Measured, so a caller wants the machine for itself. Not thread-safe:
// measure one thing at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "nodes/cost/timing.h"

namespace puzzle {

/// What is served at once.
struct ServingLoad {
  int64_t batch = 1;
  int64_t prefill = 128;     // tokens of every prompt
  int64_t generation = 128;  // tokens decoded for every prompt
};

/// `prefill`: all prompts of the batch. `decode`: one more token for each of them, when half of the
/// generation is in the KV cache; attention's share grows linearly with the cache, so the middle
/// stands for the average.
struct ServingTimes {
  Timing prefill;
  Timing decode;
  bool operator==(const ServingTimes&) const = default;
};

/// The rounds behind ServingTimes. Measuring adds to them, so that it can be done in several
/// visits, minutes apart.
struct ServingRounds {
  std::vector<Round> prefill;
  std::vector<Round> decode;
  [[nodiscard]] ServingTimes Times() const;
};

/// How much effort a visit is worth, and what to call between rounds.
struct TimingEffort {
  double seconds = 0.5;  // per figure, after warming up; at least three rounds
  std::function<void()> poll = [] {};
};

/// What one sub-block adds to a model of this config: N of its blocks are timed as they are with
/// the sub-block in each of them and with nothing in its place, in turns, and the difference / N is
/// the round's value. So everything else cancels, the caches are as busy as they are in service,
/// and every copy has weights and keys of its own. `copies` is N; 0: one per layer, at most eight.
/// Adds nothing for `none`, which takes no time.
void MeasureSubBlock(const ModelConfig& config, const VariantSpec& spec, const ServingLoad& load,
                     const std::string& device, int64_t copies, const TimingEffort& effort,
                     ServingRounds& rounds);

/// What a model costs beside its blocks: embedding, final norm, the head at the last position, and
/// the fixed cost of a pass.
void MeasureOutside(const ModelConfig& config, const ServingLoad& load, const std::string& device,
                    const TimingEffort& effort, ServingRounds& rounds);

/// A whole model, head at the last position only. Its weights are where they are.
void MeasureModel(const ModelWeights& model, const ServingLoad& load, const TimingEffort& effort,
                  ServingRounds& rounds);

/// Throws Error when the model has fewer positions than the load.
void CheckLoadFits(const ServingLoad& load, const ModelConfig& config);

}  // namespace puzzle
