#include "nodes/states/importance.h"

#include "io/error.h"
#include "model/importance.h"
#include "model/math/parallel.h"
#include "model/pch.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/states/layer_input.h"
#include "nodes/states/sub_block_data.h"
#include "nodes/states/walk.h"

namespace puzzle {

using at::Tensor;

namespace {

// features: per batch [sequences, tokens, channels].
Tensor ChannelOrder(const ImportanceParams& params, int64_t layer, const FfnWeights& ffn,
                    const std::vector<Tensor>& features) {
  const int64_t channels = ffn.down.size(1);
  if (params.method == "truncate") return at::arange(channels, at::kLong);
  if (params.method == "random") {
    auto generator =
        at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(params.seed * 4096 + layer));
    return at::randperm(channels, generator, at::kLong);
  }
  if (params.method == "l2_norm") return MostImportantFirst(ChannelNorm(at::cat(features)));
  if (params.method == "independent")
    return MostImportantFirst(ChannelContribution(at::cat(features).flatten(0, 1), ffn.down));
  IterativeChannelRanking ranking(ffn.down, static_cast<int64_t>(features.size()));
  for (const Tensor& batch : features) ranking.Add(batch.flatten(0, 1));
  return MostImportantFirst(ranking.Positions());
}

// What the last matrices of a layer's sub-blocks read where the state is x; undefined for a
// sub-block that is not full.
struct LayerFeatures {
  Tensor mixed;  // [sequences, tokens, heads * head_dim]
  Tensor gated;  // [sequences, tokens, channels]
};

LayerFeatures FeaturesOf(const Transformer& model, int64_t layer, const Tensor& x) {
  const ModelConfig& config = model.config();
  const BlockWeights& block = model.weights().blocks[static_cast<size_t>(layer)];
  const BlockSpec& spec = config.blocks[static_cast<size_t>(layer)];
  const auto features = [&](const SubBlockWeights& weights, const VariantSpec& variant,
                            const Tensor& state) {
    return Features(weights, variant, config, model.rotary(), Normalize(state, config));
  };
  LayerFeatures result;
  if (spec.attention.is_full()) result.mixed = features(block.attention, spec.attention, x);
  if (!spec.ffn.is_full()) return result;
  // What ApplySubBlock would give, without a second attention where nothing is behind the matrix.
  const Tensor behind_attention =
      result.mixed.defined() && !block.attention.post_norm.defined()
          ? x + at::linear(result.mixed, block.attention.o,
                           OutputBias(block.attention, spec.attention))
          : ApplySubBlock(block.attention, spec.attention, config, model.rotary(), x);
  result.gated = features(block.ffn, spec.ffn, behind_attention);
  return result;
}

}  // namespace

Importance RunImportance(const ImportanceParams& params, const Inputs& inputs,
                         RunContext& context) {
  const at::NoGradGuard no_grad;
  const auto parent = inputs.One<Checkpoint>("parent");
  const auto checkpoint = parent.Load();
  const auto states = inputs.Get<Activations>("activations");
  CheckActivations(*states, parent.digest(), checkpoint->model.config);
  const int64_t batches = std::min(params.batches, states->sequences() / params.batch);
  if (batches < 1) throw Error("the activations hold fewer sequences than one batch");
  const ModelConfig& config = checkpoint->model.config;
  const auto apart = ApartIfLarge(config, context);
  Importance importance;
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    const Transformer model(LayerOf(checkpoint->model, *states, layer, context.device().name()));
    const BlockWeights& block = model.weights().blocks[static_cast<size_t>(layer)];
    const BlockSpec& spec = config.blocks[static_cast<size_t>(layer)];
    std::vector<Tensor> mixed, gated;
    if (spec.attention.is_full()) mixed.resize(static_cast<size_t>(batches));
    if (spec.ffn.is_full()) gated.resize(static_cast<size_t>(batches));
    ParallelFor(batches, [&](int64_t batch) {
      const Tensor x = LayerInput(model, *states, layer, batch * params.batch, params.batch);
      const auto index = static_cast<size_t>(batch);
      const LayerFeatures features = FeaturesOf(model, layer, x);
      if (!mixed.empty()) mixed[index] = features.mixed.flatten(0, 1);
      if (!gated.empty()) gated[index] = features.gated;
    });
    importance.head_scores.push_back(
        mixed.empty()
            ? Tensor()
            : KvHeadContribution(at::cat(mixed), block.attention.o, spec.attention.n_kv_heads)
                  .cpu());
    importance.channel_order.push_back(
        gated.empty() ? Tensor() : ChannelOrder(params, layer, block.ffn, gated).cpu());
    context.Poll(static_cast<double>(layer + 1) / static_cast<double>(config.n_layers()));
  }
  return importance;
}

}  // namespace puzzle
