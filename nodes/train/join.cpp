#include "nodes/train/join.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"
#include "model/unread.h"
#include "nodes/data/artifacts.h"

namespace puzzle {

namespace {

SubBlockWeights PartOf(const ModelWeights& parent, int64_t layer, const VariantSpec& part,
                       const std::vector<Input<Block>>& blocks) {
  const SubBlock which = WhichSubBlock(part);
  if (part == ParentVariant(parent.config, layer, which)) return SubBlockOf(parent, layer, which);
  if (IsNone(part)) return NoWeights(which);
  for (const auto& input : blocks) {
    const auto block = input.Load();
    if (block->layer == layer && block->spec == part) return WeightsOf(*block, parent);
  }
  throw Error(fmt::format("layer {}: no block at port `blocks` is {}", layer, VariantName(part)));
}

}  // namespace

void CheckLayer(int64_t layer, const ModelConfig& parent) {
  if (layer >= parent.n_layers())
    throw Error(
        fmt::format("layer {}: the parent has layers 0 to {}", layer, parent.n_layers() - 1));
}

SubBlockWeights WeightsOf(const Block& block, const ModelWeights& parent) {
  CheckLayer(block.layer, parent.config);
  if (block.parents_own) return SubBlockOf(parent, block.layer, WhichSubBlock(block.spec));
  SubBlockWeights weights = block.Weights();
  const int64_t hidden = parent.config.hidden_size;
  const bool is_unread = parent.norm.is_meta();
  for (auto& [name, slot] : Slots(weights, block.spec)) {
    if (slot->dim() == 2 && slot->size(0) != hidden && slot->size(1) != hidden)
      throw Error(
          fmt::format("layer {}: {} is of another model: its {} is [{}, {}], but the parent's "
                      "hidden size is {}",
                      block.layer, block.variant, name, slot->size(0), slot->size(1), hidden));
    if (!is_unread) *slot = InMemory(*slot).to(parent.norm.device());
  }
  return weights;
}

Block JoinParts(const ModelWeights& parent, int64_t layer, const BlockSpec& spec,
                const std::vector<Input<Block>>& blocks) {
  Block joined;
  joined.layer = layer;
  joined.spec = spec;
  joined.variant = VariantName(spec);
  joined.parents_own = spec == parent.config.blocks.at(static_cast<size_t>(layer));
  joined.trained = NoWeights(SubBlock::kBoth);
  if (joined.parents_own) return joined;
  joined.trained =
      BlockWeights{std::get<AttentionWeights>(PartOf(parent, layer, spec.attention, blocks)),
                   std::get<FfnWeights>(PartOf(parent, layer, spec.ffn, blocks))};
  return joined;
}

std::vector<BlockSpec> LikedBlocks(const std::vector<Choice>& choices, const ModelConfig& parent,
                                   int64_t layer) {
  const BlockSpec& own = parent.blocks.at(static_cast<size_t>(layer));
  std::map<std::string, std::pair<int, BlockSpec>> times;  // by name: how often it was taken
  for (const Choice& choice : choices) {
    BlockSpec block = own;
    for (const Choice::Pick& pick : choice.picks)
      if (pick.layer == layer) Place(pick.spec, block);
    if (block == own) continue;
    auto& [count, spec] = times[VariantName(block)];
    ++count;
    spec = block;
  }
  std::vector<std::pair<int, BlockSpec>> liked;
  for (const auto& [name, entry] : times) liked.push_back(entry);
  std::stable_sort(liked.begin(), liked.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<BlockSpec> specs;
  for (const auto& [count, spec] : liked) specs.push_back(spec);
  return specs;
}

Block RunJoin(const JoinParams& params, const Inputs& inputs, RunContext&) {
  const auto parent = inputs.Get<Checkpoint>("parent");
  const VariantSpec spec =
      ResolveVariant(params.variant, parent->model.config, params.layer, params.multiple_of);
  return JoinParts(parent->model, params.layer, std::get<BlockSpec>(spec),
                   inputs.List<Block>("blocks"));
}

Block RunShortlist(const ShortlistParams& params, const Inputs& inputs, RunContext&) {
  const auto parent = inputs.Get<Checkpoint>("parent");
  const ModelConfig& config = parent->model.config;
  CheckLayer(params.layer, config);
  std::vector<Choice> choices;
  for (const auto& input : inputs.List<Choice>("choices")) choices.push_back(*input.Load());
  const std::vector<BlockSpec> liked = LikedBlocks(choices, config, params.layer);
  const auto rank = static_cast<size_t>(params.rank);
  const BlockSpec& spec =
      rank <= liked.size() ? liked[rank - 1] : config.blocks[static_cast<size_t>(params.layer)];
  return JoinParts(parent->model, params.layer, spec, inputs.List<Block>("blocks"));
}

}  // namespace puzzle
