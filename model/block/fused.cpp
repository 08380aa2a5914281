#include "model/block/fused.h"

#include <algorithm>

#include "model/block/bf16_attention.h"
#include "model/block/score_scale.h"
#include "model/math/block_kernels.h"
#include "model/math/product.h"
#include "model/pch.h"

namespace puzzle::block {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

bool IsUsual(const Architecture& arch) {
  return arch.norm == Architecture::Norm::kRms;
}

Bf16Bits* BitsOf(const Tensor& x) {
  return reinterpret_cast<Bf16Bits*>(x.data_ptr<at::BFloat16>());
}

float* FloatsOf(const Tensor& x) {
  return x.data_ptr<float>();
}

// [tokens, columns] like x.
Tensor Matrix(const Tensor& x, int64_t columns, at::ScalarType type) {
  return at::empty({x.numel() / x.size(-1), columns}, x.options().dtype(type).requires_grad(false));
}

Tensor InBf16(const Tensor& a, const Tensor& b) {
  Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  Multiply(a, b, out);
  return out;
}

Tensor TokensOf(const Tensor& x) {
  return x.detach().contiguous().view({-1, x.size(-1)});
}

// The norm in front of a sub-block and the state that it reads. `scale` is what it multiplies by.
struct FrontNorm {
  Tensor x, scale, inverse_rms;

  static FrontNorm Of(const Tensor& x, const Tensor& scale, double eps, Tensor& out) {
    FrontNorm norm{TokensOf(x), scale.detach(), Matrix(x, 1, at::kFloat)};
    out = Matrix(x, x.size(-1), at::kBFloat16);
    RmsNormForward(FloatsOf(norm.x), FloatsOf(norm.scale), static_cast<float>(eps), out.size(0),
                   out.size(1), BitsOf(out), FloatsOf(norm.inverse_rms));
    return norm;
  }
  [[nodiscard]] Tensor Again() const {
    Tensor out = at::empty(x.sizes(), x.options().dtype(at::kBFloat16));
    RmsNormAgain(FloatsOf(x), FloatsOf(scale), FloatsOf(inverse_rms), x.size(0), x.size(1),
                 BitsOf(out));
    return out;
  }
  // d_x, where the state itself goes on and its gradient is d_y; adds to d_scale if it is defined.
  [[nodiscard]] Tensor Backward(const Tensor& d_out, const Tensor& d_y,
                                const Tensor& d_scale) const {
    Tensor d_x = at::empty_like(x);
    RmsNormBackward(FloatsOf(x), FloatsOf(scale), FloatsOf(inverse_rms), FloatsOf(d_out),
                    FloatsOf(d_y), x.size(0), x.size(1), FloatsOf(d_x),
                    d_scale.defined() ? FloatsOf(d_scale) : nullptr);
    return d_x;
  }
};

// Which tensors' gradients are wanted: the state, the norm's scale, the matrices in their order.
struct Wanted {
  AutogradContext* ctx;

