#include "model/math/top_words.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

constexpr double kNoMass = -std::numeric_limits<double>::infinity();

struct Leader {
  float logit = -std::numeric_limits<float>::infinity();
  int64_t word = 0;
};

bool IsAbove(const Leader& a, const Leader& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.word < b.word);
}

// The best words of every token so far: heaps with the least of them in front.
class Leaders {
 public:
  Leaders(int64_t tokens, int64_t k) : k_(k), heaps_(static_cast<size_t>(tokens * k)) {}

  // Words come in their order, so that of equals the first stay.
  void Add(const HeadTile& tile) {
    const Tensor logits = tile.logits.cpu();  // few of them are taken, one by one
    for (int64_t t = 0; t < tile.tokens; ++t) {
      const float* row = logits.data_ptr<float>() + t * tile.words;
      Leader* heap = Heap(tile.first_token + t);
      for (int64_t i = 0; i < tile.words; ++i) {
        if (!(row[i] > heap->logit)) continue;
        std::pop_heap(heap, heap + k_, IsAbove);
        heap[k_ - 1] = {row[i], tile.first_word + i};
        std::push_heap(heap, heap + k_, IsAbove);
      }
    }
  }
  // Puts them into `logits` and `ids` [tokens, k], the best first. Afterwards they are no heaps.
  void Take(const Tensor& logits, const Tensor& ids) {
    for (int64_t t = 0; t < ids.size(0); ++t) {
      Leader* heap = Heap(t);
      std::sort_heap(heap, heap + k_, IsAbove);
      for (int64_t i = 0; i < k_; ++i) {
        logits.data_ptr<double>()[t * k_ + i] = heap[i].logit;
        ids.data_ptr<int64_t>()[t * k_ + i] = heap[i].word;
      }
    }
  }

 private:
  [[nodiscard]] Leader* Heap(int64_t token) { return heaps_.data() + token * k_; }

  int64_t k_;
  std::vector<Leader> heaps_;
};

}  // namespace

TopWords TopWords::Narrow(int64_t first, int64_t count) const {
  return {ids.narrow(0, first, count), log_probability.narrow(0, first, count),
          log_rest.narrow(0, first, count)};
}

TopWords TopWords::To(const at::Device& device) const {
  return {ids.to(device), log_probability.to(device), log_rest.to(device)};
}

TopWords TopWordsOf(const HeadInput& head, int64_t k) {
  const at::NoGradGuard no_grad;
  const int64_t tokens = head.hidden.size(0), vocabulary = head.matrix.size(0);
  PUZZLE_CHECK(k >= 1 && k <= vocabulary, "more words than there are");
  Leaders leaders(tokens, k);
  Tensor log_sum = at::full({tokens}, kNoMass, at::kDouble);
  ForEachTile(head, [&](const HeadTile& tile) {
    const Tensor here = log_sum.narrow(0, tile.first_token, tile.tokens);
    here.copy_(at::logaddexp(here, RowLogSums(tile.logits).cpu()));
    leaders.Add(tile);
  });
  const Tensor log_p = at::empty({tokens, k}, at::kDouble), ids = at::empty({tokens, k}, at::kLong);
  leaders.Take(log_p, ids);
  log_p.sub_(log_sum.unsqueeze(1));
  // What rounding leaves of nothing is no word's.
  const Tensor rest = k == vocabulary ? at::full({tokens}, kNoMass, at::kDouble)
                                      : (1.0 - log_p.exp().sum(1)).clamp_min_(0.0).log_();
  return {ids, log_p.to(at::kFloat), rest.to(at::kFloat)};
}

}  // namespace puzzle
