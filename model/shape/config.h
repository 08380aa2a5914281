// The shape of a decoder-only model whose blocks may differ: torch-free values, thread-compatible.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/array.h"

namespace puzzle {

/// What stands in a sub-block's place.
enum class SubBlockForm {
  kFull,    // attention with kv heads, or an FFN with channels
  kLinear,  // one [hidden, hidden] matrix behind the norm
  kNone,    // nothing: the residual passes
};

/// Attention sub-block: grouped-query attention with `n_kv_heads`, a linear map, or nothing.
struct AttentionSpec {
  SubBlockForm form = SubBlockForm::kFull;
  int64_t n_kv_heads = 0;     // 0 unless kFull
  int64_t window = 0;         // keys that a query sees, its own included; 0: all before it
  int64_t n_query_heads = 0;  // of a sub-block that lost some with their kv heads; 0: the model's

  // What other rooms ask; what a form is made of and computes is known in model/block.
  [[nodiscard]] bool is_full() const { return form == SubBlockForm::kFull; }
  [[nodiscard]] bool is_linear() const { return form == SubBlockForm::kLinear; }
  [[nodiscard]] bool is_none() const { return form == SubBlockForm::kNone; }
  bool operator==(const AttentionSpec&) const = default;
};

/// FFN sub-block: intermediate `size`, a linear map, or nothing.
struct FfnSpec {
  SubBlockForm form = SubBlockForm::kFull;
  int64_t size = 0;  // 0 unless kFull

  [[nodiscard]] bool is_full() const { return form == SubBlockForm::kFull; }
  [[nodiscard]] bool is_linear() const { return form == SubBlockForm::kLinear; }
  [[nodiscard]] bool is_none() const { return form == SubBlockForm::kNone; }
  bool operator==(const FfnSpec&) const = default;
};

struct BlockSpec {
  AttentionSpec attention;
  FfnSpec ffn;

  bool operator==(const BlockSpec&) const = default;
};

/// Rotary embedding: angle of position p and pair k is p * InverseFrequencies()[k].
struct RopeConfig {
  enum class Type {
    kPlain,
    kLinear,    // positions divided by `factor`
    kLlama3,    // long waves divided by `factor`
    kDynamic,   // plain up to the model's context, which is as far as we go
    kYarn,      // arXiv 2309.00071
    kLongRope,  // arXiv 2402.13753: factors of their own, others for long sequences
  };
  Type type = Type::kPlain;
  double theta = 10000.0;
  double factor = 1.0;                       // all but kPlain and kLongRope
  double low_freq_factor = 1.0;              // kLlama3
  double high_freq_factor = 4.0;             // kLlama3
  int64_t original_max_positions = 8192;     // kLlama3, kYarn, kLongRope
  double beta_fast = 32.0, beta_slow = 1.0;  // kYarn
  bool truncate = true;                      // kYarn: the ramp begins and ends at whole pairs
  std::vector<double> short_factors = {}, long_factors = {};  // kLongRope, one per pair
  double attention_factor = 1.0;  // kYarn, kLongRope: cosines and sines are multiplied by it
  int64_t dims = 0;               // of a head that are rotated, the first ones; 0: all

  bool operator==(const RopeConfig&) const = default;

  [[nodiscard]] int64_t RotatedDims(int64_t head_dim) const { return dims > 0 ? dims : head_dim; }
  /// Whether the frequencies of a sequence of `length` differ from those of shorter ones.
  [[nodiscard]] bool IsLong(int64_t length) const {
    return type == Type::kLongRope && length > original_max_positions;
  }
  /// [rotated dims / 2] inverse frequencies, scaling included, for a sequence that IsLong or not.
  [[nodiscard]] std::vector<double> InverseFrequencies(int64_t head_dim,
                                                       bool is_long = false) const;
};

/// What the sub-blocks of a family are made of, sizes apart. The default is Llama's.
struct Architecture {
  enum class Norm { kRms, kLayer };  // kLayer subtracts the mean and has a bias
  enum class Positions { kRotary, kLearned };
  enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

  Norm norm = Norm::kRms;
  Positions positions = Positions::kRotary;
  int64_t position_offset = 0;  // kLearned: position p takes row p + offset of the table
  Activation activation = Activation::kSilu;
  bool gated_ffn = true;         // down(act(gate x) * up x), else down(act(up x))
  bool qkv_bias = false;         // of q_proj, k_proj, v_proj
  bool o_bias = false;           // of o_proj
  bool ffn_bias = false;         // of every matrix of the FFN
  bool qk_norm = false;          // RMS norm of each query and key head, before the rotation
  bool scaled_attention = true;  // scores are divided by sqrt(head_dim), or sqrt(query_scalar)
  double query_scalar = 0;       // 0: head_dim
  double attention_cap = 0;      // scores become cap * tanh(score / cap); 0: they stay
  double logit_cap = 0;          // likewise logits
  double embedding_scale = 1;    // the embeddings are multiplied by it
  bool norms_add_one = false;    // RMS norms multiply by 1 + weight
  bool post_norms = false;       // what a full sub-block adds goes through a norm of its own

  bool operator==(const Architecture&) const = default;
};

/// A decoder-only model: token embedding, blocks `x += attention(norm(x)); x += ffn(norm(x))`,
/// final norm, head. head_dim is the same in every block, and so are the query heads unless a block
/// says otherwise.
struct ModelConfig {
  std::string family = "llama";  // model_type of a row of model/families/family.h
  Architecture arch;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t n_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  double norm_eps = 1e-5;
  RopeConfig rope;
  std::optional<RopeConfig> window_rope;  // of attention with a window, where that differs
  bool tied_embeddings = false;           // the head is the embedding matrix
  int32_t bos_id = -1;
  int32_t pad_id = -1;
  std::vector<int32_t> eos_ids;
  DType stored_dtype = DType::kF32;  // of the checkpoint this came from; exports return to it
  std::vector<BlockSpec> blocks;

  [[nodiscard]] int64_t n_layers() const { return static_cast<int64_t>(blocks.size()); }
  bool operator==(const ModelConfig&) const = default;
};

/// Throws Error naming the first field (prefixed with `where`) that is out of range: sizes positive
/// and bounded, kv heads dividing the heads, an even head_dim under rotary embeddings.
void CheckModelConfig(const ModelConfig& config, const std::string& where);
/// Throws Error naming the first id of a prompt that is outside the model's vocabulary.
void CheckPromptIds(std::span<const int32_t> prompt, const ModelConfig& config);

/// "silu", "gelu", "gelu_new", "relu": the names of config.json.
[[nodiscard]] std::string_view ActivationName(Architecture::Activation activation);
/// Query heads of a full attention sub-block.
[[nodiscard]] int64_t QueryHeads(const AttentionSpec& spec, const ModelConfig& config);

/// "kv2", "kv1q3" (one kv head and three query heads), "kv2w5" (queries see five keys), "linear",
/// "none".
[[nodiscard]] std::string Describe(const AttentionSpec& spec);
/// "512", "linear", "none".
[[nodiscard]] std::string Describe(const FfnSpec& spec);

}  // namespace puzzle
