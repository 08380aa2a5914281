#include "model/math/losses.h"

#include <algorithm>
#include <array>

#include "io/error.h"
#include "model/math/kernels.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kChunkLogits = int64_t{1} << 19;  // 2 MiB of fp32 logits at a time

int64_t ChunkTokens(int64_t vocab) {
  return std::max<int64_t>(16, kChunkLogits / vocab);
}

float* Data(const Tensor& tensor) {
  return tensor.data_ptr<float>();
}

// Per row of logits [n, vocab]: log sum_v exp(logit). [n]
Tensor RowLogSums(const Tensor& logits) {
  if (!logits.device().is_cpu()) return logits.logsumexp(-1);
  Tensor result = at::empty({logits.size(0)}, logits.options());
  LogSumExp(Data(logits), logits.size(0), logits.size(1), Data(result));
  return result;
}

// Two models' logits [n, vocab] compared row by row. [n] each
struct Comparison {
  Tensor parent_log_sum, child_log_sum;
  Tensor kl;  // KL(parent || child)
};

Comparison Compare(const Tensor& parent, const Tensor& child) {
  if (!child.device().is_cpu()) {
    // sum_v p (l_parent - l_child) - lse_parent + lse_child, with p = exp(l_parent - lse_parent)
    Comparison rows{parent.logsumexp(-1), child.logsumexp(-1), {}};
    const Tensor p = (parent - rows.parent_log_sum.unsqueeze(1)).exp_();
    rows.kl = p.mul_(parent - child).sum(-1) - rows.parent_log_sum + rows.child_log_sum;
    return rows;
  }
  auto column = [&] { return at::empty({child.size(0)}, child.options()); };
  Comparison rows{column(), column(), column()};
  KlDivergence(Data(parent), Data(child), child.size(0), child.size(1), Data(rows.parent_log_sum),
               Data(rows.child_log_sum), Data(rows.kl));
  return rows;
}

// How many logits of each row exceed the target's. [n]
Tensor Ranks(const Tensor& logits, const Tensor& targets, const Tensor& target_logits) {
  if (!logits.device().is_cpu()) return logits.gt(target_logits.unsqueeze(1)).sum(-1);
  Tensor ranks = at::empty_like(targets);
  CountAbove(Data(logits), targets.data_ptr<int64_t>(), logits.size(0), logits.size(1),
             ranks.data_ptr<int64_t>());
  return ranks;
}

// How a chunk of a child's predictions compares with the parent's. [n] each; without a parent only
// the first.
struct ChunkComparison {
  Tensor log_sum;  // of the child
  Tensor kl;
  Tensor parent_hidden;  // [n, hidden]
};

// Rows of a table of figures.
Tensor Row(const Tensor& table, Metric metric) {
  return table.select(0, static_cast<int64_t>(metric));
}
Tensor ParentEnergy(const Tensor& table) {
  return table.select(0, static_cast<int64_t>(kParentEnergyRow));
}

// Fills in what says how final states [n, hidden] differ from the parent's.
void CompareStates(const Tensor& child, const Tensor& parent, const Tensor& table) {
  constexpr double kLeast = 1e-30;  // of |parent|^2, for states that are 0
  const auto power = [](const Tensor& x) { return x.square().sum(-1, false, at::kDouble); };
  const Tensor error = power(child - parent), energy = power(parent);
  Row(table, Metric::kCosine).copy_(1.0 - at::cosine_similarity(child, parent, -1));
  Row(table, Metric::kNmse).copy_(error / energy.clamp_min(kLeast));
  Row(table, Metric::kNmseTensor).copy_(error);
  ParentEnergy(table).copy_(energy);
}

