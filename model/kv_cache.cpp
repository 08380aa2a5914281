#include "model/kv_cache.h"

#include <algorithm>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

// Moves the last `kept` positions into new memory for `room` of them, shaped for keys like `k`.
void LayerCache::MakeRoom(const Tensor& k, int64_t kept, int64_t room) {
  const auto moved = [&](const Tensor& old) {
    Tensor grown = at::empty({k.size(0), k.size(2), room, k.size(3)}, k.options());
    if (kept > 0) grown.narrow(2, 0, kept).copy_(old.narrow(2, size_ - kept, kept));
    return grown;
  };
  k_ = moved(k_);
  v_ = moved(v_);
  size_ = kept;
}

std::pair<Tensor, Tensor> LayerCache::Append(const Tensor& k, const Tensor& v, int64_t window) {
  const at::NoGradGuard no_grad;
  const int64_t added = k.size(1);
  const int64_t kept = window > 0 ? std::min(size_, window - 1) : size_;
  if (!k_.defined() || size_ + added > k_.size(2)) {
    // Twice what is needed, so that a long generation moves each position a few times at most; a
    // window never needs more than twice its length beside the new positions.
    int64_t room = std::max(size_ > 0 ? 2 * (kept + added) : added, reserved_);
    if (window > 0) room = std::min(room, 2 * window + added);
    MakeRoom(k, kept, room);
  }
  PUZZLE_CHECK(k.size(0) == k_.size(0) && k.size(2) == k_.size(1), "a cache of another shape");
  k_.narrow(2, size_, added).copy_(k.transpose(1, 2));
  v_.narrow(2, size_, added).copy_(v.transpose(1, 2));
  size_ += added;
  const auto seen = [&](const Tensor& all) {
    return all.narrow(2, size_ - added - kept, kept + added).transpose(1, 2);
  };
  return {seen(k_), seen(v_)};
}

}  // namespace puzzle
