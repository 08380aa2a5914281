// The loops of attention_kernels.h that are no products, for one instruction set: included as
// panel_tiles.h is and behind it, whose vectors these are.

inline Softened Soften(const SeenScores& scores, float scale, bool rounded) {
  float* const row = scores.row;
  const int64_t first = scores.first, last = scores.last, end = scores.end;
  Softened result;
  if (first >= last) {
    std::fill(row, row + end, 0.0F);
    return result;
  }
  // Vectors lie where they do for every query, so that a sum has the same bits whatever is looked
  // at beside it.
  const auto at = [row](int64_t i) -> Floats& { return *reinterpret_cast<Floats*>(row + i); };
  std::fill(row, row + first, result.shift);
  std::fill(row + last, row + end, result.shift);
  Floats highest = at(0);
  for (int64_t i = kLanes; i < end; i += kLanes) highest = highest < at(i) ? at(i) : highest;
  result.shift = LargestOf(highest) * scale;
  const float shift = result.shift;
#pragma omp simd
  for (int64_t i = 0; i < end; ++i) row[i] = Exp(row[i] * scale - shift);
  std::fill(row, row + first, 0.0F);
  std::fill(row + last, row + end, 0.0F);
  Floats sums = {};
  for (int64_t i = 0; i < end; i += kLanes) {
    if (rounded) at(i) = (Floats)(RoundedBits((Words)at(i)) << 16);
    sums += at(i);
  }
  result.sum = Folded(sums, [](const Floats& a, const Floats& b) { return a + b; })[0];
  return result;
}
