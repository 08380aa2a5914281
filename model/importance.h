// How much each FFN channel and each kv head matters, from what flows through them on calibration
// data. Objects belong to one thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace puzzle {

/// Iterative channel contribution: with every batch the channels whose removal adds least to the
/// error of the output y = W x are removed, given those removed before:
///   s_t = y_t - W x_t (removed channels 0),
///   c_{t,i} = |s_t + x_{t,i} W_i|  (the error if channel i went too), averaged over tokens.
class IterativeChannelRanking {
 public:
  /// `down` [hidden, channels]; the channels are removed in `batches` nearly equal portions.
  IterativeChannelRanking(const at::Tensor& down, int64_t batches);

  /// features [tokens, channels]: the input of `down`. REQUIRES: called at most `batches` times.
  void Add(const at::Tensor& features);
  /// Per channel its position in the order of removal: 0 went first, the highest matters most.
  /// int64 [channels]. REQUIRES: all batches were added.
  [[nodiscard]] at::Tensor Positions() const;

 private:
  at::Tensor down_;
  at::Tensor positions_;  // -1 where the channel is still there
  int64_t batches_ = 0;
  int64_t seen_ = 0;
  int64_t removed_ = 0;
};

/// Channels from most to least important for positions or scores as above: int64 [channels].
[[nodiscard]] at::Tensor MostImportantFirst(const at::Tensor& scores);

/// Independent channel contribution |W_i| * mean_t |x_{t,i}|: features [tokens, channels],
/// down [hidden, channels] -> [channels].
[[nodiscard]] at::Tensor ChannelContribution(const at::Tensor& features, const at::Tensor& down);

/// Channels by the l2 norm of their activity (Minitron, arXiv 2407.14679): sqrt(sum over sequences
/// of (mean over a sequence's tokens of |x|)^2). features [sequences, tokens, channels] ->
/// [channels].
[[nodiscard]] at::Tensor ChannelNorm(const at::Tensor& features);

/// Contribution of each kv head's group of query heads: mean_t |W_o[:, g] a_{t,g}|.
/// mixed [tokens, heads * head_dim] (the input of o_proj), o [hidden, heads * head_dim] ->
/// [n_kv_heads].
[[nodiscard]] at::Tensor KvHeadContribution(const at::Tensor& mixed, const at::Tensor& o,
                                            int64_t n_kv_heads);

}  // namespace puzzle
