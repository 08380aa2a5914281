#include "nodes/capture.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/parallel.h"
#include "model/pch.h"
#include "model/transformer.h"

namespace puzzle {

using at::Tensor;

void CheckTokensFit(const TokenSet& tokens, const ModelConfig& config) {
  if (tokens.length > config.max_positions)
    throw Error(fmt::format("sequences of {} tokens, but the model has {} positions", tokens.length,
                            config.max_positions));
  const auto [low, high] = std::minmax_element(tokens.ids.begin(), tokens.ids.end());
  if (*low < 0 || *high >= config.vocab_size)
    throw Error(fmt::format("token id {} is outside the model's vocabulary of {}",
                            *low < 0 ? *low : *high, config.vocab_size));
}

void RunActivations(const ActivationsParams& params, const Inputs& inputs, RunContext& context,
                    ArchiveWriter& out) {
  const at::NoGradGuard no_grad;
  const auto parent = inputs.One<Checkpoint>("parent");
  const auto checkpoint = parent.Load();
  const auto tokens = inputs.Get<TokenSet>("tokens");
  CheckTokensFit(*tokens, checkpoint->model.config);
  const at::Device device(context.device().name());
  const Transformer model(ToDevice(checkpoint->model, device.str()));
  const int64_t layers = model.config().n_layers();
  Activations::Writer writer(out, layers + 1, tokens->sequences(), tokens->length,
                             model.config().hidden_size,
                             params.dtype == "bf16" ? DType::kBF16 : DType::kF32, parent.digest());
  for (int64_t first = 0; first < tokens->sequences(); first += params.batch) {
    const int64_t count = std::min(params.batch, tokens->sequences() - first);
    const Tensor ids = tokens->Batch(first, count);
    std::vector<std::vector<Tensor>> states(static_cast<size_t>(RowParts(count, device)));
    ParallelOverRows(count, device, [&](int64_t part, int64_t begin, int64_t length) {
      std::vector<Tensor>& own = states[static_cast<size_t>(part)];
      own.push_back(model.Embed(ids.narrow(0, begin, length).to(device)));
      for (int64_t layer = 0; layer < layers; ++layer)
        own.push_back(model.Blocks(own.back(), layer, layer + 1));
    });
    int64_t begin = 0;
    for (const std::vector<Tensor>& part : states) {
      writer.Append(part, ids.narrow(0, begin, part.front().size(0)));
      begin += part.front().size(0);
    }
    context.Poll(static_cast<double>(first + count) / static_cast<double>(tokens->sequences()));
  }
}

}  // namespace puzzle
