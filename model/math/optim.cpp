#include "model/math/optim.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/kernels.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {
constexpr int64_t kElementsTogether = int64_t{1} << 22;  // for one thread
// Squares that libtorch may add up in fp32 one after another. Of more, those that come late are too
// small beside the sum to change it: then by pieces.
constexpr int64_t kNormAsOne = int64_t{1} << 28, kNormPiece = int64_t{1} << 24;

}  // namespace

double GradientNorm(const Tensor& values) {
  // How libtorch splits a sum, and so its last bits, depends on the number of threads: one.
  const ThreadsGuard one(1);
  const auto norm = [](const Tensor& part) { return part.norm().item<double>(); };
  if (values.numel() <= kNormAsOne) return norm(values);
  double squares = 0;
  for (int64_t first = 0; first < values.numel(); first += kNormPiece) {
    const double own = norm(values.narrow(0, first, std::min(kNormPiece, values.numel() - first)));
    squares += own * own;
  }
  return std::sqrt(squares);
}

AdamW::AdamW(std::vector<Tensor> parameters, const AdamWOptions& options, ThreadTeam team,
             const MakeFlat& room, const MakeFlat& gradient_room)
    : options_(options), team_(std::move(team)), parameters_(std::move(parameters)) {
  const at::NoGradGuard no_grad;
  PUZZLE_CHECK(!parameters_.empty(), "nothing to optimize");
  std::stable_partition(parameters_.begin(), parameters_.end(),
                        [](const Tensor& p) { return p.dim() > 1; });
  int64_t total = 0;
  for (const Tensor& p : parameters_) {
    total += p.numel();
    if (p.dim() > 1) decayed_ += p.numel();
  }
  values_ =
      room ? room(total) : at::empty({total}, parameters_.front().options().requires_grad(false));
  const auto for_each_place = [&](const auto& use) {
    int64_t offset = 0;
    for (Tensor& p : parameters_) {
      use(p, offset, p.numel());
      offset += p.numel();
    }
  };
  for_each_place([&](Tensor& p, int64_t offset, int64_t count) {
    Tensor view = values_.narrow(0, offset, count).view(p.sizes());
    view.copy_(p);
    p.set_data(view);
    p.requires_grad_(true);
  });
  // Only now: these may lie where the parameters did.
  grads_ = gradient_room ? gradient_room(total) : at::zeros_like(values_);
  mean_ = room ? room(total) : at::zeros_like(values_);
  square_ = room ? room(total) : at::zeros_like(values_);
  for_each_place([&](Tensor& p, int64_t offset, int64_t count) {
    p.mutable_grad() = grads_.narrow(0, offset, count).view(p.sizes());
  });
}

void AdamW::ZeroGrad() {
  grads_.zero_();
}

double AdamW::Step(double learning_rate) {
  const at::NoGradGuard no_grad;
  const double norm = GradientNorm(grads_);
  if (!std::isfinite(norm)) return norm;
  ++steps_;
  Update update;
  if (options_.clip_norm > 0 && norm > options_.clip_norm)
    update.grad_scale = options_.clip_norm / norm;
  update.keep = 1.0 - learning_rate * options_.weight_decay;
  update.step_size = learning_rate / (1.0 - std::pow(options_.beta1, static_cast<double>(steps_)));
  update.square_scale =
      1.0 / std::sqrt(1.0 - std::pow(options_.beta2, static_cast<double>(steps_)));
  Apply(update, 0, decayed_);
  update.keep = 1.0;
  Apply(update, decayed_, values_.numel() - decayed_);
  return norm;
}

void AdamW::Restore(const State& state) {
  const at::NoGradGuard no_grad;
  for (const Tensor* saved : {&state.values, &state.mean, &state.square})
    if (saved->numel() != values_.numel())
      throw Error(fmt::format("a training of {} parameters cannot go on with {}", values_.numel(),
                              saved->numel()));
  values_.copy_(state.values);
  mean_.copy_(state.mean);
  square_.copy_(state.square);
  steps_ = state.updates;
}

void AdamW::Apply(const Update& update, int64_t first, int64_t count) {
  if (count == 0) return;
  auto part = [&](const Tensor& all) { return all.narrow(0, first, count); };
  Tensor values = part(values_), mean = part(mean_), square = part(square_);
  const Tensor grads = part(grads_);
  if (values.device().is_cpu()) {
    const AdamWUpdate exact{
        static_cast<float>(update.grad_scale), static_cast<float>(options_.beta1),
        static_cast<float>(options_.beta2),    static_cast<float>(update.keep),
        static_cast<float>(update.step_size),  static_cast<float>(update.square_scale),
        static_cast<float>(options_.eps)};
    const auto apply = [&](int64_t piece) {
      const int64_t begin = piece * kElementsTogether;
      const auto at = [&](const Tensor& all) { return all.data_ptr<float>() + begin; };
      ApplyAdamW(exact, at(grads), at(values), at(mean), at(square),
                 std::min(kElementsTogether, count - begin));
    };
    ParallelFor((count + kElementsTogether - 1) / kElementsTogether, apply, team_);
    return;
  }
  const Tensor scaled = grads * update.grad_scale;
  mean.lerp_(scaled, 1.0 - options_.beta1);
  square.mul_(options_.beta2).addcmul_(scaled, scaled, 1.0 - options_.beta2);
  values.mul_(update.keep)
      .addcdiv_(mean, square.sqrt().mul_(update.square_scale).add_(options_.eps),
                -update.step_size);
}

double CosineSchedule(int64_t step, int64_t steps, double peak, double warmup, double final_ratio) {
  const double warm = std::max(1.0, warmup * static_cast<double>(steps));
  const double at = static_cast<double>(step) + 1.0;
  if (at <= warm) return peak * at / warm;
  const double progress = std::min(1.0, (at - warm) / (static_cast<double>(steps) - warm + 1.0));
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return peak * (final_ratio + (1.0 - final_ratio) * cosine);
}

}  // namespace puzzle
