// Checkpoint folders in Hugging Face layout: config.json + safetensors (+ tokenizer files). GGUF
// files, which gguf_checkpoint.h writes, are read in their place. Thread-safe (no shared state).
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/weights.h"

namespace puzzle {

/// Reads a GGUF file, or a folder: plain Llama or heterogeneous `block_configs`. Weights are
/// converted to fp32. Throws Error naming file and tensor for missing, extra, misshapen or
/// non-finite tensors, before anything of the wrong size is allocated. Old `rotary_emb.inv_freq`
/// tensors are ignored, a missing "model." prefix is accepted, and a `lm_head.weight` beside tied
/// embeddings must equal them, or stands for them where they are not there. 8-bit weights are read
/// with their scales (model/files/fp8.h).
[[nodiscard]] ModelWeights LoadCheckpoint(const std::string& folder);

/// Writes config.json, safetensors in the config's stored dtype and `extra_files` (name -> bytes;
/// a tokenizer's). Models whose blocks differ also get the Python files of
/// model/files/remote_code.h. The folder appears when all is written (io/staged_folder.h); of one
/// that is there, the files of an older checkpoint go. Returns name -> bytes written. Throws Error,
/// and leaves the folder as it was.
std::map<std::string, uint64_t> SaveCheckpoint(
    const std::string& folder, const ModelWeights& model,
    const std::map<std::string, std::string>& extra_files = {});
/// The same with a config.json of another dialect that reads back as the model's config
/// (model/files/anymodel.h), its `model_type` being the family's.
std::map<std::string, uint64_t> SaveCheckpoint(
    const std::string& folder, const ModelWeights& model,
    const std::map<std::string, std::string>& extra_files, const nlohmann::ordered_json& config);

}  // namespace puzzle
