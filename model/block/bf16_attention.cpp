#include "model/block/bf16_attention.h"

#include <algorithm>
#include <functional>

#include "model/math/block_kernels.h"
#include "model/math/product.h"
#include "model/pch.h"

namespace puzzle::block {

using at::Tensor;

namespace {

constexpr int64_t kPositionsOfTile = 64;

// Some positions of a problem, and the keys that any of them sees.
struct AttentionTile {
  int64_t problem, first_row, rows, first_key;
  CausalTile shape;

  [[nodiscard]] Tensor Rows(const Tensor& all) const {
    return all.select(0, problem).narrow(0, first_row, rows);
  }
  [[nodiscard]] Tensor Keys(const Tensor& all) const {
    return all.select(0, problem).narrow(0, first_key, shape.keys);
  }
  [[nodiscard]] Tensor In(const Tensor& buffer) const {
    return buffer.narrow(0, 0, rows * shape.keys).view({rows, shape.keys});
  }
};

void ForEachAttentionTile(const GroupedHeads& heads,
                          const std::function<void(const AttentionTile&)>& work) {
  const int64_t positions = heads.k.size(1);
  for (int64_t problem = 0; problem < heads.q.size(0); ++problem) {
    for (int64_t first = 0; first < positions; first += kPositionsOfTile) {
      const int64_t count = std::min(kPositionsOfTile, positions - first);
      const int64_t first_key =
          heads.window > 0 ? std::max<int64_t>(0, first + 1 - heads.window) : 0;
      work({problem,
            first * heads.group,
            count * heads.group,
            first_key,
            {.positions = count,
             .group = heads.group,
             .keys = first + count - first_key,
             .window = heads.window,
             .scale = static_cast<float>(heads.scale)}});
    }
  }
}

// Room for a number per query and key of the largest tile.
Tensor TileBuffer(const GroupedHeads& heads, at::ScalarType type) {
  const int64_t positions = heads.k.size(1);
  return at::empty({std::min(kPositionsOfTile, positions) * heads.group * positions},
                   heads.q.options().dtype(type));
}

Bf16Bits* Rounded(const Tensor& x) {
  return reinterpret_cast<Bf16Bits*>(x.data_ptr<at::BFloat16>());
}

}  // namespace

GroupedAttention Attend(const GroupedHeads& heads) {
  const auto floats = heads.q.options().dtype(at::kFloat);
  GroupedAttention result{at::empty(heads.q.sizes(), floats),
                          at::empty({heads.q.size(0), heads.q.size(1)}, floats),
                          at::empty({heads.q.size(0), heads.q.size(1)}, floats)};
  const Tensor scores = TileBuffer(heads, at::kFloat), p = TileBuffer(heads, at::kBFloat16);
  ForEachAttentionTile(heads, [&](const AttentionTile& tile) {
    const Tensor own = tile.In(scores), exponentials = tile.In(p);
    Multiply(tile.Rows(heads.q), tile.Keys(heads.k).t(), own);
    CausalSoftmax(tile.shape, own.data_ptr<float>(), Rounded(exponentials),
                  tile.Rows(result.sum).data_ptr<float>(),
                  tile.Rows(result.log_sum).data_ptr<float>());
    Multiply(exponentials, tile.Keys(heads.v), tile.Rows(result.mixed));
  });
  return result;
}

// As AttendBackward of causal_attention.cpp.
GroupedGradients AttendBackward(const GroupedHeads& heads, const Tensor& log_sum,
                                const Tensor& d_mixed, const Tensor& row_dot) {
  const auto floats = heads.q.options().dtype(at::kFloat);
  GroupedGradients result{at::empty(heads.q.sizes(), floats), at::zeros(heads.k.sizes(), floats),
                          at::zeros(heads.v.sizes(), floats)};
  const Tensor scores = TileBuffer(heads, at::kFloat), d_scores = at::empty_like(scores);
  const Tensor p = TileBuffer(heads, at::kBFloat16), ds = at::empty_like(p);
  ForEachAttentionTile(heads, [&](const AttentionTile& tile) {
    const Tensor q = tile.Rows(heads.q), d_out = tile.Rows(d_mixed), k = tile.Keys(heads.k);
    const Tensor own = tile.In(scores), d_own = tile.In(d_scores);
    const Tensor own_p = tile.In(p), own_ds = tile.In(ds);
    Multiply(q, k.t(), own);
    Multiply(d_out, tile.Keys(heads.v).t(), d_own);
    CausalSoftmaxBackward(tile.shape, tile.Rows(log_sum).data_ptr<float>(),
                          tile.Rows(row_dot).data_ptr<float>(), own.data_ptr<float>(),
                          d_own.data_ptr<float>(), Rounded(own_p), Rounded(own_ds));
    Multiply(own_p.t(), d_out, tile.Keys(result.v), Into::kAdd);
    Multiply(own_ds.t(), q, tile.Keys(result.k), Into::kAdd);
    Multiply(own_ds, k, tile.Rows(result.q));
  });
  return result;
}

}  // namespace puzzle::block
