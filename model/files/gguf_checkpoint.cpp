#include "model/files/gguf_checkpoint.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "io/error.h"
#include "io/gguf.h"
#include "model/files/gguf_config.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// What a file holds under one name: a tensor of ours, or several whose rows follow each other.
struct InGguf {
  std::string name;
  std::vector<std::pair<GgufPlace, Tensor*>> parts;
};

std::vector<InGguf> TensorsInGguf(ModelWeights& model) {
  std::vector<InGguf> all;
  std::map<std::string, size_t> index;
  for (const auto& [name, slot] : Slots(model)) {
    const GgufPlace place = GgufPlaceOf(model.config, name);
    const auto [found, is_new] = index.emplace(place.name, all.size());
    if (is_new) all.push_back({place.name, {}});
    InGguf& stored = all[found->second];
    PUZZLE_CHECK(stored.parts.size() == static_cast<size_t>(place.part), "parts out of order");
    stored.parts.emplace_back(place, slot);
  }
  return all;
}

Shape ShapeInGguf(const InGguf& stored) {
  Shape shape = stored.parts.front().second->sizes().vec();
  for (size_t i = 1; i < stored.parts.size(); ++i) shape[0] += stored.parts[i].second->size(0);
  return shape;
}

// llama.cpp rotates neighbours, the model halves of a head: row 2j + s of a head is s * half + j.
Tensor InHalves(const Tensor& rows, int64_t heads) {
  const int64_t half = rows.size(0) / heads / 2;
  Shape shape = {heads, half, 2};
  shape.insert(shape.end(), rows.sizes().begin() + 1, rows.sizes().end());
  return rows.view(shape).transpose(1, 2).reshape(rows.sizes());
}

void ReadRows(const InGguf& stored, const GgufReader& reader) {
  Tensor whole = at::empty(ShapeInGguf(stored), at::kFloat);
  reader.ReadF32(stored.name, {whole.data_ptr<float>(), static_cast<size_t>(whole.numel())});
  int64_t first = 0;
  for (const auto& [place, slot] : stored.parts) {
    const int64_t rows = slot->size(0);
    const Tensor own = stored.parts.size() == 1 ? whole : whole.narrow(0, first, rows).clone();
    *slot = place.rotated > 0 ? InHalves(own, place.rotated) : own;
    first += rows;
  }
}

}  // namespace

ModelWeights LoadGguf(const std::string& path) {
  const GgufReader reader = GgufReader::Open(path);
  const ModelConfig config = ReadGgufConfig(reader);
  ModelWeights model = Outline(config);

  // Names and shapes first, so that a wrong file is refused before anything large is read.
  const std::vector<InGguf> stored = TensorsInGguf(model);
  std::set<std::string> used;
  for (const InGguf& tensor : stored) {
    if (!reader.Has(tensor.name))
      throw Error(fmt::format("{}: tensor {} is missing", path, tensor.name));
    const Shape shape = ShapeInGguf(tensor);
    if (reader.ShapeOf(tensor.name) != shape)
      throw Error(fmt::format("{}: tensor {} has shape {}, the metadata implies {}",
                              reader.FileOf(tensor.name), tensor.name,
                              ShapeString(reader.ShapeOf(tensor.name)), ShapeString(shape)));
    used.insert(tensor.name);
  }
  for (const std::string& name : reader.Names()) {
    const bool is_copy = name == "output.weight" && config.tied_embeddings;
    if (!used.contains(name) && !IsInGgufConfig(name) && !is_copy)
      throw Error(
          fmt::format("{}: tensor {} does not belong to the model that the metadata describes",
                      reader.FileOf(name), name));
  }
  for (const InGguf& tensor : stored) ReadRows(tensor, reader);
  return model;
}

}  // namespace puzzle