// The figures of `child`; `compare(first, hidden, logits)` knows the parent.
template <class CompareChunk>
TokenFigures MeasureChunks(const HeadInput& child, const Tensor& targets,
                           const CompareChunk& compare) {
  const at::NoGradGuard no_grad;
  const int64_t tokens = child.hidden.size(0), chunk = ChunkTokens(child.matrix.size(0));
  const Tensor all = at::zeros({kTokenRows, tokens}, child.hidden.options().dtype(at::kDouble));
  for (int64_t first = 0; first < tokens; first += chunk) {
    const int64_t n = std::min(chunk, tokens - first);
    const Tensor h = child.hidden.narrow(0, first, n);
    const Tensor own_targets = targets.narrow(0, first, n).contiguous();
    const Tensor logits = at::mm(h, child.matrix.t());
    const Tensor target_logits = logits.gather(1, own_targets.unsqueeze(1)).squeeze(1);
    const ChunkComparison against = compare(first, h, logits);
    const Tensor rows = all.narrow(1, first, n);
    Row(rows, Metric::kNll).copy_(against.log_sum - target_logits);
    if (against.kl.defined()) {
      Row(rows, Metric::kKl).copy_(against.kl);
      CompareStates(h, against.parent_hidden, rows);
    }
    const Tensor rank = Ranks(logits, own_targets, target_logits);
    Row(rows, Metric::kTop1).copy_(rank.lt(1));
    Row(rows, Metric::kTop5).copy_(rank.lt(5));
    Row(rows, Metric::kTop10).copy_(rank.lt(10));
  }
  return {all};
}

// What a head is trained towards: target ids, or else a teacher's distribution.
struct HeadTarget {
  Tensor ids;  // [tokens]
  HeadInput teacher;
};

// The loss of a chunk of logits, summed, and d loss / d logits = (p_student - p_target) / tokens in
// their place: against one-hot ids, or against a teacher.
double TowardsIds(Tensor& logits, const Tensor& ids, int64_t tokens) {
  const Tensor column = ids.unsqueeze(1);
  const Tensor log_sum = RowLogSums(logits);
  const double loss = (log_sum - logits.gather(1, column).squeeze(1)).sum().item<double>();
  logits.sub_(log_sum.unsqueeze(1)).exp_();
  logits.scatter_add_(1, column, at::full({logits.size(0), 1}, -1.0, logits.options()));
  logits.mul_(1.0 / static_cast<double>(tokens));
  return loss;
}

double TowardsTeacher(Tensor& logits, const HeadInput& teacher, int64_t first, int64_t tokens) {
  const Tensor teacher_logits =
      at::mm(teacher.hidden.narrow(0, first, logits.size(0)), teacher.matrix.t());
  const Comparison rows = Compare(teacher_logits, logits);
  const double scale = 1.0 / static_cast<double>(tokens);
  if (logits.device().is_cpu()) {
    KlGradient(Data(teacher_logits), Data(rows.parent_log_sum), Data(rows.child_log_sum),
               static_cast<float>(scale), logits.size(0), logits.size(1), Data(logits));
  } else {
    logits.sub_(rows.child_log_sum.unsqueeze(1)).exp_();
    logits.sub_((teacher_logits - rows.parent_log_sum.unsqueeze(1)).exp_()).mul_(scale);
  }
  return rows.kl.sum().item<double>();
}

// Cross entropy of softmax(hidden * matrix^T) against a target distribution: one-hot `targets`, or
// the teacher's softmax; in the latter case less the teacher's entropy, i.e. the KL divergence.
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
      Tensor logits = at::mm(h, matrix.t());
      loss += target.ids.defined() ? TowardsIds(logits, target.ids.narrow(0, first, n), tokens)
                                   : TowardsTeacher(logits, target.teacher, first, tokens);
      if (want_hidden) {
        Tensor rows = d_hidden.narrow(0, first, n);
        at::mm_out(rows, logits, matrix);
      }
      if (want_matrix) d_matrix.addmm_(logits.t(), h);
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

struct SquaredErrorFunction : Function<SquaredErrorFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& output, const Tensor& target,
                        const Tensor& weight) {
    const Tensor difference = output - target;
    const Tensor weighted = difference * weight;
    ctx->save_for_backward({weighted});
    return at::dot(weighted.flatten(), difference.flatten());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    return {ctx->get_saved_variables()[0] * (2.0 * grads[0]), Tensor(), Tensor()};
  }
};

}  // namespace