  [[nodiscard]] bool State() const { return ctx->needs_input_grad(0); }
  [[nodiscard]] bool Scale() const { return ctx->needs_input_grad(1); }
  [[nodiscard]] bool Matrix(size_t i) const { return ctx->needs_input_grad(2 + i); }
  // Whether anything in front of the last matrix, the `last`th, is wanted.
  [[nodiscard]] bool BeforeMatrix(size_t last) const {
    for (size_t i = 0; i < 2 + last; ++i)
      if (ctx->needs_input_grad(i)) return true;
    return false;
  }
};

// What goes backward through the matrices behind the norm: their outputs' gradients.
struct FannedOut {
  std::vector<Tensor> d_outputs, matrices;  // bf16
};

// Gradients of the state, the scale and those matrices; `d_y` [tokens, hidden] is that of the sum.
variable_list BackwardToState(const Wanted& wanted, const FrontNorm& norm, const FannedOut& fan,
                              const Tensor& d_y, const at::IntArrayRef& shape) {
  variable_list gradients(2 + fan.matrices.size());
  Tensor normalized;
  for (size_t i = 0; i < fan.matrices.size(); ++i) {
    if (!wanted.Matrix(i)) continue;
    if (!normalized.defined()) normalized = norm.Again();
    gradients[2 + i] = Product(fan.d_outputs[i].t(), normalized);
  }
  if (!wanted.State() && !wanted.Scale()) return gradients;
  const Tensor d_normalized = Product(fan.d_outputs[0], fan.matrices[0]);
  for (size_t i = 1; i < fan.matrices.size(); ++i)
    Multiply(fan.d_outputs[i], fan.matrices[i], d_normalized, Into::kAdd);
  if (wanted.Scale()) gradients[1] = at::zeros_like(norm.scale);
  gradients[0] = norm.Backward(d_normalized, d_y, gradients[1]).view(shape);
  return gradients;
}

// Rounded matrices: no tensors to autograd.
struct FfnMatrices {
  Tensor gate, up, down;
};

struct FusedFfn : Function<FusedFfn> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& scale,
                        const Tensor& /*gate*/, const Tensor& /*up*/, const Tensor& /*down*/,
                        const FfnMatrices& rounded, double eps) {
    Tensor normalized;
    const FrontNorm norm = FrontNorm::Of(x, scale, eps, normalized);
    const Tensor gate = InBf16(normalized, rounded.gate.t()),
                 up = InBf16(normalized, rounded.up.t());
    const Tensor channels = at::empty_like(gate);
    GateForward(BitsOf(gate), BitsOf(up), BitsOf(channels), gate.numel());
    const Tensor y = norm.x.clone();
    Multiply(channels, rounded.down.t(), y, Into::kAdd);
    ctx->save_for_backward(
        {norm.x, norm.scale, norm.inverse_rms, gate, up, rounded.gate, rounded.up, rounded.down});
    return y.view(x.sizes());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const FrontNorm norm{saved[0], saved[1], saved[2]};
    const Tensor &gate = saved[3], &up = saved[4];
    const Wanted wanted{ctx};
    const Tensor d_y = TokensOf(grads[0]), rounded = d_y.to(at::kBFloat16);
    Tensor d_gate = at::empty_like(gate), d_down;
    if (wanted.Matrix(2)) {
      GateForward(BitsOf(gate), BitsOf(up), BitsOf(d_gate), gate.numel());
      d_down = Product(rounded.t(), d_gate);
    }
    if (!wanted.BeforeMatrix(2)) return {{}, {}, {}, {}, d_down, {}, {}};
    const Tensor d_up = InBf16(rounded, saved[7]);
    GateBackward(BitsOf(gate), BitsOf(up), BitsOf(d_up), BitsOf(d_gate), BitsOf(d_up),
                 gate.numel());
    variable_list gradients = BackwardToState(wanted, norm, {{d_gate, d_up}, {saved[5], saved[6]}},
                                              d_y, grads[0].sizes());
    gradients.push_back(d_down);
    gradients.resize(7);
    return gradients;
  }
};

struct AttentionMatrices {
  Tensor q, k, v, o;
};

// What turns and scales the heads.
struct HeadPlan {
  int64_t batch, positions, dim;
  int64_t group;  // query heads of a kv head
  int64_t window;
  double scale;
  Tensor cos, sin;

