#include "nodes/train/pretrain.h"

#include "io/tokenizer.h"
#include "model/math/losses.h"
#include "model/math/optim.h"
#include "model/math/parallel.h"
#include "model/pch.h"
#include "model/transformer.h"
#include "nodes/states/activations.h"
#include "nodes/train/training_loop.h"

namespace puzzle {

using at::Tensor;

namespace {

ModelConfig ConfigOf(const PretrainParams& params, const TokenSet& tokens) {
  ModelConfig config;
  config.vocab_size = tokens.vocab_size;
  config.hidden_size = params.hidden;
  config.n_heads = params.heads;
  config.head_dim = params.hidden / params.heads;
  config.max_positions = tokens.length;
  config.tied_embeddings = true;
  const BlockSpec block{{SubBlockForm::kFull, params.kv_heads}, {SubBlockForm::kFull, params.ffn}};
  config.blocks.assign(static_cast<size_t>(params.layers), block);
  if (!tokens.tokenizer_files.empty()) {
    const auto tokenizer = MakeTokenizer(tokens.tokenizer_files);
    config.bos_id = tokenizer->bos_id();
    if (tokenizer->eos_id() >= 0) config.eos_ids = {tokenizer->eos_id()};
  }
  CheckModelConfig(config, "pretrain");
  return config;
}

ModelConfig ConfigLike(const Checkpoint& like, const TokenSet& tokens) {
  CheckTokensFit(tokens, like.model.config, "the model at port `like`");
  return like.model.config;
}

}  // namespace

Checkpoint RunPretrain(const PretrainParams& params, const Inputs& inputs, RunContext& context) {
  const auto tokens = inputs.Get<TokenSet>("tokens");
  const at::AutoGradMode with_gradients(true);
  const uint64_t seed = context.seed() + static_cast<uint64_t>(params.seed);
  const auto like = inputs.Has("like") ? inputs.Get<Checkpoint>("like") : nullptr;
  const ModelConfig config = like ? ConfigLike(*like, *tokens) : ConfigOf(params, *tokens);
  const ModelWeights weights = ToDevice(RandomModel(config, seed), context.device().name());
  AdamW optimizer(Parameters(weights),
                  {.weight_decay = params.weight_decay, .clip_norm = params.clip});
  const at::Device device(context.device().name());
  DataParallel gradients{Transformer(weights)};
  const TrainingLoop loop{.what = "pretraining",
                          .steps = params.steps,
                          .sequences = tokens->sequences(),
                          .seed = seed,
                          .final_ratio = 0.05};
  const double loss =
      RunTrainingLoop(loop, params, optimizer, context, [&](const std::vector<int64_t>& batch) {
        return gradients.Backward(batch, [&](const Transformer& part,
                                             const std::vector<int64_t>& rows) {
          const Tensor ids = tokens->Rows(rows).to(device);
          const Tensor x = part.Blocks(part.Embed(ids), 0, part.config().n_layers());
          return CrossEntropyLoss(
              {PredictingStates(part.FinalNorm(x)), part.weights().HeadMatrix()}, NextTokens(ids));
        });
      });
  Checkpoint checkpoint;
  checkpoint.model = Clone(ToDevice(weights, "cpu"));
  checkpoint.tokenizer_files = tokens->tokenizer_files;
  checkpoint.figures["loss"] = loss;
  return checkpoint;
}

}  // namespace puzzle
