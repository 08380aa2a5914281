// One pass of a Decoder: every member of its team runs RunPass. Products are divided by rows of the
// matrices, attention by sequences and kv heads; between what one member writes and another reads
// there is a barrier. With one token every member normalizes it for itself, which is cheaper than a
// barrier.
#include <algorithm>
#include <cmath>

#include "model/decode/decoder_state.h"
#include "model/math/kernels.h"

namespace puzzle::decode {

namespace {

using Activation = Architecture::Activation;

void AddBias(const Vector& bias, int64_t first, int64_t last, float* row) {
  if (bias.empty()) return;
  for (int64_t i = first; i < last; ++i) row[i] += bias[static_cast<size_t>(i)];
}

void LayerNorm(const float* x, const NormWeights& norm, int64_t n, double eps, float* out) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) {
    const auto normalized = static_cast<float>((x[i] - mean) * scale);
    const auto at = static_cast<size_t>(i);
    out[i] = normalized * norm.weight[at] + (norm.bias.empty() ? 0.0F : norm.bias[at]);
  }
}

float Activated(float x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1.0F + std::exp(-x));
    case Activation::kGelu:
      return 0.5F * x * (1.0F + std::erf(x * 0.70710678F));
    case Activation::kGeluTanh:
      return 0.5F * x * (1.0F + std::tanh(0.79788456F * (x + 0.044715F * x * x * x)));
    case Activation::kRelu:
      break;
  }
  return x > 0 ? x : 0.0F;
}

}  // namespace

void Rms(const float* x, const float* weight, int64_t n, double eps, float* out) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
  const auto scale = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(n) + eps));
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

void Decoder::State::Normalize(const NormWeights& norm, int64_t r, float* out) const {
  const int64_t n = config().hidden_size;
  const float* x = states_.data() + r * n;
  if (config().arch.norm == Architecture::Norm::kRms) {
    Rms(x, norm.weight.data(), n, config().norm_eps, out);
  } else {
    LayerNorm(x, norm, n, config().norm_eps, out);
  }
}

template <class Fill>
PanelTokens Decoder::State::Gather(int member, int64_t n, const Fill& fill) {
  Member& own = Own(member);
  if (rows() == 1) {
    fill(0, own.row.data());
    own.token.Set(0, own.row.data(), n);
    return own.token.View(1);
  }
  const auto [first, last] = ShareOf(rows(), member, team_.size());
  for (int64_t r = first; r < last; ++r) {
    fill(r, own.row.data());
    tokens_.Set(r, own.row.data(), n);
  }
  team_.Barrier();
  return tokens_.View(rows());
}

std::pair<int64_t, int64_t> Decoder::State::Multiply(int member, const PackedMatrix& matrix,
                                                     const PanelTokens& tokens, Vector& out,
                                                     int64_t stride, const Vector& bias) {
  const auto [first_lane, last_lane] = ShareOf(matrix.lanes(), member, team_.size());
  const int64_t first = first_lane * kLanes, last = last_lane * kLanes;
  MultiplyPanels(matrix.type(), matrix.view(), tokens, first, last, out.data(), stride);
  const int64_t end = std::min(last, matrix.rows());
  if (!bias.empty())
    for (int64_t r = 0; r < tokens.count; ++r) AddBias(bias, first, end, out.data() + r * stride);
  return {first, std::max(first, end)};
}

void Decoder::State::AddToStates(int member, const PackedMatrix& out, const PanelTokens& tokens,
                                 const Vector& bias, const Vector& post_norm) {
  const int64_t n = config().hidden_size;
  const auto [first, last] = Multiply(member, out, tokens, y_, y_stride_, bias);
  if (post_norm.empty()) {
    for (int64_t r = 0; r < rows(); ++r) {
      const float* y = y_.data() + r * y_stride_;
      float* x = states_.data() + r * n;
      for (int64_t i = first; i < last; ++i) x[i] += y[i];
    }
  } else {
    team_.Barrier();
    const auto [first_row, last_row] = ShareOf(rows(), member, team_.size());
    for (int64_t r = first_row; r < last_row; ++r) {
      float* const y = y_.data() + r * y_stride_;
      Rms(y, post_norm.data(), n, config().norm_eps, y);
      float* x = states_.data() + r * n;
      for (int64_t i = 0; i < n; ++i) x[i] += y[i];
    }
  }
  team_.Barrier();
}

