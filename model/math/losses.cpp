#include "model/math/losses.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "io/error.h"
#include "model/math/block_kernels.h"
#include "model/math/kernels.h"
#include "model/math/product.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kChunkLogits = int64_t{1} << 23;  // 32 MiB of fp32 logits at a time

int64_t ChunkTokens(int64_t vocab) {
  return std::max<int64_t>(16, kChunkLogits / vocab);
}

float* Floats(const Tensor& tensor) {
  return tensor.data_ptr<float>();
}

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

// The figures of `child` with sums of its head; without a parent's states `kl` is undefined too.
TokenFigures MakeFigures(const HeadInput& child, const HeadSums& sums, const Tensor& kl,
                         const Tensor& parent_hidden) {
  const Tensor table = at::zeros({kTokenRows, child.hidden.size(0)},
                                 child.hidden.options().dtype(at::kDouble).requires_grad(false));
  Row(table, Metric::kNll).copy_(sums.log_sum - sums.target);
  if (kl.defined()) {
    Row(table, Metric::kKl).copy_(kl);
    CompareStates(child.hidden, parent_hidden, table);
  }
  Row(table, Metric::kTop1).copy_(sums.above.lt(1));
  Row(table, Metric::kTop5).copy_(sums.above.lt(5));
  Row(table, Metric::kTop10).copy_(sums.above.lt(10));
  return {table};
}

// Per token the mean of a head's logits over the distribution with this mean row. In doubles: three
// numbers of about ten nats make up a KL that may be a thousandth.
Tensor Agreement(const HeadInput& head, const Tensor& expected_row) {
  return (AsMultiplied(head.hidden, head.products).to(at::kDouble) * expected_row.to(at::kDouble))
      .sum(-1);
}

// What a head is trained towards: target ids, or else a teacher's distribution, from its own head
// or as its likeliest words.
struct HeadTarget {
  Tensor ids;  // [tokens]
  HeadInput teacher;
  TopWords words;
  Tensor rounded;  // of the student's head
};

// The operands of a head's products.
struct Operands {
  explicit Operands(const HeadInput& head)
      : hidden(head.hidden.detach().to(head.products).contiguous()),
        matrix(head.rounded.defined() ? head.rounded : head.matrix.detach().to(head.products)) {}
  Tensor hidden, matrix;

  [[nodiscard]] Tensor Logits(int64_t first, int64_t count) const {
    return Product(hidden.narrow(0, first, count), matrix.t());
  }
};

// The loss of a chunk of logits, summed, and d loss / d logits = (p_student - p_target) / tokens in
// their place: against one-hot ids, or against a teacher.
double TowardsIds(Tensor& logits, const Tensor& ids, int64_t tokens) {
  const Tensor column = ids.unsqueeze(1);
  const Tensor log_sum = RowLogSums(logits);
  const double loss = (log_sum - logits.gather(1, column).squeeze(1)).sum().item<double>();
  logits.sub_(log_sum.to(at::kFloat).unsqueeze(1)).exp_();
  logits.scatter_add_(1, column, at::full({logits.size(0), 1}, -1.0, logits.options()));
  logits.mul_(1.0 / static_cast<double>(tokens));
  return loss;
}

double TowardsTeacher(Tensor& logits, const Tensor& teacher_logits, int64_t tokens) {
  const RowComparison rows = CompareRows(teacher_logits, logits);
  const Tensor teacher_sum = rows.parent_log_sum.to(at::kFloat);
  const Tensor own_sum = rows.child_log_sum.to(at::kFloat);
  const double scale = 1.0 / static_cast<double>(tokens);
  if (logits.device().is_cpu()) {
    KlGradient(Floats(teacher_logits), Floats(teacher_sum), Floats(own_sum),
               static_cast<float>(scale), logits.size(0), logits.size(1), Floats(logits));
  } else {
    logits.sub_(own_sum.unsqueeze(1)).exp_();
    logits.sub_((teacher_logits - teacher_sum.unsqueeze(1)).exp_()).mul_(scale);
  }
  return rows.kl.sum().item<double>();
}

