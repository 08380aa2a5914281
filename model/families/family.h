// The families of checkpoints that are understood: what their sub-blocks are made of, what their
// config.json says, and where each tensor lies in the files. A family is one file of this folder,
// its row and the functions it points to; the list is in family.cpp. Torch-free; thread-safe
// (constant tables, pure functions).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/families/hf_fields.h"
#include "model/shape/config.h"

namespace puzzle {

/// A part of a name as we say it, and as the family's files do.
using Renaming = std::pair<std::string_view, std::string_view>;

struct Family {
  using Json = nlohmann::ordered_json;

  std::string_view model_type;
  std::string_view architecture;  // the class of transformers that runs it

  /// Fields of config.json whose names differ between families.
  struct Fields {
    const char* hidden = "hidden_size";
    const char* layers = "num_hidden_layers";
    const char* heads = "num_attention_heads";
    const char* positions = "max_position_embeddings";
    const char* ffn = "intermediate_size";
    const char* activation = "hidden_act";
    const char* norm_eps = "rms_norm_eps";         // nullptr: not in the file, always the default
    const char* kv_heads = "num_key_value_heads";  // nullptr: as many as query heads
    double default_norm_eps = 1e-6;
    int64_t default_positions = 2048;
    int64_t default_head_dim = 0;  // 0: hidden size / heads
    const char* default_activation = "silu";
    bool default_tied = false;
    bool ffn_defaults_to_4x_hidden = false;
  };
  Fields fields = {};
  Architecture arch = {};

  std::string_view base_prefix;  // that a base model's files leave out: "model.", "transformer."
  /// Prefixes of whole names, then names within a layer. Several of ours with one name in the files
  /// are stacked there, output rows first, in this order.
  std::span<const Renaming> names = {};
  bool conv1d = false;  // projections are stored [in, out]
  /// Suffixes of tensors that say nothing: masks, tables.
  std::span<const std::string_view> ignored = {};

  // What only this family says; each may be absent.

  /// Throws Error for options that would change what is computed and that we do not have.
  void (*refuse)(const HfFields& fields) = nullptr;
  /// Reads into `config`, which has the sizes and `arch` with its activation, all that is not in
  /// `fields`: options of `arch`, the rotary embedding when it is not the usual one.
  void (*read)(const HfFields& fields, ModelConfig& config) = nullptr;
  /// How far the queries of each layer see (0: all) where config.json has no `layer_types`.
  std::vector<int64_t> (*windows)(const HfFields& fields, size_t n_layers) = nullptr;
  /// Writes what `read` and `windows` read, as well as the family can say it.
  void (*write)(const ModelConfig& config, Json& json) = nullptr;
};

/// The row of a `model_type`; nullptr when there is none.
[[nodiscard]] const Family* FindFamily(std::string_view model_type);
/// The row of a config. REQUIRES: it is one of ours.
[[nodiscard]] const Family& FamilyOf(const ModelConfig& config);
/// "llama, mistral, ...": for messages.
[[nodiscard]] std::string FamilyNames();

/// Where a tensor lies in a family's files.
struct StoredTensor {
  std::string name;
  bool transposed = false;  // stored [in, out]
  int part = 0;             // of the tensors that are stacked, output rows first, under this name
};

/// `name` is ours, as in Slots of model/weights.h ("model.layers.3.mlp.up_proj.weight").
[[nodiscard]] StoredTensor StoredAs(const Family& family, std::string_view name);
/// Whether a tensor of a file is one of those that carry nothing.
[[nodiscard]] bool IsIgnored(const Family& family, std::string_view name);

/// The widest window of all layers; 0: none has one. For `write`.
[[nodiscard]] int64_t LargestWindow(const ModelConfig& config);

}  // namespace puzzle
