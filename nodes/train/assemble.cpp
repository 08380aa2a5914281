#include "nodes/train/assemble.h"

#include <iterator>

#include <fmt/format.h>

#include "io/error.h"
#include "nodes/search/artifacts.h"
#include "nodes/train/artifacts.h"
#include "nodes/train/join.h"

namespace puzzle {

Checkpoint RunAssemble(const AssembleParams&, const Inputs& inputs, RunContext&) {
  const auto parent = inputs.Get<Checkpoint>("parent");
  const auto choice = inputs.Get<Choice>("choice");
  // Blocks by what they are; weights are read below, for chosen ones only.
  std::multimap<std::pair<int64_t, std::string>, std::shared_ptr<const Block>> blocks;
  for (const auto& input : inputs.List<Block>("blocks")) {
    const auto block = input.Load();
    blocks.insert({{block->layer, VariantName(block->spec)}, block});
  }
  Checkpoint child = *parent;
  child.figures.clear();
  for (const Choice::Pick& pick : choice->picks) {
    const SubBlock which = WhichSubBlock(pick.spec);
    CheckLayer(pick.layer, parent->model.config);
    if (pick.spec == ParentVariant(parent->model.config, pick.layer, which)) continue;
    const auto [found, end] = blocks.equal_range({pick.layer, VariantName(pick.spec)});
    if (found == end)
      throw Error(fmt::format("layer {}: the choice takes {}, which no block provides", pick.layer,
                              pick.variant));
    if (std::next(found) != end)
      throw Error(fmt::format("layer {}: the choice takes {}, which two blocks provide", pick.layer,
                              pick.variant));
    Replace(child.model, pick.layer, pick.spec, WeightsOf(*found->second, child.model));
  }
  return child;
}

}  // namespace puzzle
