#include "model/importance.h"

#include <algorithm>

#include "io/error.h"
#include "model/math/kernels.h"
#include "model/math/parallel.h"
#include "model/math/product.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// Columns of a matrix [rows, n] in fp32. Going along the rows, which lie in a cache: `index_select`
// copies a column at a time, and with it a cache line for every number.
Tensor ColumnsOf(const Tensor& matrix, const Tensor& columns) {
  constexpr int64_t kTogether = 128;  // rows in one piece of work
  if (!matrix.device().is_cpu()) return matrix.index_select(1, columns);
  const Tensor source = matrix.contiguous();
  const int64_t rows = source.size(0), width = source.size(1), count = columns.size(0);
  Tensor out = at::empty({rows, count}, source.options());
  const auto* from = source.data_ptr<float>();
  const auto* index = columns.data_ptr<int64_t>();
  auto* to = out.data_ptr<float>();
  ParallelFor((rows + kTogether - 1) / kTogether, [&](int64_t piece) {
    for (int64_t row = piece * kTogether; row < std::min(rows, (piece + 1) * kTogether); ++row)
      for (int64_t i = 0; i < count; ++i) to[row * count + i] = from[row * width + index[i]];
  });
  return out;
}

// Per channel of `features` [tokens, n] the mean over tokens of |s + x_i W_i|, where s is `missing`
// [tokens, hidden] and W is `down` [hidden, n]. [n], fp64
Tensor MeanErrors(const Tensor& features, const Tensor& missing, const Tensor& down) {
  constexpr int64_t kTogether = 256;  // channels in one piece of work
  const int64_t tokens = features.size(0), channels = features.size(1);
  const Tensor dot = Product(missing, down), base = missing.square().sum(1),
               square = down.square().sum(0);
  if (!features.device().is_cpu()) {
    const Tensor squares =
        (dot * features).mul_(2.0).add_(base.unsqueeze(1)).addcmul_(features.square(), square);
    return squares.clamp_min_(0).add_(1e-8).sqrt_().mean(0, false, at::kDouble);
  }
  const Tensor sum = at::zeros({channels}, at::kDouble);
  ParallelFor((channels + kTogether - 1) / kTogether, [&](int64_t piece) {
    const int64_t first = piece * kTogether;
    AddDistances(features.data_ptr<float>() + first, dot.data_ptr<float>() + first,
                 base.data_ptr<float>(), square.data_ptr<float>() + first, tokens,
                 std::min(kTogether, channels - first), channels, sum.data_ptr<double>() + first);
  });
  return sum / static_cast<double>(tokens);
}

}  // namespace

IterativeChannelRanking::IterativeChannelRanking(const Tensor& down, int64_t batches)
    : down_(down.detach()),
      positions_(at::full({down.size(1)}, -1, down.options().dtype(at::kLong))),
      batches_(batches) {
  PUZZLE_CHECK(batches >= 1, "ranking needs at least one batch");
}

void IterativeChannelRanking::Add(const Tensor& features) {
  const at::NoGradGuard no_grad;
  PUZZLE_CHECK(seen_ < batches_, "more batches than announced");
  ++seen_;
  const int64_t channels = down_.size(1);
  const int64_t remove = channels * seen_ / batches_ - removed_;
  if (remove == 0) return;
  // Products know the removed channels on one side and the others on the other: together one
  // product's work instead of two.
  const Tensor gone = positions_.ge(0).nonzero().squeeze(1);
  const Tensor kept = positions_.lt(0).nonzero().squeeze(1);
  // What is missing from the output already: s_t = W x_t over removed channels.
  const Tensor missing = Product(ColumnsOf(features, gone), ColumnsOf(down_, gone).t());
  const Tensor errors = MeanErrors(ColumnsOf(features, kept), missing, ColumnsOf(down_, kept));
  const Tensor order = std::get<1>(errors.sort(/*stable=*/true, 0, /*descending=*/false));
  const Tensor removed = kept.index_select(0, order.narrow(0, 0, remove));
  positions_.index_copy_(0, removed, at::arange(removed_, removed_ + remove, positions_.options()));
  removed_ += remove;
}

Tensor IterativeChannelRanking::Positions() const {
  PUZZLE_CHECK(seen_ == batches_, "the ranking is not finished");
  return positions_;
}

Tensor MostImportantFirst(const Tensor& scores) {
  return std::get<1>(scores.sort(/*stable=*/true, 0, /*descending=*/true));
}

Tensor ChannelContribution(const Tensor& features, const Tensor& down) {
  const at::NoGradGuard no_grad;
  return features.abs().mean(0) * down.norm(2, at::IntArrayRef{0});
}

Tensor ChannelNorm(const Tensor& features) {
  const at::NoGradGuard no_grad;
  return features.abs().mean(1).square().sum(0).sqrt();
}

Tensor KvHeadContribution(const Tensor& mixed, const Tensor& o, int64_t n_kv_heads) {
  const at::NoGradGuard no_grad;
  const int64_t width = o.size(1) / n_kv_heads;
  Tensor scores = at::empty({n_kv_heads}, o.options());
  for (int64_t g = 0; g < n_kv_heads; ++g) {
    const Tensor part =
        Product(mixed.narrow(1, g * width, width), o.narrow(1, g * width, width).t());
    scores[g] = part.norm(2, at::IntArrayRef{1}).mean();
  }
  return scores;
}

}  // namespace puzzle
