#include "nodes/states/importance.h"

#include "io/error.h"
#include "model/importance.h"
#include "model/pch.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/states/layer_input.h"
#include "nodes/states/sub_block_data.h"

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
  const Transformer model(ToDevice(checkpoint->model, context.device().name()));
  const ModelConfig& config = model.config();
  Importance importance;
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    const BlockWeights& block = model.weights().blocks[static_cast<size_t>(layer)];
    const BlockSpec& spec = config.blocks[static_cast<size_t>(layer)];
    std::vector<Tensor> mixed, gated;
    for (int64_t batch = 0; batch < batches; ++batch) {
      const Tensor x = LayerInput(model, *states, layer, batch * params.batch, params.batch);
      auto features = [&](const SubBlockWeights& weights, const VariantSpec& variant,
                          const Tensor& input) {
        return Features(weights, variant, config, model.rotary(), Normalize(input, config));
      };
      if (spec.attention.is_full())
        mixed.push_back(features(block.attention, spec.attention, x).flatten(0, 1));
      if (spec.ffn.is_full()) {
        const Tensor behind_attention =
            ApplySubBlock(block.attention, spec.attention, config, model.rotary(), x);
        gated.push_back(features(block.ffn, spec.ffn, behind_attention));
      }
    }
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
