#include "model/importance.h"

#include <limits>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

IterativeChannelRanking::IterativeChannelRanking(const Tensor& down, int64_t batches)
    : down_(down.detach()),
      column_norms_(down_.square().sum(0)),
      kept_(at::ones({down.size(1)}, down.options())),
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
  // What is missing from the output already: s_t = W x_t over removed channels.
  const Tensor missing = at::mm(features * (1.0 - kept_), down_.t());
  const Tensor base = missing.square().sum(1, /*keepdim=*/true);
  Tensor error = at::mm(missing, down_).mul_(features).mul_(2.0);
  error.add_(base).addcmul_(features.square(), column_norms_).clamp_min_(0).add_(1e-8).sqrt_();
  Tensor mean_error = error.mean(0);
  mean_error.masked_fill_(kept_.eq(0), std::numeric_limits<float>::infinity());
  const Tensor order = std::get<1>(mean_error.sort(/*stable=*/true, 0, /*descending=*/false));
  const Tensor leaving = order.narrow(0, 0, remove);
  kept_.index_fill_(0, leaving, 0);
  positions_.index_copy_(0, leaving, at::arange(removed_, removed_ + remove, positions_.options()));
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
        at::mm(mixed.narrow(1, g * width, width), o.narrow(1, g * width, width).t());
    scores[g] = part.norm(2, at::IntArrayRef{1}).mean();
  }
  return scores;
}

}  // namespace puzzle
