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

// The tiles of one problem: query positions [first, first + rows) see keys [0, keys).
struct Tile {
  int64_t first;
  int64_t rows;
  int64_t keys;
};

std::vector<Tile> Tiles(int64_t seq, int64_t keys) {
  std::vector<Tile> tiles;
  for (int64_t first = 0; first < seq; first += kTileRows) {
    const int64_t rows = std::min(kTileRows, seq - first);
    tiles.push_back({first, rows, keys - seq + first + rows});
  }
  return tiles;
}

// True where a tile's row (position-major, `group` rows a position) may not see one of the tile's
// last `rows` keys. [rows * group, rows]; equal for all tiles of the same height.
Tensor HiddenKeys(int64_t rows, int64_t group) {
  const Tensor position = at::arange(rows, at::kLong).repeat_interleave(group).unsqueeze(1);
  return at::arange(rows, at::kLong).unsqueeze(0).gt(position);
}

// Scaled scores of a tile with hidden keys at -inf.
Tensor TileScores(const Tensor& q_rows, const Tensor& k, const Tile& tile, double scale,
                  const Tensor& hidden) {
  Tensor scores = at::mm(q_rows, k.narrow(0, 0, tile.keys).t()).mul_(scale);
  scores.narrow(1, tile.keys - tile.rows, tile.rows)
      .masked_fill_(hidden, -std::numeric_limits<float>::infinity());
  return scores;
}

struct TiledAttention : Function<TiledAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v) {
    const int64_t batch = q.size(0), seq = q.size(1), heads = q.size(2), dim = q.size(3);
    const int64_t kv_heads = k.size(2), group = heads / kv_heads;
    const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
    const Tensor q_rows = GroupQueries(q, kv_heads), k_heads = HeadsFirst(k),
                 v_heads = HeadsFirst(v);
    Tensor out = at::empty(q_rows.sizes(), q.options());
    Tensor log_sum = at::empty({q_rows.size(0), q_rows.size(1)}, q.options());
    for (const Tile& tile : Tiles(seq, k.size(1))) {
      const Tensor hidden = HiddenKeys(tile.rows, group);
      const int64_t first = tile.first * group, rows = tile.rows * group;
      for (int64_t head = 0; head < q_rows.size(0); ++head) {
        Tensor scores =
            TileScores(q_rows[head].narrow(0, first, rows), k_heads[head], tile, scale, hidden);
        const Tensor row_max = scores.amax(1, /*keepdim=*/true);
        scores.sub_(row_max).exp_();
        const Tensor sum = scores.sum(1, /*keepdim=*/true);
        Tensor out_rows = out[head].narrow(0, first, rows);
        at::mm_out(out_rows, scores, v_heads[head].narrow(0, 0, tile.keys));
        out_rows.div_(sum);
        log_sum[head].narrow(0, first, rows).copy_((row_max + sum.log()).squeeze(1));
      }
    }
    ctx->save_for_backward({q_rows, k_heads, v_heads, out, log_sum});
    ctx->saved_data["batch"] = batch;
    ctx->saved_data["heads"] = heads;
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
    const int64_t seq = q_rows.size(1) / group, dim = q_rows.size(2);
    const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
    const Tensor d_out = GroupQueries(grads[0], kv_heads);
    const Tensor row_dot = (d_out * out).sum(-1, /*keepdim=*/true);
    Tensor dq = at::empty_like(q_rows);
    Tensor dk = at::zeros_like(k_heads), dv = at::zeros_like(v_heads);
    for (const Tile& tile : Tiles(seq, k_heads.size(1))) {
      const Tensor hidden = HiddenKeys(tile.rows, group);
      const int64_t first = tile.first * group, rows = tile.rows * group;
      for (int64_t head = 0; head < q_rows.size(0); ++head) {
        const Tensor q_tile = q_rows[head].narrow(0, first, rows);
        const Tensor d_out_tile = d_out[head].narrow(0, first, rows);
        Tensor p = TileScores(q_tile, k_heads[head], tile, scale, hidden)
                       .sub_(log_sum[head].narrow(0, first, rows).unsqueeze(1))
                       .exp_();
        dv[head].narrow(0, 0, tile.keys).addmm_(p.t(), d_out_tile);
        Tensor ds = at::mm(d_out_tile, v_heads[head].narrow(0, 0, tile.keys).t())
                        .sub_(row_dot[head].narrow(0, first, rows))
                        .mul_(p)
                        .mul_(scale);
        Tensor dq_tile = dq[head].narrow(0, first, rows);
        at::mm_out(dq_tile, ds, k_heads[head].narrow(0, 0, tile.keys));
        dk[head].narrow(0, 0, tile.keys).addmm_(ds.t(), q_tile);
      }
    }
    return {UngroupQueries(dq, batch, seq, heads, kv_heads), HeadsLast(dk, batch),
            HeadsLast(dv, batch)};
  }
};

}  // namespace

Tensor CausalAttention(const Tensor& q, const Tensor& k, const Tensor& v) {
  PUZZLE_CHECK(q.size(2) % k.size(2) == 0 && k.size(1) >= q.size(1), "attention shapes");
  if (!q.device().is_cpu()) return DeviceAttention(q, k, v);
  return TiledAttention::apply(q.contiguous(), k, v);
}

}  // namespace puzzle
