// A model that reads and writes text fast on the CPU: weights packed once in fp32, bf16 or int8, no
// autograd and no operators of libtorch, no allocation from token to token. Every form of sub-block
// and every family. One step streams through the weights once for all sequences, so that it is
// bound by the memory's bandwidth for few of them and by arithmetic for many. Logits of a token do
// not depend on the sequences beside it, on how a prompt is cut, nor on the number of threads. An
// object belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/decode/panel_kernels.h"
#include "model/shape/config.h"

namespace puzzle {

struct ModelWeights;

namespace decode {

/// "fp32", "bf16" or "int8". Throws Error for others.
[[nodiscard]] WeightType WeightTypeNamed(const std::string& name);
[[nodiscard]] std::string WeightTypeName(WeightType type);

struct DecoderOptions {
  WeightType type = WeightType::kFp32;
  bool bf16_cache = false;    // keys and values in bf16, else fp32
  int threads = 1;            // the caller's among them
  int64_t sequences = 1;      // that are read side by side
  int64_t positions = 0;      // room for each of them; 0: the model's context
  int64_t pass_tokens = 256;  // computed at once; longer prompts go in pieces
};

/// Memory that a Decoder takes.
struct DecoderBytes {
  uint64_t weights = 0;  // all of which a step reads, but for an embedding that is not the head too
  uint64_t cache = 0;    // when every sequence is full
  uint64_t buffers = 0;
  [[nodiscard]] uint64_t Total() const { return weights + cache + buffers; }
};
[[nodiscard]] DecoderBytes BytesOf(const ModelConfig& config, const DecoderOptions& options);
/// Bytes that a step reads for one more token of each of `sequences` that have `length` already.
[[nodiscard]] uint64_t StepBytes(const ModelConfig& config, const DecoderOptions& options,
                                 int64_t sequences, int64_t length);

/// Those that attention of one block reads of its cache.
[[nodiscard]] uint64_t CacheStepBytes(const BlockSpec& block, const ModelConfig& config,
                                      const DecoderOptions& options, int64_t sequences,
                                      int64_t length);

/// Numbers of the matrices that a step multiplies with every token.
[[nodiscard]] int64_t StepNumbers(const ModelConfig& config);

/// Tokens that a sequence goes on with.
struct NewTokens {
  int64_t sequence = 0;
  std::span<const int32_t> ids;
  int64_t logits = 1;  // of how many of them, the last ones, logits are wanted
};

class Decoder {
 public:
  /// Packs `weights` and needs them no more, except for an embedding that is not the head too,
  /// which it shares. Of an unread model (OpenCheckpoint) matrices go from the files into their
  /// packed form without being in memory beside it. Throws Error as reading does, and when the
  /// system has no memory for it. REQUIRES: weights on the CPU or unread, at least one thread and
  /// sequence, positions within the model's context.
  Decoder(ModelWeights weights, const DecoderOptions& options);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  [[nodiscard]] const ModelConfig& config() const;
  [[nodiscard]] const DecoderOptions& options() const;

  /// Goes on with some sequences. Throws Error for ids outside the vocabulary and for more tokens
  /// than there is room for, saying how many that is; nothing is read then. REQUIRES: no sequence
  /// twice.
  void Read(std::span<const NewTokens> tokens);
  /// The logits [vocabulary] that the last Read was asked for, counted through all its tokens;
  /// valid until the next.
  [[nodiscard]] std::span<const float> Logits(int64_t i) const;
  /// Tokens that a sequence has.
  [[nodiscard]] int64_t Length(int64_t sequence) const;
  /// Which ones; valid until the next Read or Shorten.
  [[nodiscard]] std::span<const int32_t> Ids(int64_t sequence) const;
  /// Whether Shorten may be called: a sequence has as many tokens, and they were rotated as shorter
  /// ones are.
  [[nodiscard]] bool CanShorten(int64_t sequence, int64_t length) const;
  /// Takes a sequence back to its first `length` tokens. REQUIRES: CanShorten.
  void Shorten(int64_t sequence, int64_t length);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace decode
}  // namespace puzzle
