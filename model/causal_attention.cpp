// CausalAttention of model/ops.h. The CPU path walks tiles of query rows: a tile's probabilities
// ([rows, keys seen]) stay in the second-level cache, are never stored, and keys behind the mask
// are never touched; backward recomputes them from the log-sum-exp of each row.
#include <algorithm>
#include <cmath>
#include <limits>

#include "io/error.h"
#include "model/compat.h"
#include "model/ops.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kTileRows = 128;  // query positions in a tile

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

// The tiles of one problem: query positions [first, first + rows) see some of the keys
// [first_key, first_key + keys): the last of them sees the last key.
struct Tile {
  int64_t first;
  int64_t rows;
  int64_t first_key;
  int64_t keys;
  int64_t early;  // the first query's window begins `early` keys behind first_key (<= 0: before it)
};

std::vector<Tile> Tiles(int64_t seq, int64_t keys, int64_t window) {
  if (window == 0) window = keys;
  std::vector<Tile> tiles;
  for (int64_t first = 0; first < seq; first += kTileRows) {
    const int64_t rows = std::min(kTileRows, seq - first);
    const int64_t position = keys - seq + first;
    const int64_t begin = position - window + 1;  // of the first query's window
    const int64_t first_key = std::max<int64_t>(0, begin);
    tiles.push_back({first, rows, first_key, position + rows - first_key, begin - first_key});
  }
  return tiles;
}

// Which keys of a tile its rows (position-major, `group` rows a position) may not see.
struct HiddenKeys {
  // Among the last `rows` keys those behind the query. [rows * group, rows]; equal for all tiles of
  // the same height.
  Tensor later;
  // Among the first keys those before the window. [rows * group, some]; undefined when there is no
  // such key.
  Tensor earlier;
};

HiddenKeys Hidden(const Tile& tile, int64_t group) {
  const Tensor row = at::arange(tile.rows, at::kLong).repeat_interleave(group).unsqueeze(1);
  HiddenKeys hidden;
  hidden.later = at::arange(tile.rows, at::kLong).unsqueeze(0).gt(row);
  const int64_t some = tile.rows - 1 + tile.early;  // as many as the last row may not see
  if (some > 0) hidden.earlier = at::arange(some, at::kLong).unsqueeze(0).lt(row + tile.early);
  return hidden;
}

Tensor Keys(const Tensor& head, const Tile& tile) {
  return head.narrow(0, tile.first_key, tile.keys);
}

// Scaled scores of a tile with hidden keys at -inf.
Tensor TileScores(const Tensor& q_rows, const Tensor& k, const Tile& tile, double scale,
                  const HiddenKeys& hidden) {
  constexpr double kNever = -std::numeric_limits<float>::infinity();
  Tensor scores = at::mm(q_rows, Keys(k, tile).t()).mul_(scale);
  scores.narrow(1, tile.keys - tile.rows, tile.rows).masked_fill_(hidden.later, kNever);
  if (hidden.earlier.defined())
    scores.narrow(1, 0, hidden.earlier.size(1)).masked_fill_(hidden.earlier, kNever);
  return scores;
}

struct TiledAttention : Function<TiledAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        int64_t window, double scale) {
    const int64_t batch = q.size(0), seq = q.size(1), heads = q.size(2);
    const int64_t kv_heads = k.size(2), group = heads / kv_heads;
    const Tensor q_rows = GroupQueries(q, kv_heads), k_heads = HeadsFirst(k),
                 v_heads = HeadsFirst(v);
    Tensor out = at::empty(q_rows.sizes(), q.options());
    Tensor log_sum = at::empty({q_rows.size(0), q_rows.size(1)}, q.options());
    for (const Tile& tile : Tiles(seq, k.size(1), window)) {
      const HiddenKeys hidden = Hidden(tile, group);
      const int64_t first = tile.first * group, rows = tile.rows * group;
      for (int64_t head = 0; head < q_rows.size(0); ++head) {
        Tensor scores =
            TileScores(q_rows[head].narrow(0, first, rows), k_heads[head], tile, scale, hidden);
        const Tensor row_max = scores.amax(1, /*keepdim=*/true);
        scores.sub_(row_max).exp_();
        const Tensor sum = scores.sum(1, /*keepdim=*/true);
        Tensor out_rows = out[head].narrow(0, first, rows);
        at::mm_out(out_rows, scores, Keys(v_heads[head], tile));
        out_rows.div_(sum);
        log_sum[head].narrow(0, first, rows).copy_((row_max + sum.log()).squeeze(1));
      }
    }
    ctx->save_for_backward({q_rows, k_heads, v_heads, out, log_sum});
    ctx->saved_data["batch"] = batch;
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["window"] = window;
    return UngroupQueries(out, batch, seq, heads, kv_heads);
  }

  // With P = exp(S - lse): dV = P^T dO; dS = P * (dO V^T - rowsum(dO * O)); dQ = dS K; dK = dS^T Q.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &q_rows = saved[0], &k_heads = saved[1], &v_heads = saved[2], &out = saved[3],
                 &log_sum = saved[4];
    const int64_t batch = ctx->saved_data["batch"].toInt();
    const int64_t heads = ctx->saved_data["heads"].toInt();
    const int64_t kv_heads = q_rows.size(0) / batch, group = heads / kv_heads;
    const int64_t seq = q_rows.size(1) / group;
    const double scale = ctx->saved_data["scale"].toDouble();
    const int64_t window = ctx->saved_data["window"].toInt();
    const Tensor d_out = GroupQueries(grads[0], kv_heads);
    const Tensor row_dot = (d_out * out).sum(-1, /*keepdim=*/true);
    Tensor dq = at::empty_like(q_rows);
    Tensor dk = at::zeros_like(k_heads), dv = at::zeros_like(v_heads);
    for (const Tile& tile : Tiles(seq, k_heads.size(1), window)) {
      const HiddenKeys hidden = Hidden(tile, group);
      const int64_t first = tile.first * group, rows = tile.rows * group;
      for (int64_t head = 0; head < q_rows.size(0); ++head) {
        const Tensor q_tile = q_rows[head].narrow(0, first, rows);
        const Tensor d_out_tile = d_out[head].narrow(0, first, rows);
        Tensor p = TileScores(q_tile, k_heads[head], tile, scale, hidden)
                       .sub_(log_sum[head].narrow(0, first, rows).unsqueeze(1))
                       .exp_();
        Keys(dv[head], tile).addmm_(p.t(), d_out_tile);
        Tensor ds = at::mm(d_out_tile, Keys(v_heads[head], tile).t())
                        .sub_(row_dot[head].narrow(0, first, rows))
                        .mul_(p)
                        .mul_(scale);
        Tensor dq_tile = dq[head].narrow(0, first, rows);
        at::mm_out(dq_tile, ds, Keys(k_heads[head], tile));
        Keys(dk[head], tile).addmm_(ds.t(), q_tile);
      }
    }
    return {UngroupQueries(dq, batch, seq, heads, kv_heads), HeadsLast(dk, batch),
            HeadsLast(dv, batch), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor CausalAttention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t window,
                       double scale) {
  PUZZLE_CHECK(q.size(2) % k.size(2) == 0 && k.size(1) >= q.size(1), "attention shapes");
  if (scale == 0) scale = 1.0 / std::sqrt(static_cast<double>(q.size(3)));
  if (!q.device().is_cpu()) return DeviceAttention(q, k, v, window, scale);
  return TiledAttention::apply(q.contiguous(), k, v, window, scale);
}

}  // namespace puzzle
