#include "nodes/train/trainee.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/losses.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/refit.h"
#include "model/unread.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/train/training_loop.h"

namespace puzzle {

using at::Tensor;

namespace {

// Tokens that are worked off at once: enough for long matrix products, few enough for a cache.
constexpr int64_t kPieceTokens = 1024;

std::vector<int64_t> Range(int64_t first, int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), first);
  return rows;
}

// The sub-block of a variant that answers last: of a whole block its FFN, or its attention where
// the FFN is `none`. Shares the variant's tensors.
class LastSubBlock {
 public:
  LastSubBlock(const SubBlockWeights& weights, const VariantSpec& spec)
      : weights_(weights), spec_(spec) {
    const auto* block = std::get_if<BlockSpec>(&spec);
    if (block == nullptr) return;
    const auto& own = std::get<BlockWeights>(weights);
    is_whole_ = true;
    if (IsNone(block->ffn)) {
      weights_ = own.attention;
      spec_ = block->attention;
      return;
    }
    before_ = {own.attention, block->attention};
    weights_ = own.ffn;
    spec_ = block->ffn;
  }

  [[nodiscard]] Tensor& matrix() { return OutputMatrix(weights_, spec_); }
  [[nodiscard]] bool is_whole() const { return is_whole_; }
  [[nodiscard]] bool has_post_norm() const { return HasPostNorm(weights_, spec_); }

  // Puts the solution of the problem in place.
  void Take(const RidgeFit& fit) {
    const Tensor bias = OutputBias(weights_, spec_);
    if (!bias.defined()) {
      matrix().copy_(fit.Solve());
      return;
    }
    const RidgeFit::Affine best = fit.SolveAffine();
    matrix().copy_(best.matrix);
    bias.copy_(best.bias);
  }

  // Its features, and what its output matrix, and bias where it has one, have to make of them.
  [[nodiscard]] std::pair<Tensor, Tensor> Problem(SubBlockData::Batch batch,
                                                  const ModelConfig& config,
                                                  const RotaryTable& rotary) const {
    Tensor input = batch.input, target = batch.target;
    if (!IsNone(before_.second)) {
      const Tensor added =
          SubBlockOutput(before_.first, before_.second, config, rotary, Normalize(input, config));
      input = input + added;
      target = target - added;
    }
    if (is_whole_) input = Normalize(input, config);
    return {Features(weights_, spec_, config, rotary, input), target};
  }

 private:
  SubBlockWeights weights_;
  VariantSpec spec_;
  bool is_whole_ = false;
  // What changes its input within the block; `none` where nothing does.
  std::pair<AttentionWeights, AttentionSpec> before_ = {{}, {SubBlockForm::kNone, 0}};
};

}  // namespace

Trainee::Trainee(const SubBlockWeights& start, const VariantSpec& spec, const Transformer& parent,
                 const SubBlockData& data, const BldParams& params, std::string device,
                 TraineeRoom room)
    : weights_(Clone(start, spec)),
      spec_(spec),
      parent_(parent),
      data_(data),
      params_(params),
      device_(std::move(device)),
      room_(std::move(room)),
      n_train_(data.sequences() - params.holdout),
      bf16_steps_(ProductType(params.compute, device_) == at::kBFloat16),
      trainable_(TrainableSubBlock(weights_, spec_, parent_.config(), parent_.rotary())) {
  if (n_train_ < 1)
    throw Error(fmt::format("{} calibration sequences leave none to train on beside {} held out",
                            data.sequences(), params.holdout));
  if (params.answers_only()) CheckAnswers();
}

void Trainee::CheckAnswers() const {
  const Tensor& answers = data_.predicts_answer;
  (void)CountedPredictions(answers.defined() ? answers.to(at::kBool) : Tensor());
  const auto none_in = [&](int64_t first, int64_t count) {
    return answers.narrow(0, first, count).sum().item<double>() == 0;
  };
  if (none_in(n_train_, params_.holdout) || none_in(0, n_train_))
    throw Error(
        fmt::format("of {} calibration sequences, the last {} of them held out, one part "
                    "has no answers: take more or shorter sequences, or another `holdout`",
                    data_.sequences(), params_.holdout));
}

Tensor Trainee::Pick(const Tensor& values, const std::vector<int64_t>& rows) {
  return values.index_select(0, at::tensor(at::ArrayRef<int64_t>(rows), at::kLong));
}

int64_t Trainee::PieceRows() const {
  return std::max<int64_t>(1, kPieceTokens / data_.length());
}

Tensor Trainee::LossWeights(const std::vector<int64_t>& rows,
                            const std::vector<int64_t>& all) const {
  constexpr double kLeast = 1e-12;  // of |target|^2, where nothing is added
  const Tensor &power = data_.power, &counts = data_.predicts_answer;
  if (params_.answers_only()) {
    // A batch may hold no answer: then it teaches nothing.
    const Tensor parts =
        params_.loss == "token"
            ? Pick(power, rows).clamp_min_(kLeast) * Pick(counts, all).sum().clamp_min(1)
            : (Pick(power, all) * Pick(counts, all)).sum().clamp_min(kLeast);
    return (Pick(counts, rows) / parts).unsqueeze(-1);
  }
  if (params_.loss == "token") {
    const auto tokens = static_cast<double>(static_cast<int64_t>(all.size()) * data_.length());
    return (Pick(power, rows).clamp_min_(kLeast) * tokens).reciprocal_().unsqueeze(-1);
  }
  return Pick(power, all).sum().clamp_min(kLeast).reciprocal().unsqueeze(0);
}

