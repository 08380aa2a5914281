#include "nodes/data/counted_predictions.h"

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

Tensor Predicting(const Tensor& mask) {
  return mask.narrow(1, 1, mask.size(1) - 1);
}

CountedPredictions::CountedPredictions(const Tensor& mask) {
  if (!mask.defined())
    throw Error(
        "a loss on answers only was asked for, but in these tokens no answers are marked: "
        "`tokenize` marks them in JSON lines of conversations ({\"messages\": [...]})");
  const Tensor counted = Predicting(mask);
  places_ = at::nonzero(counted.reshape(-1)).squeeze(1);
  if (places_.size(0) == 0)
    throw Error("a loss on answers only was asked for, but these sequences hold no answers");
  per_sequence_ = counted.size(1);
  const Tensor sums = counted.sum(1, /*keepdim=*/false, at::kLong).cumsum(0).contiguous();
  before_.assign(1, 0);
  before_.insert(before_.end(), sums.data_ptr<int64_t>(), sums.data_ptr<int64_t>() + sums.size(0));
}

std::vector<int64_t> CountedPredictions::Sequences() const {
  std::vector<int64_t> sequences;
  for (int64_t i = 0; i + 1 < std::ssize(before_); ++i)
    if (Of(i, 1) > 0) sequences.push_back(i);
  return sequences;
}

Tensor CountedPredictions::Select(const Tensor& values, int64_t first, int64_t sequences) const {
  const Tensor places =
      places_.narrow(0, Before(first), Of(first, sequences)) - first * per_sequence_;
  return values.index_select(0, places.to(values.device()));
}

}  // namespace puzzle
