#include "model/math/ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "io/error.h"
#include "model/math/kernels.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

// y = x^ * w with x^ = x * r, r = (mean(x^2) + eps)^-1/2.
// dw = sum dy * x^; dx = r * (g - x^ * mean(g * x^)) with g = dy * w.
struct RmsNormFunction : Function<RmsNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, double eps) {
    const Tensor scale = x.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
    const Tensor normalized = x * scale;
    ctx->save_for_backward({normalized, scale, weight});
    return normalized * weight;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &normalized = saved[0], &scale = saved[1], &weight = saved[2];
    const Tensor& dy = grads[0];
    Tensor dx, dw;
    if (ctx->needs_input_grad(1)) dw = (dy * normalized).reshape({-1, weight.size(0)}).sum(0);
    if (ctx->needs_input_grad(0)) {
      Tensor g = dy * weight;
      const Tensor mean = (g * normalized).mean(-1, /*keepdim=*/true);
      dx = g.addcmul_(normalized, mean, -1.0).mul_(scale);
    }
    return {dx, dw, Tensor()};
  }
};

Bf16Bits* Bits(const Tensor& x) {
  return reinterpret_cast<Bf16Bits*>(x.data_ptr<at::BFloat16>());
}

struct SwiGluFunction : Function<SwiGluFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate, const Tensor& up) {
    ctx->save_for_backward({gate, up});
    if (!gate.device().is_cpu()) return at::silu(gate).mul_(up);
    Tensor out = at::empty_like(gate);
    if (gate.scalar_type() == at::kBFloat16) {
      GateForward(Bits(gate), Bits(up), Bits(out), out.numel());
    } else {
      GateForward(gate.data_ptr<float>(), up.data_ptr<float>(), out.data_ptr<float>(), out.numel());
    }
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1];
    if (!gate.device().is_cpu())
      return {at::silu_backward(grads[0] * up, gate), at::silu(gate).mul_(grads[0])};
    const Tensor d_out = grads[0].contiguous();
    Tensor d_gate = at::empty_like(gate), d_up = at::empty_like(up);
    if (gate.scalar_type() == at::kBFloat16) {
      GateBackward(Bits(gate), Bits(up), Bits(d_out), Bits(d_gate), Bits(d_up), gate.numel());
    } else {
      GateBackward(gate.data_ptr<float>(), up.data_ptr<float>(), d_out.data_ptr<float>(),
                   d_gate.data_ptr<float>(), d_up.data_ptr<float>(), gate.numel());
    }
    return {d_gate, d_up};
  }
};

// Rotation by +angle (forward) or -angle (backward).
Tensor RotateBy(const Tensor& x, const Tensor& cos, const Tensor& sin, bool inverse) {
  const int64_t half = x.size(-1) / 2;
  const Tensor x1 = x.narrow(-1, 0, half);
  const Tensor x2 = x.narrow(-1, half, half);
  Tensor y = at::empty(x.sizes(), x.options());
  Tensor y1 = y.narrow(-1, 0, half);
  Tensor y2 = y.narrow(-1, half, half);
  const double sign = inverse ? 1.0 : -1.0;
  at::mul_out(y1, x1, cos).addcmul_(x2, sin, sign);
  at::mul_out(y2, x2, cos).addcmul_(x1, sin, -sign);
  return y;
}

struct RotateFunction : Function<RotateFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cos,
                        const Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return RotateBy(x, cos, sin, /*inverse=*/false);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {RotateBy(grads[0], saved[0], saved[1], /*inverse=*/true), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor NormalizeRms(const Tensor& x, double eps) {
  return x * x.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
}

Tensor RmsNorm(const Tensor& x, const Tensor& weight, double eps) {
  return RmsNormFunction::apply(x, weight, eps);
}

Tensor Normalize(const Tensor& x, const ModelConfig& config) {
  if (config.arch.norm == Architecture::Norm::kRms) return NormalizeRms(x, config.norm_eps);
  return at::layer_norm(x, {x.size(-1)}, {}, {}, config.norm_eps);
}

Tensor NormScale(const Tensor& weight, const ModelConfig& config) {
  return config.arch.norms_add_one ? weight + 1.0 : weight;
}

Tensor Norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const ModelConfig& config) {
  if (config.arch.norm == Architecture::Norm::kRms)
    return RmsNorm(x, NormScale(weight, config), config.norm_eps);
  return at::layer_norm(x, {x.size(-1)}, weight, bias, config.norm_eps);
}