Tensor Trainee::Loss(const std::vector<Tensor>& tensors, const std::vector<int64_t>& rows,
                     const std::vector<int64_t>& all, bool in_bf16) const {
  const SubBlockData::Batch batch = data_.Rows(rows, device_, in_bf16);
  return WeightedSquaredError(trainable_.output(tensors, batch.input), batch.target,
                              LossWeights(rows, all).to(at::Device(device_)));
}

double Trainee::HeldOutLoss() const {
  const at::NoGradGuard no_grad;
  const std::vector<int64_t> all = Range(n_train_, params_.holdout);
  const std::vector<Tensor> tensors = trainable_.prepare();
  std::vector<double> losses(all.size());
  ParallelFor(params_.holdout, [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    losses[index] = Loss(tensors, {all[index]}, all, false).item<double>();
  });
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

void Trainee::RefitOutput(int64_t tokens, const std::function<void()>& poll) {
  const at::NoGradGuard no_grad;
  LastSubBlock last(weights_, spec_);
  // A norm behind the matrix is not linear. A sub-block's matrix then learns what the parent's
  // feeds to the same norm; within a whole block the parent's state is another, and there is no
  // such fit.
  const bool before_norm = last.has_post_norm();
  if (before_norm && last.is_whole()) return;
  const int64_t layer = params_.layer;
  const SubBlock which = WhichSubBlock(spec_);
  const VariantSpec own_spec = ParentVariant(parent_.config(), layer, which);
  const WantedPart asked = {.first = layer, .last = before_norm ? layer + 1 : layer};
  const SubBlockWeights own =
      SubBlockOf(PartInMemory(parent_.weights(), asked, device_), layer, which);
  RidgeFit fit(last.matrix().size(1), last.matrix().size(0));
  const int64_t sequences = std::min(n_train_, (tokens + data_.length() - 1) / data_.length());
  const int64_t piece = 2 * PieceRows();
  int64_t fitted = 0;
  for (int64_t first = 0; first < sequences; first += piece) {
    const std::vector<int64_t> rows = Range(first, std::min(piece, sequences - first));
    const SubBlockData::Batch batch = data_.Rows(rows, device_);
    const int64_t count = batch.input.size(0), length = batch.input.size(1);
    Tensor x = at::empty({count, length, last.matrix().size(1)}, batch.target.options());
    Tensor y = at::empty_like(batch.target);
    ParallelOverRows(count, x.device(), [&](int64_t, int64_t begin, int64_t size) {
      SubBlockData::Batch part = {batch.input.narrow(0, begin, size),
                                  batch.target.narrow(0, begin, size)};
      if (before_norm)
        part.target =
            OutputBeforePostNorm(own, own_spec, parent_.config(), parent_.rotary(), part.input);
      const auto [features, target] =
          last.Problem(std::move(part), parent_.config(), parent_.rotary());
      x.narrow(0, begin, size).copy_(features);
      y.narrow(0, begin, size).copy_(target);
    });
    x = x.flatten(0, 1);
    y = y.flatten(0, 1);
    if (params_.answers_only()) {
      const Tensor counted =
          at::nonzero(Pick(data_.predicts_answer, rows).reshape(-1)).squeeze(1).to(x.device());
      x = x.index_select(0, counted);
      y = y.index_select(0, counted);
    }
    if (x.size(0) > 0) fit.Add(x, y);
    fitted += x.size(0);
    poll();
  }
  if (fitted > 0) last.Take(fit);
}

AdamW& Trainee::Optimizer() {
  if (!optimizer_) {
    optimizer_.emplace(
        trainable_.parameters,
        AdamWOptions{.weight_decay = params_.weight_decay, .clip_norm = params_.clip}, ThreadTeam(),
        room_.flat);
  }
  return *optimizer_;
}

SubBlockWeights Trainee::Weights() const {
  if (!room_.flat) return Clone(weights_, spec_);
  SubBlockWeights copy = weights_;
  for (auto& [name, slot] : Slots(copy, spec_))
    *slot = room_.flat(slot->numel()).view(slot->sizes());
  CopyTo(copy);
  return copy;
}

void Trainee::CopyTo(SubBlockWeights& copy) const {
  const at::NoGradGuard no_grad;
  SubBlockWeights own = weights_;
  const auto from = Slots(own, spec_), to = Slots(copy, spec_);
  for (size_t i = 0; i < from.size(); ++i) to[i].second->copy_(*from[i].second);
}

void Trainee::Save(ArchiveWriter& out) const {
  PUZZLE_CHECK(optimizer_, "no step was made");
  SaveOptimizer(*optimizer_, out);
}

void Trainee::Restore(const ArchiveReader& in) {
  RestoreOptimizer(in, Optimizer());
}

double Trainee::Step(const std::vector<int64_t>& rows, double learning_rate) {
  const at::AutoGradMode with_gradients(true);
  AdamW& optimizer = Optimizer();
  const std::vector<Tensor> prepared = trainable_.prepare();
  GradientParts gradients(prepared, PieceRows());
  if (room_.one_at_a_time) gradients.TakeOneAtATime();
  const double loss = gradients.Backward(rows, [&](int64_t part, const std::vector<int64_t>& own) {
    return Loss(gradients.Leaves(part), own, rows, bf16_steps_);
  });
  torch::autograd::backward(prepared, gradients.Gradients());
  optimizer.Step(learning_rate);
  optimizer.ZeroGrad();
  return loss;
}

}  // namespace puzzle
