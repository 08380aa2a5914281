#include "nodes/train/artifacts.h"

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/data/file_weights.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

void Block::Save(ArchiveWriter& out) const {
  out.SetAttribute("layer", layer);
  out.SetAttribute("variant", variant);
  out.SetAttribute("spec", ToJson(spec));
  out.SetAttribute("parents_own", parents_own);
  out.SetAttribute("init_loss", init_loss);
  out.SetAttribute("loss", loss);
  if (parents_own) return;
  SubBlockWeights handles = Weights();
  for (const auto& [name, slot] : Slots(handles, spec)) WriteTensor(out, name, *slot);
}

SubBlockWeights Block::Weights() const {
  PUZZLE_CHECK(!parents_own, "the parent's own block has no weights of its own");
  if (reader == nullptr) return trained;
  const ArchivedWeights archived(reader);
  SubBlockWeights weights = NoWeights(WhichSubBlock(spec));
  for (const auto& [name, slot] : AllSlots(weights))
    if (reader->HasArray(name)) *slot = archived.Find(name);
  return weights;
}

Block Block::Load(std::shared_ptr<const ArchiveReader> in) {
  Block block;
  block.layer = in->Attribute("layer");
  block.variant = in->Attribute("variant");
  block.spec = VariantFromJson(in->Attribute("spec"));
  block.parents_own = in->Attribute("parents_own");
  block.init_loss = in->Attribute("init_loss");
  block.loss = in->Attribute("loss");
  block.reader = std::move(in);
  return block;
}

size_t Block::ResidentBytes() const {
  size_t bytes = sizeof(Block);
  SubBlockWeights handles = trained;
  for (const auto& [name, slot] : AllSlots(handles))
    if (slot->defined() && !slot->is_meta()) bytes += slot->nbytes();
  return bytes;
}

}  // namespace puzzle