TokenMetrics TokenFigures::Sum() const {
  TokenMetrics metrics;
  metrics.tokens = rows.size(1);
  const auto take = [](const Tensor& sums, std::array<double, kTokenRows>& into) {
    const Tensor on_host = sums.cpu();
    std::copy_n(on_host.data_ptr<double>(), kTokenRows, into.begin());
  };
  take(rows.sum(1), metrics.sum);
  take(rows.square().sum(1), metrics.squares);
  metrics.nmse_products =
      at::dot(Row(rows, Metric::kNmseTensor), ParentEnergy(rows)).item<double>();
  return metrics;
}

TokenFigures TokenFigures::IncreaseTo(const TokenFigures& other) const {
  const Tensor increase = other.rows - rows;
  ParentEnergy(increase).copy_(ParentEnergy(rows));
  return {increase};
}

Tensor PredictingStates(const Tensor& hidden) {
  return hidden.narrow(1, 0, hidden.size(1) - 1).flatten(0, 1);
}

Tensor NextTokens(const Tensor& ids) {
  return ids.narrow(1, 1, ids.size(1) - 1).flatten();
}

TokenFigures Measure(const HeadInput& child, const Tensor& targets, const HeadInput* parent) {
  return MeasureChunks(child, targets, [&](int64_t first, const Tensor& h, const Tensor& logits) {
    if (parent == nullptr) return ChunkComparison{RowLogSums(logits), {}, {}};
    const Tensor parent_h = parent->hidden.narrow(0, first, h.size(0));
    const Comparison rows = Compare(at::mm(parent_h, parent->matrix.t()), logits);
    return ChunkComparison{rows.child_log_sum, rows.kl, parent_h};
  });
}

FoldedParent FoldedParent::Narrow(int64_t first, int64_t count) const {
  return {hidden.narrow(0, first, count), expected_row.narrow(0, first, count),
          negentropy.narrow(0, first, count)};
}

FoldedParent FoldParent(const HeadInput& parent, const Tensor& matrix) {
  const at::NoGradGuard no_grad;
  const int64_t tokens = parent.hidden.size(0), chunk = ChunkTokens(matrix.size(0));
  FoldedParent folded{parent.hidden, at::empty({tokens, matrix.size(1)}, matrix.options()),
                      at::empty({tokens}, matrix.options())};
  for (int64_t first = 0; first < tokens; first += chunk) {
    const int64_t n = std::min(chunk, tokens - first);
    const Tensor logits = at::mm(parent.hidden.narrow(0, first, n), parent.matrix.t());
    const Tensor log_sum = RowLogSums(logits);
    Tensor p = (logits - log_sum.unsqueeze(1)).exp_();
    Tensor rows = folded.expected_row.narrow(0, first, n);
    at::mm_out(rows, p, matrix);
    // Rounded like the product with a child's hidden state, so that both cancel where they agree.
    folded.negentropy.narrow(0, first, n).copy_(p.mul_(logits).sum(-1) - log_sum);
  }
  return folded;
}

TokenFigures Measure(const HeadInput& child, const Tensor& targets, const FoldedParent& parent) {
  return MeasureChunks(child, targets, [&](int64_t first, const Tensor& h, const Tensor& logits) {
    const FoldedParent own = parent.Narrow(first, h.size(0));
    const Tensor log_sum = RowLogSums(logits);
    // In doubles: three numbers of about ten nats make up a KL that may be a thousandth.
    const Tensor agreement = (h.to(at::kDouble) * own.expected_row.to(at::kDouble)).sum(-1);
    return ChunkComparison{log_sum, own.negentropy - agreement + log_sum, own.hidden};
  });
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

Tensor WeightedSquaredError(const Tensor& output, const Tensor& target, const Tensor& weight) {
  return SquaredErrorFunction::apply(output, target, weight);
}

}  // namespace puzzle