Tensor SwiGlu(const Tensor& gate, const Tensor& up) {
  return SwiGluFunction::apply(gate.contiguous(), up.contiguous());
}

Tensor Gate(const Tensor& gate, const Tensor& up, Architecture::Activation activation) {
  if (activation == Architecture::Activation::kSilu) return SwiGlu(gate, up);
  return Activate(gate, activation) * up;
}

Tensor Activate(const Tensor& x, Architecture::Activation activation) {
  switch (activation) {
    case Architecture::Activation::kSilu:
      return at::silu(x);
    case Architecture::Activation::kGelu:
      return at::gelu(x);
    case Architecture::Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Architecture::Activation::kRelu:
      return at::relu(x);
  }
  throw BugError("unknown activation");
}

struct RotaryTable::State {
  RopeConfig rope;
  int64_t head_dim;
  int64_t positions;
  at::Device device;
  std::mutex mutex;
  Rows rows[2];  // guarded by `mutex`: of sequences that are long to the config, or not

  [[nodiscard]] Rows Compute(int64_t count, bool is_long) const {
    const std::vector<double> frequencies = rope.InverseFrequencies(head_dim, is_long);
    const Tensor inverse = at::tensor(at::ArrayRef<double>(frequencies), at::kDouble);
    const Tensor angles = at::outer(at::arange(count, at::kDouble), inverse);
    const auto scaled = [&](const Tensor& x) {
      return (rope.attention_factor == 1 ? x : x * rope.attention_factor).to(device, at::kFloat);
    };
    return {scaled(angles.cos()), scaled(angles.sin())};
  }
};

RotaryTable::RotaryTable(const RopeConfig& rope, int64_t head_dim, int64_t positions,
                         const at::Device& device)
    : state_(new State{rope, head_dim, positions, device, {}, {}}) {}

RotaryTable::RotaryTable(const ModelConfig& config, int64_t positions, const at::Device& device) {
  if (config.arch.positions != Architecture::Positions::kRotary) return;
  *this = RotaryTable(config.rope, config.head_dim, positions, device);
  if (config.window_rope)
    windowed_ = std::make_shared<const RotaryTable>(*config.window_rope, config.head_dim, positions,
                                                    device);
}

RotaryTable::Rows RotaryTable::At(int64_t first, int64_t count) const {
  constexpr int64_t kLeast = 64;
  const int64_t end = first + count;
  if (end > state_->positions)
    throw Error(
        fmt::format("a sequence of {} tokens: the model has {} positions", end, state_->positions));
  const bool is_long = state_->rope.IsLong(end);
  Rows rows;
  {
    const std::lock_guard lock(state_->mutex);
    Rows& known = state_->rows[is_long ? 1 : 0];
    const int64_t size = known.cos.defined() ? known.cos.size(0) : 0;
    if (size < end)
      known =
          state_->Compute(std::min(std::max({end, 2 * size, kLeast}), state_->positions), is_long);
    rows = known;
  }
  return {rows.cos.narrow(0, first, count), rows.sin.narrow(0, first, count)};
}

Tensor Rotate(const Tensor& x, const RotaryTable& table, int64_t first) {
  const RotaryTable::Rows rows = table.At(first, x.size(1));
  const Tensor cos = rows.cos.unsqueeze(1), sin = rows.sin.unsqueeze(1);  // [seq, 1, dims / 2]
  const int64_t dims = 2 * cos.size(-1), rest = x.size(-1) - dims;
  if (rest == 0) return RotateFunction::apply(x, cos, sin);
  return at::cat({RotateFunction::apply(x.narrow(-1, 0, dims), cos, sin), x.narrow(-1, dims, rest)},
                 -1);
}

}  // namespace puzzle
