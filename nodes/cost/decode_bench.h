// How fast models read and write text here: measured in turn, A B A B, a few tokens at a time, so
// that what disturbs the machine disturbs all of them, beside what memory and arithmetic could
// give.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/decode/decoder.h"

namespace puzzle {

struct BenchOptions {
  decode::WeightType type = decode::WeightType::kFp32;
  bool bf16_cache = false;
  int threads = 1;
  int64_t batch = 1;      // sequences side by side
  int64_t prefill = 512;  // tokens of each prompt
  int64_t decode = 128;   // tokens that are written behind it
  int64_t rounds = 5;     // in each of which every model has its turns
};

/// The decoder of a bench: room for what it reads and writes, and no more.
[[nodiscard]] decode::DecoderOptions DecoderFor(const BenchOptions& options);

/// Throws Error when a model's context is shorter than the prompt and what follows it, or when the
/// models do not fit `free_bytes` (0: unknown) together, saying the largest batch that does.
void CheckBench(const std::vector<ModelConfig>& models, const std::vector<std::string>& names,
                const BenchOptions& options, uint64_t free_bytes);

/// Median, lowest and highest of the rounds.
struct Measured {
  double median = 0, low = 0, high = 0;
};
[[nodiscard]] Measured MedianOf(std::vector<double> values);

struct BenchResult {
  std::string model;
  Measured prefill_tok_s;      // tokens of all prompts
  Measured decode_tok_s;       // of all sequences
  Measured first_token_ms;     // from the prompt to the first token
  double memory_mib = 0;       // weights, cache and buffers
  double step_mib = 0;         // read for a step half way through what is written
  double bandwidth_gb_s = 0;   // that these threads read large memory with, in the same rounds
  double bandwidth_share = 0;  // what decoding read in that time, as a share of it
  double ratio = 1;            // of decode_tok_s to the first model's, the median of the rounds
  double predicted_ratio = 1;  // by what a step reads and multiplies: StepSeconds, decode_rates.h
  // Of results that were stored before these were measured 0; theirs were predicted as if attention
  // read its cache at the bandwidth.
  double product_share = 0;  // what its products take at the rate of cached weights, of a step
  double cache_gb_s = 0;     // that attention like the model's reads its cache with
};

/// REQUIRES: CheckBench; as many names as decoders, which have the options of DecoderFor. `poll` is
/// called with the share that is done, and may throw.
[[nodiscard]] std::vector<BenchResult> RunBench(const std::vector<decode::Decoder*>& models,
                                                const std::vector<std::string>& names,
                                                const BenchOptions& options,
                                                const std::function<void(double)>& poll);

/// A table of them for people.
[[nodiscard]] std::string BenchTable(const std::vector<BenchResult>& results,
                                     const BenchOptions& options);
/// {"models": [{"model", "dtype", "prefill_tok_s", "decode_tok_s", "first_token_ms", "peak_mib",
/// "ratio", "predicted_ratio", ...}], "batch", ...}.
[[nodiscard]] nlohmann::ordered_json BenchJson(const std::vector<BenchResult>& results,
                                               const BenchOptions& options);

}  // namespace puzzle