  // heads [tokens, heads * dim] fp32 -> [problems, positions * group, dim].
  [[nodiscard]] Tensor Grouped(const Tensor& heads, int64_t shared, bool rotated) const {
    const HeadLayout layout{positions, heads.size(1) / dim, shared, dim};
    Tensor groups = at::empty({batch * layout.heads / shared, positions * shared, dim},
                              heads.options().dtype(at::kBFloat16));
    const int64_t one = positions * heads.size(1);
    for (int64_t i = 0; i < batch; ++i)
      HeadsToGroups(layout, FloatsOf(heads) + i * one, Rotation(rotated), BitsOf(groups) + i * one);
    return groups;
  }
  // And back; `divisor` of every row may be undefined.
  [[nodiscard]] Tensor Ungrouped(const Tensor& groups, const Tensor& divisor, int64_t shared,
                                 bool rotated) const {
    const HeadLayout layout{positions, groups.size(0) / batch * shared, shared, dim};
    Tensor heads =
        at::empty({batch * positions, layout.heads * dim}, groups.options().dtype(at::kBFloat16));
    const int64_t one = positions * heads.size(1);
    for (int64_t i = 0; i < batch; ++i)
      GroupsToHeads(layout, FloatsOf(groups) + i * one,
                    divisor.defined() ? FloatsOf(divisor) + i * positions * layout.heads : nullptr,
                    Rotation(rotated), BitsOf(heads) + i * one);
    return heads;
  }
  [[nodiscard]] Tensor Dots(const Tensor& a, const Tensor& b) const {
    const HeadLayout layout{positions, a.size(1) / dim, group, dim};
    Tensor dots = at::empty({batch * layout.heads / group, positions * group}, a.options());
    const int64_t one = positions * a.size(1);
    for (int64_t i = 0; i < batch; ++i)
      HeadDots(layout, FloatsOf(a) + i * one, BitsOf(b) + i * one,
               FloatsOf(dots) + i * positions * layout.heads);
    return dots;
  }

 private:
  [[nodiscard]] HeadRotation Rotation(bool rotated) const {
    return rotated ? HeadRotation{FloatsOf(cos), FloatsOf(sin)} : HeadRotation{};
  }
};

struct FusedAttention : Function<FusedAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& scale,
                        const Tensor& /*q*/, const Tensor& /*k*/, const Tensor& /*v*/,
                        const Tensor& /*o*/, const AttentionMatrices& rounded, const HeadPlan& plan,
                        double eps) {
    Tensor normalized;
    const FrontNorm norm = FrontNorm::Of(x, scale, eps, normalized);
    const GroupedHeads heads{plan.Grouped(Product(normalized, rounded.q.t()), plan.group, true),
                             plan.Grouped(Product(normalized, rounded.k.t()), 1, true),
                             plan.Grouped(Product(normalized, rounded.v.t()), 1, false),
                             plan.group,
                             plan.window,
                             plan.scale};
    const GroupedAttention answer = Attend(heads);
    const Tensor mixed = plan.Ungrouped(answer.mixed, answer.sum, plan.group, false);
    const Tensor y = norm.x.clone();
    Multiply(mixed, rounded.o.t(), y, Into::kAdd);
    ctx->save_for_backward({norm.x, norm.scale, norm.inverse_rms, heads.q, heads.k, heads.v, mixed,
                            answer.log_sum, rounded.q, rounded.k, rounded.v, rounded.o, plan.cos,
                            plan.sin});
    ctx->saved_data["group"] = plan.group;
    ctx->saved_data["window"] = plan.window;
    ctx->saved_data["scale"] = plan.scale;
    return y.view(x.sizes());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const FrontNorm norm{saved[0], saved[1], saved[2]};
    const HeadPlan plan{grads[0].size(0),
                        grads[0].size(1),
                        saved[3].size(2),
                        ctx->saved_data["group"].toInt(),
                        ctx->saved_data["window"].toInt(),
                        ctx->saved_data["scale"].toDouble(),
                        saved[12],
                        saved[13]};
    const GroupedHeads heads{saved[3], saved[4], saved[5], plan.group, plan.window, plan.scale};
    const Wanted wanted{ctx};
    const Tensor d_y = TokensOf(grads[0]), rounded = d_y.to(at::kBFloat16);
    const Tensor d_o = wanted.Matrix(3) ? Product(rounded.t(), saved[6]) : Tensor();
    if (!wanted.BeforeMatrix(3)) return {{}, {}, {}, {}, {}, d_o, {}, {}, {}};
    const Tensor d_mixed = Product(rounded, saved[11]);
    const GroupedGradients d_heads = AttendBackward(
        heads, saved[7], plan.Grouped(d_mixed, plan.group, false), plan.Dots(d_mixed, saved[6]));
    const FannedOut fan{
        {plan.Ungrouped(d_heads.q, {}, plan.group, true), plan.Ungrouped(d_heads.k, {}, 1, true),
         plan.Ungrouped(d_heads.v, {}, 1, false)},
        {saved[8], saved[9], saved[10]}};
    variable_list gradients = BackwardToState(wanted, norm, fan, d_y, grads[0].sizes());
    gradients.push_back(d_o);
    gradients.resize(9);
    return gradients;
  }
};

