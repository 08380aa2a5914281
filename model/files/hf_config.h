// Hugging Face `config.json` <-> ModelConfig. Torch-free; thread-safe (pure functions).
//
// Read: plain models of the families in model/families/family.h, and heterogeneous ones with
// `block_configs` in the DeciLM / nemotron-nas dialects (n_heads_in_group + ffn_mult or
// intermediate_size) or ModelOpt's AnyModel dialect (num_key_value_heads + intermediate_size).
// Written: the family's own config when it can say everything, else DeciLM for Llama and AnyModel
// for the others.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/json_text.h"
#include "model/families/hf_fields.h"
#include "model/shape/config.h"

namespace puzzle {

/// The model_type of children of other families than Llama in folders that we write
/// (model/files/remote_code.h); `base_model_type` says the family.
inline constexpr const char* kPuzzleModelType = "puzzle";

/// The model of a config.json. Throws Error "where: field: what" for unknown model types, missing
/// or wrong fields, quantised checkpoints, and options of a family that are not supported.
[[nodiscard]] ModelConfig ModelConfigFromJson(const nlohmann::ordered_json& json,
                                              const std::string& where);
/// The number of layers alone, of any model whose `model_type` is known, from a config.json or the
/// folder that holds it. Throws Error likewise.
[[nodiscard]] int64_t ReadHfLayerCount(const std::string& path);
/// Parses a JSON file as Python's programs write them: NaN and Infinity are no errors by
/// themselves.
[[nodiscard]] JsonText ParseHfJson(const std::string& path);
/// `eos_token_id` of config.json or generation_config.json: an id, a list, or nothing.
[[nodiscard]] std::vector<int32_t> ReadEosIds(const HfFields& fields);
/// Whether a config.json says the type of its tensors.
[[nodiscard]] bool SaysDType(const nlohmann::ordered_json& config);
/// A config.json that ModelConfigFromJson reads back as the same config. FFN sizes are written
/// as `ffn_mult` when all are multiples of 256 (every reader of DeciLM knows it), else as
/// `intermediate_size` (vLLM since December 2025).
[[nodiscard]] nlohmann::ordered_json ToHfJson(const ModelConfig& config);

}  // namespace puzzle
