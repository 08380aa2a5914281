#include "nodes/states/activations.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/transformer.h"
#include "nodes/states/finite.h"

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

// The states of some sequences, computed in parts on several threads.
using Parts = std::vector<std::vector<Tensor>>;

Parts RunParent(const Transformer& model, const Tensor& ids, const at::Device& device) {
  Parts parts(static_cast<size_t>(RowParts(ids.size(0), device)));
  ParallelOverRows(ids.size(0), device, [&](int64_t part, int64_t begin, int64_t length) {
    std::vector<Tensor>& own = parts[static_cast<size_t>(part)];
    own.push_back(model.Embed(ids.narrow(0, begin, length).to(device)));
    for (int64_t layer = 0; layer < model.config().n_layers(); ++layer)
      own.push_back(model.Blocks(own.back(), layer, layer + 1));
  });
  return parts;
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
  const at::Device device(context.device().name());
  const Transformer model = Transformer(ToDevice(checkpoint->model, device.str()))
                                .WithProductsIn(ProductType(params.compute, device.str()));
  Activations::Layout layout{model.config().n_layers() + 1,
                             tokens->sequences(),
                             tokens->length,
                             model.config().hidden_size,
                             params.dtype == "bf16" ? DType::kBF16 : DType::kF32,
                             0};
  if (params.keep == "all") layout.stride = StrideWithin(layout, params.max_mib);
  Activations::Writer writer(out, layout, parent.digest(), tokens->Mask());
  if (layout.stride == 0) return writer.Append({}, tokens->Batch(0, tokens->sequences()));
  for (int64_t first = 0; first < tokens->sequences(); first += params.batch) {
    const int64_t count = std::min(params.batch, tokens->sequences() - first);
    const Tensor ids = tokens->Batch(first, count);
    int64_t begin = 0;
    for (const std::vector<Tensor>& part : RunParent(model, ids, device)) {
      for (size_t i = 0; i < part.size(); ++i) {
        if (!AllFinite(part[i]))
          ThrowNotFinite(i == 0 ? "the parent's embeddings"
                                : fmt::format("the output of the parent's layer {}", i - 1));
      }
      const int64_t rows = part.front().size(0);
      writer.Append(part, ids.narrow(0, begin, rows));
      begin += rows;
    }
    context.Poll(static_cast<double>(first + count) / static_cast<double>(tokens->sequences()));
  }
}

}  // namespace puzzle
