#include "nodes/measure/remove_blocks.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "io/percentage.h"
#include "model/math/losses.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "nodes/measure/score.h"
#include "nodes/states/activations.h"
#include "nodes/states/finite.h"

namespace puzzle {

using at::Tensor;

namespace {

VariantSpec NothingInPlaceOf(SubBlock which) {
  const AttentionSpec no_attention{.form = SubBlockForm::kNone};
  const FfnSpec no_ffn{.form = SubBlockForm::kNone};
  if (which == SubBlock::kAttention) return no_attention;
  if (which == SubBlock::kFfn) return no_ffn;
  return BlockSpec{no_attention, no_ffn};
}

// What is there to be removed.
std::vector<Removal> CandidatesIn(const ModelConfig& config, bool whole_blocks) {
  const std::vector<SubBlock> parts = whole_blocks
                                          ? std::vector{SubBlock::kBoth}
                                          : std::vector{SubBlock::kAttention, SubBlock::kFfn};
  std::vector<Removal> candidates;
  for (int64_t layer = 0; layer < config.n_layers(); ++layer)
    for (const SubBlock which : parts)
      if (!IsNone(ParentVariant(config, layer, which))) candidates.push_back({layer, which});
  return candidates;
}

ModelWeights Without(const Removal& removal, ModelWeights model) {
  Replace(model, removal.layer, NothingInPlaceOf(removal.which), NoWeights(removal.which));
  return model;
}

HeadInput PredictingHead(const Transformer& model, const Tensor& last_state) {
  const Tensor& matrix = model.weights().HeadMatrix();
  return {PredictingStates(model.FinalNorm(last_state)), matrix, matrix.scalar_type()};
}

// Figures of every candidate on some sequences, ids [rows, length]: the model is run once, and each
// candidate from the layer on that it lacks something of.
std::vector<TokenMetrics> FiguresOn(const Tensor& ids, const Transformer& parent,
                                    const Transformer& model,
                                    const std::vector<Transformer>& children,
                                    const std::vector<Removal>& candidates, bool against_parent) {
  const int64_t layers = model.config().n_layers();
  std::vector<Tensor> states = {model.Embed(ids)};
  for (int64_t layer = 0; layer + 1 < layers; ++layer)
    states.push_back(model.Blocks(states.back(), layer, layer + 1));
  const Tensor targets = NextTokens(ids);
  FoldedParent folded;
  if (against_parent)
    folded = FoldParent(PredictingHead(parent, parent.Blocks(parent.Embed(ids), 0, layers)),
                        parent.weights().HeadMatrix());
  std::vector<TokenMetrics> figures;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const int64_t layer = candidates[i].layer;
    const HeadInput head = PredictingHead(
        children[i], children[i].Blocks(states[static_cast<size_t>(layer)], layer, layers));
    figures.push_back(
        (against_parent ? Measure(head, targets, folded) : Measure(head, targets, nullptr)).Sum());
  }
  return figures;
}

// The loss without each of the candidates.
void ScoreAll(const Transformer& parent, const Transformer& model, const TokenSet& tokens,
              const RemovalRule& rule, const std::function<void(double)>& poll,
              std::vector<Removal>& candidates) {
  const at::NoGradGuard no_grad;
  std::vector<Transformer> children;
  for (const Removal& candidate : candidates)
    children.emplace_back(Without(candidate, model.weights()), tokens.length);
  const at::Device device = parent.weights().embedding.device();
  std::vector<TokenMetrics> sums(candidates.size());
  for (int64_t first = 0; first < tokens.sequences(); first += rule.batch) {
    const int64_t count = std::min(rule.batch, tokens.sequences() - first);
    std::vector<std::vector<TokenMetrics>> parts(static_cast<size_t>(RowParts(count, device)));
    ParallelOverRows(count, device, [&](int64_t part, int64_t begin, int64_t rows) {
      parts[static_cast<size_t>(part)] =
          FiguresOn(tokens.Batch(first + begin, rows).to(device), parent, model, children,
                    candidates, rule.objective == Metric::kKl);
    });
    for (const auto& part : parts)
      for (size_t i = 0; i < part.size(); ++i) sums[i] += part[i];
    poll(static_cast<double>(first + count) / static_cast<double>(tokens.sequences()));
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    candidates[i].loss = sums[i].Mean(rule.objective);
    if (!std::isfinite(candidates[i].loss))
      ThrowNotFinite(fmt::format("the answers of the model without {} {}",
                                 SubBlockName(candidates[i].which), candidates[i].layer));
  }
}

}  // namespace

Removals RemoveBlocks(const Transformer& parent, const TokenSet& tokens, const RemovalRule& rule,
                      const std::function<void(double)>& poll) {
  Removals result{parent.weights(), {}};
  const auto all = static_cast<double>(CountBlockParameters(parent.config()));
  const double surplus = all - static_cast<double>(rule.block_parameters);
  for (int64_t left = CountBlockParameters(result.model.config); left > rule.block_parameters;
       left = CountBlockParameters(result.model.config)) {
    std::vector<Removal> candidates = CandidatesIn(result.model.config, rule.whole_blocks);
    PUZZLE_CHECK(!candidates.empty(), "parameters that belong to no block");
    const double done = (all - static_cast<double>(left)) / surplus;
    // A removal takes about as much away as another.
    const double share =
        (1 - done) / std::max(1.0, std::ceil(static_cast<double>(candidates.size()) * surplus *
                                             (1 - done) / static_cast<double>(left)));
    ScoreAll(
        parent, Transformer(result.model, tokens.length), tokens, rule,
        [&](double fraction) { poll(done + share * fraction); }, candidates);
    const Removal& least =
        *std::min_element(candidates.begin(), candidates.end(),
                          [](const Removal& a, const Removal& b) { return a.loss < b.loss; });
    result.model = Without(least, std::move(result.model));
    result.order.push_back(least);
  }
  return result;
}

Checkpoint RunRemoveBlocks(const RemoveBlocksParams& params, const Inputs& inputs,
                           RunContext& context) {
  const auto parent = inputs.Get<Checkpoint>("parent");
  const auto tokens = inputs.Get<TokenSet>("tokens");
  const ModelConfig& config = parent->model.config;
  CheckTokensFit(*tokens, config, "the parent");
  const std::string device = context.device().name();
  const double part = ParsePercentage(params.block_parameters).value();
  const RemovalRule rule{.whole_blocks = params.unit == "block",
                         .objective = params.objective == "kl" ? Metric::kKl : Metric::kNll,
                         .block_parameters = static_cast<int64_t>(
                             part * static_cast<double>(CountBlockParameters(config))),
                         .batch = params.batch};
  const Transformer scored = WithMatricesIn(ProductType(params.compute, device),
                                            Transformer(ToDevice(parent->model, device)));
  const Removals removals =
      RemoveBlocks(scored, *tokens, rule, [&](double fraction) { context.Poll(fraction); });
  Checkpoint child = *parent;
  child.figures.clear();
  for (const Removal& removal : removals.order) {
    child.model = Without(removal, std::move(child.model));
    child.figures[fmt::format("removed_{:03}_{}_{}", child.figures.size() + 1,
                              SubBlockName(removal.which), removal.layer)] = removal.loss;
  }
  return child;
}

}  // namespace puzzle
