// Picks the next token from logits. Not thread-safe; equal seeds and logits give equal tokens on
// every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/random.h"

namespace puzzle::decode {

/// What is done to the logits, in this order; the defaults do nothing. The filters are those of
/// Hugging Face's generate.
struct SamplingOptions {
  double repetition_penalty = 1;  // logits of tokens that are there are divided by it, or
                                  // multiplied where they are negative
  double temperature = 0;         // 0: the likeliest token, the one of lowest id among equals
  int64_t top_k = 0;  // among the k likeliest, and those that equal the last of them; 0: all
  double top_p = 1;   // among the likeliest that together have this probability
  double min_p = 0;   // among those with at least this share of the likeliest's
  uint64_t seed = 1;
};

/// Throws Error naming the option that is out of range.
void CheckSampling(const SamplingOptions& options);

class Sampler {
 public:
  /// REQUIRES: CheckSampling accepts the options.
  Sampler(const SamplingOptions& options, int64_t vocabulary);

  /// A token that is there already: in the prompt, or picked.
  void Saw(int32_t id);
  /// The next token; Saw is called with it. REQUIRES: as many logits as the vocabulary. Throws
  /// Error when they are not numbers.
  [[nodiscard]] int32_t Pick(std::span<const float> logits);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  [[nodiscard]] int32_t Draw();
  void KeepTopK();

  SamplingOptions options_;
  Random random_;
  std::vector<uint8_t> seen_;  // by id
  std::vector<int32_t> seen_ids_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace puzzle::decode