void Decoder::State::Attention(int member, int64_t layer) {
  const PackedAttention& own = model_.blocks[static_cast<size_t>(layer)].attention;
  if (own.form == SubBlockForm::kNone) return;
  PanelTokens tokens = Gather(member, config().hidden_size,
                              [&](int64_t r, float* out) { Normalize(own.norm, r, out); });
  if (own.form == SubBlockForm::kLinear) {
    if (rows() == 1) team_.Barrier();  // all have read the state
    return AddToStates(member, own.out, tokens, own.out_bias, own.post_norm);
  }
  Multiply(member, own.qkv, tokens, qkv_, qkv_stride_, own.qkv_bias);
  team_.Barrier();
  Attend(member, layer);
  team_.Barrier();
  tokens = Gather(member, own.heads * config().head_dim,
                  [&](int64_t r, float* out) { Attended(Own(member), layer, r, out); });
  AddToStates(member, own.out, tokens, own.out_bias, own.post_norm);
}

void Decoder::State::Ffn(int member, int64_t layer) {
  const PackedFfn& own = model_.blocks[static_cast<size_t>(layer)].ffn;
  if (own.form == SubBlockForm::kNone) return;
  PanelTokens tokens = Gather(member, config().hidden_size,
                              [&](int64_t r, float* out) { Normalize(own.norm, r, out); });
  if (own.form == SubBlockForm::kLinear) {
    if (rows() == 1) team_.Barrier();
    return AddToStates(member, own.out, tokens, own.out_bias, own.post_norm);
  }
  const Activation activation = config().arch.activation;
  const auto [first, last] = Multiply(member, own.up, tokens, up_, ffn_stride_, own.up_bias);
  if (own.gate.defined()) Multiply(member, own.gate, tokens, gate_, ffn_stride_, own.gate_bias);
  for (int64_t r = 0; r < rows(); ++r) {
    float* const up = up_.data() + r * ffn_stride_;
    const float* gate = gate_.data() + r * ffn_stride_;
    if (!own.gate.defined()) {
      for (int64_t i = first; i < last; ++i) up[i] = Activated(up[i], activation);
    } else if (activation == Activation::kSilu) {
      GateForward(gate + first, up + first, up + first, last - first);
    } else {
      for (int64_t i = first; i < last; ++i) up[i] *= Activated(gate[i], activation);
    }
  }
  team_.Barrier();
  const int64_t n = own.up.rows();
  tokens = Gather(
      member, n, [&](int64_t r, float* out) { std::copy_n(up_.data() + r * ffn_stride_, n, out); });
  AddToStates(member, own.out, tokens, own.out_bias, own.post_norm);
}

void Decoder::State::Embed(int member) {
  const int64_t n = config().hidden_size;
  const auto [first, last] = ShareOf(rows(), member, team_.size());
  for (int64_t r = first; r < last; ++r) {
    const Row& row = rows_[static_cast<size_t>(r)];
    float* const x = states_.data() + r * n;
    if (model_.embedding.rows != nullptr) {
      std::copy_n(model_.embedding.rows + row.id * n, n, x);
    } else {
      model_.head.Row(row.id, x);
    }
    const auto scale = static_cast<float>(config().arch.embedding_scale);
    if (scale != 1)
      for (int64_t i = 0; i < n; ++i) x[i] *= scale;
    if (model_.positions.rows == nullptr) continue;
    const float* position = model_.positions.rows + row.position * n;
    for (int64_t i = 0; i < n; ++i) x[i] += position[i];
  }
  team_.Barrier();
}

void Decoder::State::Head(int member) {
  if (wanted_.empty()) return;
  const int64_t n = config().hidden_size;
  const auto count = std::ssize(wanted_);
  const auto [first, last] = ShareOf(count, member, team_.size());
  for (int64_t i = first; i < last; ++i) {
    Normalize(model_.norm, wanted_[static_cast<size_t>(i)], Own(member).row.data());
    tokens_.Set(i, Own(member).row.data(), n);
  }
  team_.Barrier();
  const auto [first_lane, last_lane] = ShareOf(model_.head.lanes(), member, team_.size());
  // Rows that are wanted stand in the order of their logits, without gaps.
  float* const out =
      logits_.data() + rows_[static_cast<size_t>(wanted_.front())].logits * logit_stride_;
  MultiplyPanels(model_.head.type(), model_.head.view(), tokens_.View(count), first_lane * kLanes,
                 last_lane * kLanes, out, logit_stride_);
  const auto cap = static_cast<float>(config().arch.logit_cap);
  if (cap <= 0) return;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t w = first_lane * kLanes; w < last_lane * kLanes; ++w)
      out[i * logit_stride_ + w] = cap * std::tanh(out[i * logit_stride_ + w] / cap);
}

void Decoder::State::RunPass(int member) {
  Embed(member);
  for (int64_t layer = 0; layer < config().n_layers(); ++layer) {
    Attention(member, layer);
    Ffn(member, layer);
  }
  Head(member);
}

}  // namespace puzzle::decode
