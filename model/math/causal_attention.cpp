// CausalAttention of model/math/ops.h. The CPU path walks tiles of query rows: a tile's
// probabilities
// ([rows, keys seen]) stay in the second-level cache, are never stored, and keys behind the mask
// are never touched; backward recomputes them from the log-sum-exp of each row.
#include <algorithm>
#include <cmath>
#include <functional>

#include "io/error.h"
#include "model/math/compat.h"
#include "model/math/kernels.h"
#include "model/math/ops.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kTilePositions = 64;  // queries' positions in a tile

// q as [batch * kv heads, seq * group, head_dim]: the queries that share a kv head become the rows
// of one matrix, position-major.
Tensor GroupQueries(const Tensor& q, int64_t kv_heads) {
  const int64_t batch = q.size(0), seq = q.size(1), heads = q.size(2), dim = q.size(3);
  const int64_t group = heads / kv_heads;
  return q.view({batch, seq, kv_heads, group, dim})
      .permute({0, 2, 1, 3, 4})
      .reshape({batch * kv_heads, seq * group, dim});
}

Tensor UngroupQueries(const Tensor& rows, int64_t batch, int64_t seq, int64_t heads,
                      int64_t kv_heads) {
  const int64_t dim = rows.size(-1);
  return rows.view({batch, kv_heads, seq, heads / kv_heads, dim})
      .permute({0, 2, 1, 3, 4})
      .reshape({batch, seq, heads, dim});
}

// [batch, keys, kv heads, dim] -> [batch * kv heads, keys, dim], contiguous.
Tensor HeadsFirst(const Tensor& x) {
  return x.permute({0, 2, 1, 3}).reshape({x.size(0) * x.size(2), x.size(1), x.size(3)});
}

Tensor HeadsLast(const Tensor& x, int64_t batch) {
  const int64_t heads = x.size(0) / batch;
  return x.view({batch, heads, x.size(1), x.size(2)}).permute({0, 2, 1, 3}).contiguous();
}

// What one call computes: q_rows [problems, seq * group, dim], k and v [problems, keys, dim]; a
// problem is one kv head of one sequence.
struct Heads {
  Tensor q_rows, k, v;
  int64_t group = 1;
  int64_t window = 0;
  AttentionScores scores = {.scale = 1};

  [[nodiscard]] int64_t problems() const { return q_rows.size(0); }
  [[nodiscard]] int64_t positions() const { return q_rows.size(1) / group; }
};

// Some positions of a problem and the keys that any of them sees.
struct Tile {
  int64_t problem;
  int64_t first_row, rows;
  int64_t first_key;
  CausalTile shape;

  [[nodiscard]] Tensor Rows(const Tensor& all) const {
    return all.select(0, problem).narrow(0, first_row, rows);
  }
  [[nodiscard]] Tensor Keys(const Tensor& all) const {
    return all.select(0, problem).narrow(0, first_key, shape.keys);
  }
  [[nodiscard]] Tensor Scores(const Tensor& buffer) const {
    return buffer.narrow(0, 0, rows * shape.keys).view({rows, shape.keys});
  }
};

void ForEachTile(const Heads& heads, const std::function<void(const Tile&)>& work) {
  const int64_t seq = heads.positions(), past = heads.k.size(1) - seq;
  for (int64_t problem = 0; problem < heads.problems(); ++problem) {
    for (int64_t first = 0; first < seq; first += kTilePositions) {
      const int64_t positions = std::min(kTilePositions, seq - first);
      const int64_t last_key = past + first + positions;
      const int64_t first_key =
          heads.window > 0 ? std::max<int64_t>(0, past + first + 1 - heads.window) : 0;
      work({problem,
            first * heads.group,
            positions * heads.group,
            first_key,
            {.positions = positions,
             .group = heads.group,
             .keys = last_key - first_key,
             .window = heads.window,
             .scale = heads.scores.cap > 0 ? 1.0F : static_cast<float>(heads.scores.scale)}});
    }
  }
}

// Room for the scores of the largest tile.
Tensor ScoreBuffer(const Heads& heads) {
  const int64_t positions = std::min(kTilePositions, heads.positions());
  return at::empty({positions * heads.group * heads.k.size(1)}, heads.q_rows.options());
}

float* Plain(const Tensor& tensor) {
  return tensor.data_ptr<float>();
}

// Products of queries and keys become capped scores, in place; the tile's own scale is 1 then.
void Cap(const AttentionScores& how, Tensor& products) {
  if (how.cap > 0) products.mul_(how.scale / how.cap).tanh_().mul_(how.cap);
}

// The gradients of capped scores become those of what `scale` would have given, times the scale.
void CapBackward(const AttentionScores& how, const Tensor& capped, Tensor& gradients) {
  if (how.cap > 0) gradients.mul_((1.0 - (capped / how.cap).square()).mul_(how.scale));
}

