#include "nodes/bld.h"

#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "io/error.h"
#include "model/losses.h"
#include "model/optim.h"
#include "model/pch.h"
#include "model/refit.h"
#include "model/surgery.h"
#include "nodes/batches.h"

namespace puzzle {

using at::Tensor;

namespace {

// One variant's forward passes over the data.
class Trainee {
 public:
  Trainee(const SubBlockWeights& weights, const VariantSpec& spec, const Transformer& parent,
          const SubBlockData& data, int64_t holdout, const std::string& device)
      : weights_(weights),
        spec_(spec),
        parent_(parent),
        data_(data),
        n_train_(data.sequences() - holdout),
        device_(device) {
    if (n_train_ < 1)
      throw Error(fmt::format("{} calibration sequences leave none to train on beside {} held out",
                              data.sequences(), holdout));
  }

  int64_t n_train() const { return n_train_; }
  SubBlockWeights& weights() { return weights_; }

  Tensor Loss(const std::vector<int64_t>& rows) const {
    const SubBlockData::Batch batch = data_.Rows(rows, device_);
    return NormalizedMse(
        SubBlockOutput(weights_, spec_, parent_.config(), parent_.rotary(), batch.normalized),
        batch.target);
  }

  double HeldOutLoss() const {
    const at::NoGradGuard no_grad;
    double error = 0, power = 0;
    for (int64_t row = n_train_; row < data_.sequences(); ++row) {
      const SubBlockData::Batch batch = data_.Rows({row}, device_);
      const Tensor output =
          SubBlockOutput(weights_, spec_, parent_.config(), parent_.rotary(), batch.normalized);
      error += (output - batch.target).square().sum().item<double>();
      power += batch.target.square().sum().item<double>();
    }
    return error / power;
  }

  // The best output matrix for the present features, by ridge regression.
  void RefitOutput(int64_t tokens, const std::function<void()>& poll) {
    const at::NoGradGuard no_grad;
    Tensor& matrix = OutputMatrix(weights_, spec_);
    RidgeFit fit(matrix.size(1), matrix.size(0));
    const int64_t length = data_.normalized.size(1);
    const int64_t sequences = std::min(n_train_, (tokens + length - 1) / length);
    constexpr int64_t kBatch = 4;
    for (int64_t first = 0; first < sequences; first += kBatch) {
      std::vector<int64_t> rows(static_cast<size_t>(std::min(kBatch, sequences - first)));
      std::iota(rows.begin(), rows.end(), first);
      const SubBlockData::Batch batch = data_.Rows(rows, device_);
      fit.Add(Features(weights_, spec_, parent_.config(), parent_.rotary(), batch.normalized)
                  .flatten(0, 1),
              batch.target.flatten(0, 1));
      poll();
    }
    matrix.copy_(fit.Solve());
  }

 private:
  SubBlockWeights weights_;
  const VariantSpec& spec_;
  const Transformer& parent_;
  const SubBlockData& data_;
  int64_t n_train_;
  std::string device_;
};

bool IsLinear(const VariantSpec& spec) {
  return std::visit([](const auto& s) { return s.form == SubBlockForm::kLinear; }, spec);
}

bool IsNone(const VariantSpec& spec) {
  return std::visit([](const auto& s) { return s.form == SubBlockForm::kNone; }, spec);
}

}  // namespace

Distilled DistillSubBlock(const SubBlockWeights& start, const VariantSpec& spec,
                          const Transformer& parent, const SubBlockData& data,
                          const BldParams& params, uint64_t seed, const std::string& device,
                          const std::function<void(double, std::string_view)>& poll) {
  Trainee trainee(Clone(start, spec), spec, parent, data, params.holdout, device);
  Distilled result;
  result.init_loss = trainee.HeldOutLoss();
  if (params.refit_tokens > 0) {
    trainee.RefitOutput(params.refit_tokens, [&] { poll(0, "closed-form start"); });
    result.refit_loss = trainee.HeldOutLoss();
  } else {
    result.refit_loss = result.init_loss;
  }
  const SubBlockWeights before_training = Clone(trainee.weights(), spec);
  const bool solved = IsLinear(spec) && params.refit_tokens > 0;
  const auto steps = static_cast<int64_t>(std::ceil(
      params.epochs * static_cast<double>(trainee.n_train()) / static_cast<double>(params.batch)));
  if (!solved && steps > 0) {
    const at::AutoGradMode with_gradients(true);
    AdamW optimizer(Parameters(trainee.weights(), spec),
                    {.weight_decay = params.weight_decay, .clip_norm = params.clip});
    SequenceOrder order(trainee.n_train(), seed);
    for (int64_t step = 0; step < steps; ++step) {
      const Tensor loss = trainee.Loss(order.Next(params.batch));
      loss.backward();
      optimizer.Step(CosineSchedule(step, steps, params.lr, params.warmup));
      optimizer.ZeroGrad();
      poll(static_cast<double>(step + 1) / static_cast<double>(steps),
           fmt::format("loss {:.4f}", loss.item<double>()));
    }
  }
  result.loss = trainee.HeldOutLoss();
  result.weights = Clone(trainee.weights(), spec);
  if (!(result.loss <= result.refit_loss)) {  // NaN counts as worse
    result.diverged = true;
    result.loss = result.refit_loss;
    result.weights = before_training;
  }
  return result;
}

Block RunBld(const BldParams& params, const Inputs& inputs, RunContext& context) {
  const auto parent = inputs.One<Checkpoint>("parent");
  const auto checkpoint = parent.Load();
  Block block;
  block.layer = params.layer;
  block.variant = params.variant;
  block.spec =
      ResolveVariant(params.variant, checkpoint->model.config, params.layer, params.multiple_of);
  const SubBlock which = WhichSubBlock(block.spec);
  if (which == SubBlock::kFfn) block.trained = FfnWeights{};
  if (block.spec == ParentVariant(checkpoint->model.config, params.layer, which)) {
    block.parents_own = true;
    return block;
  }
  if (IsNone(block.spec)) {
    block.init_loss = block.loss = 1;
    return block;
  }

  const auto activations = inputs.One<Activations>("activations");
  const std::string device = context.device().name();
  const Transformer teacher(ToDevice(checkpoint->model, device));
  const std::string key = fmt::format("bld-data {} {} {} {}", parent.digest(), activations.digest(),
                                      params.layer, SubBlockName(which));
  const auto data = context.Resident<SubBlockData>(key, [&] {
    const auto states = activations.Load();
    CheckActivations(*states, parent.digest(), checkpoint->model.config);
    auto made = std::make_shared<const SubBlockData>(MakeSubBlockData(
        teacher, *states, params.layer, which, [&] { context.Poll(0, "the parent's answers"); }));
    return SizedValue{made, made->bytes()};
  });
  Tensor channel_order;
  if (inputs.Has("importance"))
    channel_order =
        inputs.Get<Importance>("importance")->channel_order.at(static_cast<size_t>(params.layer));
  const SubBlockWeights start =
      InitVariant(teacher.weights(), params.layer, block.spec, channel_order);
  Distilled distilled = DistillSubBlock(
      start, block.spec, teacher, *data, params,
      context.seed() + static_cast<uint64_t>(params.seed), device,
      [&](double fraction, std::string_view note) { context.Poll(fraction, note); });
  if (distilled.diverged)
    context.Warn(fmt::format(
        "training did not improve on its start (loss {:.4f}); the start is kept", distilled.loss));
  block.trained = std::move(distilled.weights);
  block.init_loss = distilled.init_loss;
  block.loss = distilled.loss;
  return block;
}

}  // namespace puzzle