// Of each token `words` has a word or more; the rest may be empty.
double TowardsWords(Tensor& logits, const TopWords& words, int64_t tokens) {
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  const Tensor own = logits.gather(1, words.ids).to(at::kDouble);
  // Without those words the rest is summed up by itself: as a difference it would lose its digits.
  logits.scatter_(1, words.ids, kNothing);
  const Tensor rest = words.ids.size(1) < logits.size(1)
                          ? RowLogSums(logits)
                          : at::full({logits.size(0)}, kNothing, own.options());
  const Tensor log_sum = at::logaddexp(own.logsumexp(1), rest);
  const Tensor log_q = own - log_sum.unsqueeze(1), log_q_rest = rest - log_sum;
  const Tensor log_p = words.log_probability.to(at::kDouble),
               log_p_rest = words.log_rest.to(at::kDouble);
  const Tensor p = log_p.exp(), p_rest = log_p_rest.exp();
  // A rest without probability has nothing to lose: 0 log 0.
  const Tensor of_rest = p_rest * at::where(p_rest.gt(0), log_p_rest - log_q_rest, p_rest);
  const double loss = (p * (log_p - log_q)).sum().item<double>() + of_rest.sum().item<double>();
  const double scale = 1.0 / static_cast<double>(tokens);
  const auto as_floats = [&](const Tensor& difference) {
    return difference.mul(scale).to(at::kFloat);
  };
  logits.sub_(rest.to(at::kFloat).unsqueeze(1)).exp_();
  logits.mul_(as_floats(log_q_rest.exp() - p_rest).unsqueeze(1));
  logits.scatter_(1, words.ids, as_floats(log_q.exp() - p));
  return loss;
}

// Cross entropy of softmax(hidden * matrix^T) against a target distribution: one-hot `targets`, or
// the teacher's softmax; in the latter case less the teacher's entropy, i.e. the KL divergence.
struct HeadLoss : Function<HeadLoss> {
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& matrix,
                        at::ScalarType products, const HeadTarget& target) {
    const int64_t tokens = hidden.size(0), chunk = ChunkTokens(matrix.size(0));
    const Operands own({hidden, matrix, products, target.rounded});
    std::optional<Operands> teacher;
    if (target.teacher.hidden.defined()) teacher.emplace(target.teacher);
    const Tensor d_hidden =
        hidden.requires_grad() ? at::empty(hidden.sizes(), hidden.options()) : Tensor();
    const Tensor d_matrix =
        matrix.requires_grad() ? at::zeros(matrix.sizes(), matrix.options()) : Tensor();
    double loss = 0;
    for (int64_t first = 0; first < tokens; first += chunk) {
      const int64_t n = std::min(chunk, tokens - first);
      Tensor logits = own.Logits(first, n);
      if (teacher) {
        loss += TowardsTeacher(logits, teacher->Logits(first, n), tokens);
      } else if (target.ids.defined()) {
        loss += TowardsIds(logits, target.ids.narrow(0, first, n), tokens);
      } else {
        loss += TowardsWords(logits, target.words.Narrow(first, n), tokens);
      }
      const Tensor d_logits = logits.to(products);
      if (d_hidden.defined()) Multiply(d_logits, own.matrix, d_hidden.narrow(0, first, n));
      if (d_matrix.defined())
        Multiply(d_logits.t(), own.hidden.narrow(0, first, n), d_matrix, Into::kAdd);
    }
    ctx->save_for_backward({d_hidden, d_matrix});
    return at::scalar_tensor(loss / static_cast<double>(tokens), hidden.options());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    // In place: that of the matrix is as large as it. Asking for gradients twice is then an error.
    auto scaled = [&](Tensor grad) { return grad.defined() ? grad.mul_(grads[0]) : Tensor(); };
    return {scaled(saved[0]), scaled(saved[1]), Tensor(), Tensor()};
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

// Of rows x and y, of which one may be 0: x y / max(|x| |y|, least).
struct CosineFunction : Function<CosineFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& student, const Tensor& teacher) {
    const Tensor x = student.detach().contiguous(), y = teacher.detach().contiguous();
    const int64_t n = x.size(-1), rows = x.numel() / n;
    const Tensor sums = at::empty({3, rows}, x.options());
    RowDots(Floats(x), Floats(y), rows, n, Floats(sums[0]), Floats(sums[1]), Floats(sums[2]));
    const Tensor lengths = (sums[1] * sums[2]).sqrt_().clamp_min_(kLeastLengths);
    const Tensor cosines = sums[0] / lengths;
    ctx->save_for_backward({x, y, lengths, cosines, sums[1]});
    return cosines.mean();
  }
  // (y / (|x| |y|) - cos x / |x|^2) / rows.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &y = saved[1];
    const Tensor scale = grads[0] / static_cast<double>(saved[2].size(0));
    const auto column = [&](const Tensor& of_rows) {
      std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end());
      shape.back() = 1;
      return of_rows.view(shape);
    };
    const Tensor towards = scale / saved[2];
    const Tensor along = scale * saved[3] / saved[4].clamp_min(kLeastLengths);
    return {(y * column(towards)).addcmul_(x, column(along), -1.0), Tensor()};
  }

 private:
  static constexpr double kLeastLengths = 1e-8;
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
  const at::NoGradGuard no_grad;
  if (parent == nullptr) return MakeFigures(child, SumHead(child, targets, nullptr), {}, {});
  const int64_t common = std::min(child.matrix.size(0), parent->matrix.size(0));
  if (child.matrix.size(0) == parent->matrix.size(0)) {
    const HeadSums sums = SumHead(child, targets, parent);
    return MakeFigures(child, sums, sums.kl, parent->hidden);
  }
  const auto cut = [&](HeadInput head) {
    head.matrix = head.matrix.narrow(0, 0, common);
    return head;
  };
  const HeadInput parents_part = cut(*parent);
  return MakeFigures(child, SumHead(child, targets, nullptr),
                     SumHead(cut(child), {}, &parents_part).kl, parent->hidden);
}