// out = softmax(scale q k^T) v and the log-sum-exp of every row of scores.
void Attend(const Heads& heads, Tensor& out, Tensor& log_sum) {
  const Tensor buffer = ScoreBuffer(heads);
  const Tensor sums = at::empty_like(log_sum);
  ForEachTile(heads, [&](const Tile& tile) {
    Tensor scores = tile.Scores(buffer);
    at::mm_out(scores, tile.Rows(heads.q_rows), tile.Keys(heads.k).t());
    Cap(heads.scores, scores);
    const Tensor sum = tile.Rows(sums);
    CausalSoftmax(tile.shape, Plain(scores), Plain(sum), Plain(tile.Rows(log_sum)));
    Tensor rows = tile.Rows(out);
    at::mm_out(rows, scores, tile.Keys(heads.v));
  });
  out.div_(sums.unsqueeze(-1));
}

// With P = exp(S - lse): dV = P^T dO; dS = P * (dO V^T - rowsum(dO * O)); dQ = dS K; dK = dS^T Q.
void AttendBackward(const Heads& heads, const Tensor& out, const Tensor& log_sum,
                    const Tensor& d_out, Tensor& dq, Tensor& dk, Tensor& dv) {
  const Tensor row_dot = (d_out * out).sum(-1);
  const Tensor buffer = ScoreBuffer(heads), d_buffer = at::empty_like(buffer);
  ForEachTile(heads, [&](const Tile& tile) {
    const Tensor q = tile.Rows(heads.q_rows), d_out_rows = tile.Rows(d_out);
    const Tensor k = tile.Keys(heads.k);
    Tensor p = tile.Scores(buffer), ds = tile.Scores(d_buffer);
    at::mm_out(p, q, k.t());
    Cap(heads.scores, p);
    const Tensor capped = heads.scores.cap > 0 ? p.clone() : Tensor();
    at::mm_out(ds, d_out_rows, tile.Keys(heads.v).t());
    CausalSoftmaxBackward(tile.shape, Plain(tile.Rows(log_sum)), Plain(tile.Rows(row_dot)),
                          Plain(p), Plain(ds));
    CapBackward(heads.scores, capped, ds);
    tile.Keys(dv).addmm_(p.t(), d_out_rows);
    tile.Keys(dk).addmm_(ds.t(), q);
    Tensor dq_rows = tile.Rows(dq);
    at::mm_out(dq_rows, ds, k);
  });
}

struct TiledAttention : Function<TiledAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        int64_t window, double scale, double cap) {
    const int64_t batch = q.size(0), seq = q.size(1), n_heads = q.size(2), kv_heads = k.size(2);
    const Heads heads{GroupQueries(q, kv_heads), HeadsFirst(k), HeadsFirst(v),
                      n_heads / kv_heads,        window,        {scale, cap}};
    Tensor out = at::empty_like(heads.q_rows);
    Tensor log_sum = at::empty({out.size(0), out.size(1)}, q.options());
    Attend(heads, out, log_sum);
    ctx->save_for_backward({heads.q_rows, heads.k, heads.v, out, log_sum});
    ctx->saved_data["batch"] = batch;
    ctx->saved_data["heads"] = n_heads;
    ctx->saved_data["window"] = window;
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["cap"] = cap;
    return UngroupQueries(out, batch, seq, n_heads, kv_heads);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const int64_t batch = ctx->saved_data["batch"].toInt();
    const int64_t n_heads = ctx->saved_data["heads"].toInt();
    const int64_t kv_heads = saved[0].size(0) / batch;
    const Heads heads{saved[0],
                      saved[1],
                      saved[2],
                      n_heads / kv_heads,
                      ctx->saved_data["window"].toInt(),
                      {ctx->saved_data["scale"].toDouble(), ctx->saved_data["cap"].toDouble()}};
    Tensor dq = at::empty_like(heads.q_rows);
    Tensor dk = at::zeros_like(heads.k), dv = at::zeros_like(heads.v);
    AttendBackward(heads, saved[3], saved[4], GroupQueries(grads[0], kv_heads), dq, dk, dv);
    return {UngroupQueries(dq, batch, heads.positions(), n_heads, kv_heads),
            HeadsLast(dk, batch),
            HeadsLast(dv, batch),
            Tensor(),
            Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor CausalAttention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t window,
                       const AttentionScores& scores) {
  PUZZLE_CHECK(q.size(2) % k.size(2) == 0 && k.size(1) >= q.size(1), "attention shapes");
  const double scale =
      scores.scale == 0 ? 1.0 / std::sqrt(static_cast<double>(q.size(3))) : scores.scale;
  if (!q.device().is_cpu()) return DeviceAttention(q, k, v, window, {scale, scores.cap});
  return TiledAttention::apply(q.contiguous(), k, v, window, scale, scores.cap);
}

}  // namespace puzzle
