#include "nodes/states/activations.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/unread.h"
#include "nodes/states/finite.h"
#include "nodes/states/walk.h"

namespace puzzle {

using at::Tensor;

void CheckTokensFit(const TokenSet& tokens, const ModelConfig& config, const std::string& who) {
  if (tokens.length > config.max_positions)
    throw Error(fmt::format("sequences of {} tokens, but {} has {} positions", tokens.length, who,
                            config.max_positions));
  const auto [low, high] = std::minmax_element(tokens.ids.begin(), tokens.ids.end());
  if (*low < 0 || *high >= config.vocab_size)
    throw Error(fmt::format("token id {}, but {} has a vocabulary of {}", *low < 0 ? *low : *high,
                            who, config.vocab_size));
}

namespace {

// Writes the states at the input of block `index`.
void AppendFinite(const WalkedBatches& batches, int64_t index, Activations::Writer& writer) {
  for (const std::vector<WalkedPart>& batch : batches) {
    for (const WalkedPart& part : batch) {
      if (!AllFinite(part.states))
        ThrowNotFinite(index == 0 ? "the parent's embeddings"
                                  : fmt::format("the output of the parent's layer {}", index - 1));
      writer.AppendState(index, part.states);
    }
  }
}

}  // namespace

int64_t StrideWithin(const Activations::Layout& layout, int64_t max_mib) {
  if (max_mib == 0) return 1;
  const double state_mib = static_cast<double>(layout.sequences * layout.length * layout.hidden) *
                           static_cast<double>(ElementSize(layout.dtype)) / (1 << 20);
  for (int64_t stride = 1; stride <= layout.n_states; ++stride) {
    const int64_t kept = (layout.n_states + stride - 1) / stride;
    if (static_cast<double>(kept) * state_mib <= static_cast<double>(max_mib)) return stride;
  }
  return 0;
}

void RunActivations(const ActivationsParams& params, const Inputs& inputs, RunContext& context,
                    ArchiveWriter& out) {
  const at::NoGradGuard no_grad;
  const auto parent = inputs.One<Checkpoint>("parent");
  const auto checkpoint = parent.Load();
  const auto tokens = inputs.Get<TokenSet>("tokens");
  CheckTokensFit(*tokens, checkpoint->model.config);
  const ModelConfig& config = checkpoint->model.config;
  const std::string device = context.device().name();
  Activations::Layout layout{config.n_layers() + 1,
                             tokens->sequences(),
                             tokens->length,
                             config.hidden_size,
                             params.dtype == "bf16" ? DType::kBF16 : DType::kF32,
                             0};
  if (params.keep == "all") layout.stride = StrideWithin(layout, params.max_mib);
  Activations::Writer writer(out, layout, parent.digest(), tokens->Mask());
  const Tensor ids = tokens->Batch(0, tokens->sequences());
  writer.AppendIds(ids);
  if (layout.stride == 0) return;
  // Layer by layer, so that one at a time is in memory.
  const auto apart = ApartIfLarge(config, context);
  const ModelWeights parts = PartInMemory(checkpoint->model, {}, device);
  const WalkedModel model{parts, ProductType(params.compute, device)};
  const Tensor states =
      RoomFor({layout.sequences, layout.length, layout.hidden}, at::kFloat, RoomOfWalk(context));
  const WalkedBatches batches = InParts(states, params.batch, at::Device(device));
  int64_t index = 0;
  const WalkPoll poll = [&](double fraction) {
    context.Poll((static_cast<double>(index) + fraction) / static_cast<double>(layout.n_states));
  };
  EmbedStates(parts, ids, batches, poll);
  AppendFinite(batches, index, writer);
  for (index = 1; index < layout.n_states; ++index) {
    WalkBlocks(model, index - 1, index, batches, poll);
    AppendFinite(batches, index, writer);
  }
}

}  // namespace puzzle
