// The keys and values of positions a model has already seen, so that the next ones need not compute
// them again. For inference: nothing is differentiable through it. Not thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace puzzle {

/// What one attention sub-block remembers. Grows in place: a decoded token is written once, behind
/// those before it, and what is there is read where it lies. Copies share the memory, but not how
/// much of it is used: a copy that goes on from the same position writes over its original's.
class LayerCache {
 public:
  /// Room for `positions` is made at once; for more when they come.
  explicit LayerCache(int64_t positions = 0) : reserved_(positions) {}

  /// Appends the keys (rotated) and values of new positions, [batch, seq, kv heads, head_dim], and
  /// returns, as views of that shape, those that the new positions may look at: all, or under a
  /// window (0: none) the last window - 1 before the first of them, and themselves.
  std::pair<at::Tensor, at::Tensor> Append(const at::Tensor& k, const at::Tensor& v,
                                           int64_t window);

 private:
  void MakeRoom(const at::Tensor& k, int64_t kept, int64_t room);

  at::Tensor k_, v_;  // [batch, kv heads, capacity, head_dim]
  int64_t size_ = 0;  // positions of them in use
  int64_t reserved_;
};

/// One LayerCache per block; those of blocks without attention stay empty.
struct KvCache {
  /// `capacity`: positions to make room for at once.
  explicit KvCache(int64_t n_layers, int64_t capacity = 0)
      : layers(static_cast<size_t>(n_layers), LayerCache(capacity)) {}

  std::vector<LayerCache> layers;
  int64_t positions = 0;  // seen so far
};

}  // namespace puzzle
