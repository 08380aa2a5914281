// Models whose blocks differ in folders for Hugging Face transformers, which has no class for them:
// the Python files that it is told to run (`trust_remote_code=True`), and what those read in
// config.json. Torch-free; thread-safe (pure functions).
//
// Children of Llama are `nemotron-nas`, which other readers know without these files. Those of
// other families get a model_type of our own, "puzzle", and tensors named as Llama's: under the
// family's own name its stock class would take the folder and fill up with random weights what is
// not there.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/families/family.h"
#include "model/shape/config.h"

namespace puzzle {

/// The config.json of a folder: ToHfJson's where a stock class runs the model; else also
/// `auto_map`, `rotary` with the frequencies that the rope scaling comes to, and outside of Llama
/// `architecture` with what the family's sub-blocks are made of. ModelConfigFromJson reads it back
/// as the same config.
[[nodiscard]] nlohmann::ordered_json FolderJson(const ModelConfig& config);

/// The files that `auto_map` names: file name -> text.
[[nodiscard]] const std::map<std::string, std::string>& RemoteCode();

/// The family whose names the tensors of a folder have: Llama under "puzzle", else its own.
/// REQUIRES: ModelConfigFromJson reads `config`.
[[nodiscard]] const Family& NamingOf(const nlohmann::ordered_json& config);

}  // namespace puzzle
