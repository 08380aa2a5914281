// The weights of a Decoder: a model's tensors in the forms that a step reads. Immutable after they
// were packed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/decode/decoder.h"
#include "model/decode/packed_matrix.h"
#include "model/decode/team.h"
#include "model/shape/config.h"

namespace puzzle::decode {

using Vector = std::vector<float>;  // empty: the model has none

struct NormWeights {
  Vector weight;  // what is multiplied by: 1 + the tensor in families that say so
  Vector bias;
};

/// Cosines and sines, [positions, half]: pairs (x[i], x[i + half]) are rotated.
struct Rotation {
  Vector cos, sin;
  int64_t half = 0;
};
/// Those of sequences that are long to the config, and of others.
struct Rotations {
  Rotation usual, of_long;
};

/// What reads the norm's output; then `out`, which adds to the residual.
struct PackedAttention {
  SubBlockForm form = SubBlockForm::kNone;
  int64_t heads = 0, kv_heads = 0, window = 0;
  bool window_rotation = false;  // rotates as attention with a window does
  NormWeights norm;
  PackedMatrix qkv;
  Vector qkv_bias;
  Vector q_norm, k_norm;
  PackedMatrix out;
  Vector out_bias, post_norm;
};

struct PackedFfn {
  SubBlockForm form = SubBlockForm::kNone;
  NormWeights norm;
  PackedMatrix gate, up;
  Vector gate_bias, up_bias;
  PackedMatrix out;
  Vector out_bias, post_norm;
};

struct PackedBlock {
  PackedAttention attention;
  PackedFfn ffn;
};

/// An embedding [vocabulary, hidden] that is not the head's matrix, kept alive by whoever has it.
struct Table {
  std::shared_ptr<const void> owner;
  const float* rows = nullptr;
};

struct PackedModel {
  ModelConfig config;
  Arena arena;
  Table embedding;  // no rows: the head's
  Table positions;  // learned ones, from the offset on
  std::vector<PackedBlock> blocks;
  NormWeights norm;
  PackedMatrix head;
  Rotations rotations, window_rotations;
};

/// Packs a model, which may be unread, for sequences of up to `positions` tokens; its tensors are
/// given back one by one.
[[nodiscard]] PackedModel PackModel(ModelWeights weights, WeightType type, int64_t positions,
                                    Team& team);

}  // namespace puzzle::decode
