#include "model/checkpoint.h"

#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/hf_config.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;
namespace fs = std::filesystem;

namespace {

// What AutoConfig needs to read a heterogeneous folder: `nemotron-nas` is not built into
// transformers, and readers access block_configs by attribute.
constexpr const char* kConfigurationPy = R"(from transformers import PretrainedConfig


class _Attributes(dict):
    """A dict whose items are attributes; survives JSON, deepcopy and pickle."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class DeciLMConfig(PretrainedConfig):
    model_type = "nemotron-nas"

    def __init__(self, block_configs=None, **kwargs):
        super().__init__(**kwargs)
        self.block_configs = [
            _Attributes({part: _Attributes(fields) for part, fields in block.items()})
            for block in (block_configs or [])
        ]
)";

// The checkpoint's name of a slot: with or without the "model." prefix, as in the file.
std::string NameInFile(const SafetensorsReader& reader, const std::string& name) {
  if (reader.Has(name)) return name;
  constexpr std::string_view kPrefix = "model.";
  if (name.starts_with(kPrefix)) {
    const std::string bare = name.substr(kPrefix.size());
    if (reader.Has(bare)) return bare;
  }
  return {};
}

Shape ShapeInModel(const std::string& name, const ModelConfig& config) {
  if (name == "model.norm.weight") return {config.hidden_size};
  if (!name.starts_with("model.layers.")) return {config.vocab_size, config.hidden_size};
  const size_t layer = std::stoul(name.substr(std::string_view("model.layers.").size()));
  const BlockSpec& block = config.blocks.at(layer);
  const bool attention =
      name.find(".self_attn.") != std::string::npos || name.ends_with("input_layernorm.weight");
  return ExpectedShape(name, attention ? VariantSpec(block.attention) : VariantSpec(block.ffn),
                       config);
}

Tensor ReadTensor(const SafetensorsReader& reader, const std::string& name, const Shape& shape) {
  const Shape found = reader.Info(name).shape;
  if (found != shape)
    throw Error(fmt::format("{}: tensor {} has shape {}, config.json implies {}",
                            reader.FileOf(name), name, ShapeString(found), ShapeString(shape)));
  const std::vector<float> values = reader.ReadF32(name);
  Tensor tensor = at::empty(shape, at::kFloat);
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  return tensor;
}

}  // namespace

ModelWeights LoadCheckpoint(const std::string& folder) {
  ModelWeights model;
  model.config = ReadHfConfig(folder);
  model.blocks.resize(model.config.blocks.size());
  const SafetensorsReader reader = SafetensorsReader::Open(folder);

  // Names first, so that a wrong folder is refused before anything large is read.
  std::vector<std::pair<std::string, NamedSlot>> found;
  std::set<std::string> used;
  for (const NamedSlot& slot : Slots(model)) {
    const std::string name = NameInFile(reader, slot.first);
    if (name.empty()) throw Error(fmt::format("{}: tensor {} is missing", folder, slot.first));
    found.emplace_back(name, slot);
    used.insert(name);
  }
  for (const std::string& name : reader.Names()) {
    const bool ignorable = name.ends_with("rotary_emb.inv_freq") ||
                           (name == "lm_head.weight" && model.config.tied_embeddings);
    if (!ignorable && !used.contains(name))
      throw Error(
          fmt::format("{}: tensor {} does not belong to the model that config.json describes",
                      reader.FileOf(name), name));
  }
  for (const auto& [name, slot] : found)
    *slot.second = ReadTensor(reader, name, ShapeInModel(slot.first, model.config));

  if (model.config.tied_embeddings && reader.Has("lm_head.weight")) {
    const Tensor head =
        ReadTensor(reader, "lm_head.weight", {model.config.vocab_size, model.config.hidden_size});
    if (!head.equal(model.embedding))
      throw Error(fmt::format(
          "{}: lm_head.weight differs from the embedding although tie_word_embeddings is true",
          reader.FileOf("lm_head.weight")));
  }
  return model;
}

std::map<std::string, uint64_t> SaveCheckpoint(
    const std::string& folder, const ModelWeights& model,
    const std::map<std::string, std::string>& extra_files) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(fmt::format("{}: cannot create the folder: {}", folder, error.message()));

  std::vector<Tensor> on_host;  // keeps the data alive while it is written
  std::vector<TensorToWrite> tensors;
  ModelWeights handles = model;
  for (const auto& [name, slot] : Slots(handles)) {
    on_host.push_back(slot->detach().to(at::kCPU, at::kFloat).contiguous());
    tensors.push_back({name, on_host.back().sizes().vec(), on_host.back().data_ptr<float>(),
                       model.config.stored_dtype});
  }
  WriteSafetensors(folder, tensors);

  std::map<std::string, std::string> texts = extra_files;
  texts["config.json"] = ToHfJson(model.config).dump(2) + "\n";
  if (!model.config.uniform()) texts["configuration_decilm.py"] = kConfigurationPy;

  std::map<std::string, uint64_t> written;
  for (const auto& [name, bytes] : texts) {
    AtomicFile file((fs::path(folder) / name).string());
    file.Append(bytes.data(), bytes.size());
    file.Commit();
    written[name] = bytes.size();
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"))
      written[name] = entry.file_size();
  }
  return written;
}

}  // namespace puzzle