bool AllAbsent(std::initializer_list<const Tensor*> tensors) {
  return std::none_of(tensors.begin(), tensors.end(),
                      [](const Tensor* tensor) { return tensor->defined(); });
}

bool InBf16OnCpu(const Tensor& matrix, const Surroundings& around) {
  return around.cache == nullptr && matrix.scalar_type() == at::kBFloat16 &&
         matrix.device().is_cpu();
}

}  // namespace

bool CanFuse(const AttentionWeights& rounded, const AttentionSpec& spec,
             const Surroundings& around) {
  const ModelConfig& config = around.config;
  const RotaryTable& rotary = around.rotary.For(spec);
  return spec.is_full() && IsUsual(config.arch) && config.arch.attention_cap == 0 &&
         AllAbsent({&rounded.norm_bias, &rounded.q_bias, &rounded.k_bias, &rounded.v_bias,
                    &rounded.o_bias, &rounded.q_norm, &rounded.k_norm, &rounded.post_norm}) &&
         InBf16OnCpu(rounded.q, around) && rotary.defined() &&
         2 * rotary.At(0, 1).cos.size(-1) == config.head_dim;
}

bool CanFuse(const FfnWeights& rounded, const FfnSpec& spec, const Surroundings& around) {
  const Architecture& arch = around.config.arch;
  return spec.is_full() && IsUsual(arch) && arch.gated_ffn &&
         arch.activation == Architecture::Activation::kSilu &&
         AllAbsent({&rounded.norm_bias, &rounded.gate_bias, &rounded.up_bias, &rounded.down_bias,
                    &rounded.post_norm}) &&
         InBf16OnCpu(rounded.up, around);
}

Tensor AddFused(const AttentionWeights& weights, const AttentionSpec& spec,
                const AttentionWeights& rounded, const Surroundings& around, const Tensor& x) {
  const ModelConfig& config = around.config;
  const RotaryTable::Rows rows = around.rotary.For(spec).At(around.first, x.size(1));
  const HeadPlan plan{x.size(0),
                      x.size(1),
                      config.head_dim,
                      QueryHeads(spec, config) / spec.n_kv_heads,
                      spec.window,
                      ScoreScale(config),
                      rows.cos.contiguous(),
                      rows.sin.contiguous()};
  return FusedAttention::apply(
      x, NormScale(weights.norm, config), weights.q, weights.k, weights.v, weights.o,
      AttentionMatrices{rounded.q, rounded.k, rounded.v, rounded.o}, plan, config.norm_eps);
}

Tensor AddFused(const FfnWeights& weights, const FfnSpec& /*spec*/, const FfnWeights& rounded,
                const Surroundings& around, const Tensor& x) {
  const ModelConfig& config = around.config;
  return FusedFfn::apply(x, NormScale(weights.norm, config), weights.gate, weights.up, weights.down,
                         FfnMatrices{rounded.gate, rounded.up, rounded.down}, config.norm_eps);
}

}  // namespace puzzle::block
