#include "model/losses.h"

#include <algorithm>
#include <cmath>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kChunkLogits = int64_t{1} << 20;  // 4 MiB of fp32 logits at a time

int64_t ChunkTokens(int64_t vocab) {
  return std::max<int64_t>(16, kChunkLogits / vocab);
}

double StandardError(double sum, double sum_squared, int64_t n) {
  if (n < 2) return 0;
  const double count = static_cast<double>(n), mean = sum / count;
  const double variance = std::max(0.0, sum_squared / count - mean * mean);
  return std::sqrt(variance / (count - 1));
}

// What a head is trained towards: target ids, or else a teacher's distribution.
struct HeadTarget {
  Tensor ids;  // [tokens]
  HeadInput teacher;
};

// Cross entropy of softmax(hidden * matrix^T) against a target distribution: one-hot `targets`, or
// the teacher's softmax; in the latter case less the teacher's entropy, i.e. the KL divergence.
// d loss / d logits = (p_student - p_target) / tokens.
struct HeadLoss : Function<HeadLoss> {
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& matrix,
                        const HeadTarget& target) {
    const int64_t tokens = hidden.size(0), chunk = ChunkTokens(matrix.size(0));
    const bool want_hidden = hidden.requires_grad(), want_matrix = matrix.requires_grad();
    Tensor d_hidden = want_hidden ? at::empty_like(hidden) : Tensor();
    Tensor d_matrix = want_matrix ? at::zeros_like(matrix) : Tensor();
    double loss = 0;
    for (int64_t first = 0; first < tokens; first += chunk) {
      const int64_t n = std::min(chunk, tokens - first);
      const Tensor h = hidden.narrow(0, first, n);
      Tensor log_p = at::log_softmax(at::mm(h, matrix.t()), -1);
      Tensor d_logits;
      if (target.ids.defined()) {
        const Tensor column = target.ids.narrow(0, first, n).unsqueeze(1);
        loss -= log_p.gather(1, column).sum().item<double>();
        d_logits = log_p.exp_();
        d_logits.scatter_add_(1, column, at::full({n, 1}, -1.0, d_logits.options()));
      } else {
        const Tensor teacher_log_p = at::log_softmax(
            at::mm(target.teacher.hidden.narrow(0, first, n), target.teacher.matrix.t()), -1);
        const Tensor teacher_p = teacher_log_p.exp();
        loss += (teacher_log_p - log_p).mul_(teacher_p).sum().item<double>();
        d_logits = log_p.exp_().sub_(teacher_p);
      }
      d_logits.mul_(1.0 / static_cast<double>(tokens));
      if (want_hidden) {
        Tensor rows = d_hidden.narrow(0, first, n);
        at::mm_out(rows, d_logits, matrix);
      }
      if (want_matrix) d_matrix.addmm_(d_logits.t(), h);
    }
    ctx->save_for_backward({d_hidden, d_matrix});
    return at::scalar_tensor(loss / static_cast<double>(tokens), hidden.options());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    auto scaled = [&](const Tensor& grad) { return grad.defined() ? grad * grads[0] : Tensor(); };
    return {scaled(saved[0]), scaled(saved[1]), Tensor()};
  }
};

}  // namespace

TokenMetrics& TokenMetrics::operator+=(const TokenMetrics& other) {
  tokens += other.tokens;
  nll += other.nll;
  nll_squared += other.nll_squared;
  kl += other.kl;
  kl_squared += other.kl_squared;
  cosine += other.cosine;
  top1 += other.top1;
  top5 += other.top5;
  top10 += other.top10;
  return *this;
}

double TokenMetrics::MeanNll() const {
  return nll / static_cast<double>(tokens);
}
double TokenMetrics::MeanKl() const {
  return kl / static_cast<double>(tokens);
}
double TokenMetrics::MeanCosine() const {
  return cosine / static_cast<double>(tokens);
}
double TokenMetrics::NllError() const {
  return StandardError(nll, nll_squared, tokens);
}
double TokenMetrics::KlError() const {
  return StandardError(kl, kl_squared, tokens);
}

double TokenMetrics::TopAccuracy(int k) const {
  PUZZLE_CHECK(k == 1 || k == 5 || k == 10, "top-k is kept for 1, 5 and 10");
  const int64_t hits = k == 1 ? top1 : k == 5 ? top5 : top10;
  return static_cast<double>(hits) / static_cast<double>(tokens);
}

Tensor PredictingStates(const Tensor& hidden) {
  return hidden.narrow(1, 0, hidden.size(1) - 1).flatten(0, 1);
}

Tensor NextTokens(const Tensor& ids) {
  return ids.narrow(1, 1, ids.size(1) - 1).flatten();
}

TokenMetrics Measure(const HeadInput& child, const Tensor& targets, const HeadInput* parent) {
  const at::NoGradGuard no_grad;
  TokenMetrics metrics;
  metrics.tokens = child.hidden.size(0);
  const int64_t chunk = ChunkTokens(child.matrix.size(0));
  auto add = [](const Tensor& values, double& sum, double* sum_squared) {
    const Tensor exact = values.to(at::kDouble);
    sum += exact.sum().item<double>();
    if (sum_squared != nullptr) *sum_squared += exact.square().sum().item<double>();
  };
  for (int64_t first = 0; first < metrics.tokens; first += chunk) {
    const int64_t n = std::min(chunk, metrics.tokens - first);
    const Tensor h = child.hidden.narrow(0, first, n);
    const Tensor logits = at::mm(h, child.matrix.t());
    const Tensor log_sum = logits.logsumexp(-1);
    const Tensor target_logit =
        logits.gather(1, targets.narrow(0, first, n).unsqueeze(1));  // [n, 1]
    add(log_sum - target_logit.squeeze(1), metrics.nll, &metrics.nll_squared);
    const Tensor rank = logits.gt(target_logit).sum(-1);
    metrics.top1 += rank.lt(1).sum().item<int64_t>();
    metrics.top5 += rank.lt(5).sum().item<int64_t>();
    metrics.top10 += rank.lt(10).sum().item<int64_t>();
    if (parent == nullptr) continue;
    // sum_v p (l_parent - l_child) - lse_parent + lse_child, with p = exp(l_parent - lse_parent)
    const Tensor parent_h = parent->hidden.narrow(0, first, n);
    const Tensor parent_logits = at::mm(parent_h, parent->matrix.t());
    const Tensor parent_log_sum = parent_logits.logsumexp(-1);
    const Tensor p = (parent_logits - parent_log_sum.unsqueeze(1)).exp_();
    const Tensor kl = p.mul_(parent_logits - logits).sum(-1) - parent_log_sum + log_sum;
    add(kl, metrics.kl, &metrics.kl_squared);
    add(1.0 - at::cosine_similarity(h, parent_h, -1), metrics.cosine, nullptr);
  }
  return metrics;
}

Tensor CrossEntropyLoss(const HeadInput& head, const Tensor& targets) {
  return HeadLoss::apply(head.hidden, head.matrix, HeadTarget{targets, {}});
}

Tensor KlLoss(const HeadInput& student, const HeadInput& teacher) {
  return HeadLoss::apply(student.hidden, student.matrix,
                         HeadTarget{{}, {teacher.hidden.detach(), teacher.matrix.detach()}});
}

Tensor CosineLoss(const Tensor& student, const Tensor& teacher) {
  return 1.0 - at::cosine_similarity(student, teacher, -1).mean();
}

Tensor NormalizedMse(const Tensor& output, const Tensor& target) {
  return (output - target).square().mean() / target.square().mean();
}

}  // namespace puzzle