Likelihood LikelihoodOf(const HeadInput& head, const Tensor& targets) {
  const HeadSums sums = SumHead(head, targets, nullptr);
  return {sums.target - sums.log_sum, sums.above.lt(1)};
}

FoldedParent FoldedParent::Narrow(int64_t first, int64_t count) const {
  return {hidden.narrow(0, first, count), expected_row.narrow(0, first, count),
          negentropy.narrow(0, first, count), products};
}

FoldedParent FoldParent(const HeadInput& parent, const Tensor& matrix) {
  const at::NoGradGuard no_grad;
  const bool same_matrix = matrix.data_ptr() == parent.matrix.data_ptr();
  const Tensor log_sum = SumHead(parent, {}, nullptr).log_sum;
  FoldedParent folded{parent.hidden,
                      at::zeros({parent.hidden.size(0), matrix.size(1)},
                                parent.hidden.options().requires_grad(false)),
                      log_sum.neg(), parent.products};
  ForEachTile(parent, [&](const HeadTile& tile) {
    const auto here = [&](const Tensor& all) {
      return all.narrow(0, tile.first_token, tile.tokens);
    };
    Tensor p = (tile.logits - here(log_sum).to(at::kFloat).unsqueeze(1)).exp_();
    Multiply(p, AsMultiplied(matrix.narrow(0, tile.first_word, tile.words), parent.products),
             here(folded.expected_row), Into::kAdd);
    if (!same_matrix) here(folded.negentropy).add_(p.mul_(tile.logits).sum(-1, false, at::kDouble));
  });
  // With one matrix sum_v p_v logit_v is known from the mean row, and its error is that of a
  // child's: both cancel where the states agree.
  if (same_matrix) folded.negentropy.add_(Agreement(parent, folded.expected_row));
  return folded;
}

TokenFigures Measure(const HeadInput& child, const Tensor& targets, const FoldedParent& parent) {
  const at::NoGradGuard no_grad;
  PUZZLE_CHECK(child.products == parent.products, "a parent folded for other products");
  const HeadSums sums = SumHead(child, targets, nullptr);
  const Tensor kl = parent.negentropy - Agreement(child, parent.expected_row) + sums.log_sum;
  return MakeFigures(child, sums, kl, parent.hidden);
}

Tensor CrossEntropyLoss(const HeadInput& head, const Tensor& targets) {
  return HeadLoss::apply(head.hidden, head.matrix, head.products,
                         HeadTarget{targets, {}, {}, head.rounded});
}

Tensor KlLoss(const HeadInput& student, const HeadInput& teacher) {
  return HeadLoss::apply(student.hidden, student.matrix, student.products,
                         HeadTarget{{}, teacher, {}, student.rounded});
}

Tensor CoarseKlLoss(const HeadInput& student, const TopWords& teacher) {
  return HeadLoss::apply(student.hidden, student.matrix, student.products,
                         HeadTarget{{}, {}, teacher, student.rounded});
}

Tensor CosineLoss(const Tensor& student, const Tensor& teacher) {
  if (!student.device().is_cpu()) return 1.0 - at::cosine_similarity(student, teacher, -1).mean();
  return 1.0 - CosineFunction::apply(student, teacher);
}

Tensor WeightedSquaredError(const Tensor& output, const Tensor& target, const Tensor& weight) {
  return SquaredErrorFunction::apply(output, target, weight);
}

}  // namespace puzzle
