#include "model/math/head.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "io/error.h"
#include "model/math/kernels.h"
#include "model/math/product.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// A tile is 2 MiB of logits, and the words' rows of the matrix as much for a hidden size of 256:
// both stay in a cache while the tokens go by. Words are converted once for all tokens.
constexpr int64_t kTileTokens = 256, kTileWords = 2048;
// On other devices operators are launched one by one, and their tiles are to be large.
constexpr int64_t kDeviceTokens = 4096, kDeviceWords = 16384;

struct TileShape {
  int64_t tokens, words;
};
TileShape ShapeOn(const at::Device& device) {
  return device.is_cpu() ? TileShape{kTileTokens, kTileWords}
                         : TileShape{kDeviceTokens, kDeviceWords};
}

// One head's products, tile by tile.
class Tiles {
 public:
  explicit Tiles(const HeadInput& head)
      : head_(head), hidden_(head.hidden.detach().to(head.products).contiguous()) {
    const TileShape shape = ShapeOn(hidden_.device());
    buffer_ = at::empty(
        {std::min(shape.tokens, hidden_.size(0)) * std::min(shape.words, head.matrix.size(0))},
        hidden_.options().dtype(at::kFloat));
  }

  void TakeWords(int64_t first, int64_t count) {
    words_ = head_.matrix.detach().narrow(0, first, count).to(head_.products);
  }
  // [count, words]; overwritten by the next.
  [[nodiscard]] Tensor Logits(int64_t first, int64_t count) const {
    const Tensor logits =
        buffer_.narrow(0, 0, count * words_.size(0)).view({count, words_.size(0)});
    Multiply(hidden_.narrow(0, first, count), words_.t(), logits);
    return logits;
  }

 private:
  HeadInput head_;
  Tensor hidden_, words_, buffer_;
};

// visit(first_token, tokens, first_word, words); `next_words(first, count)` when those change.
template <class NextWords, class Visit>
void WalkTiles(const HeadInput& head, const NextWords& next_words, const Visit& visit) {
  const TileShape shape = ShapeOn(head.hidden.device());
  const int64_t tokens = head.hidden.size(0), vocabulary = head.matrix.size(0);
  for (int64_t word = 0; word < vocabulary; word += shape.words) {
    const int64_t words = std::min(shape.words, vocabulary - word);
    next_words(word, words);
    for (int64_t token = 0; token < tokens; token += shape.tokens)
      visit(token, std::min(shape.tokens, tokens - token), word, words);
  }
}

// Running sums of all tokens; kernels.h says how they are read.
struct Running {
  explicit Running(const Tensor& like)
      : highest(at::full({like.size(0)}, -std::numeric_limits<float>::infinity(),
                         like.options().dtype(at::kFloat))),
        sum(at::zeros({like.size(0)}, like.options().dtype(at::kDouble))) {}

  Tensor highest, sum;

  [[nodiscard]] Running Narrow(int64_t first, int64_t count) const {
    return {highest.narrow(0, first, count), sum.narrow(0, first, count)};
  }
  [[nodiscard]] RunningLogSum Pointers() const {
    return {highest.data_ptr<float>(), sum.data_ptr<double>()};
  }
  [[nodiscard]] Tensor LogSum() const { return highest.to(at::kDouble) + sum.log(); }

 private:
  Running(Tensor h, Tensor s) : highest(std::move(h)), sum(std::move(s)) {}
};

// exp(logits - highest), where `own` has taken the new logits' maxima into account; returns what
// sums of the old maxima shrink by.
Tensor Raise(const Running& own, const Tensor& logits, Tensor& shrunk) {
  const Tensor raised = at::maximum(own.highest, logits.amax(-1));
  shrunk = (own.highest.to(at::kDouble) - raised.to(at::kDouble)).exp();
  own.highest.copy_(raised);
  return (logits - raised.unsqueeze(1)).exp_();
}

void AddLogSum(const Running& own, const Tensor& logits) {
  if (logits.device().is_cpu()) {
    AddToLogSum(logits.data_ptr<float>(), logits.size(0), logits.size(1), own.Pointers());
    return;
  }
  Tensor shrunk;
  const Tensor e = Raise(own, logits, shrunk);
  own.sum.mul_(shrunk).add_(e.sum(-1, false, at::kDouble));
}

void AddKl(const Running& parent, const Running& own, const Tensor& cross,
           const Tensor& parent_logits, const Tensor& logits) {
  if (logits.device().is_cpu()) {
    AddToKl(parent_logits.data_ptr<float>(), logits.data_ptr<float>(), logits.size(0),
            logits.size(1), parent.Pointers(), own.Pointers(), cross.data_ptr<double>());
    return;
  }
  AddLogSum(own, logits);
  Tensor shrunk;
  Tensor e = Raise(parent, parent_logits, shrunk);
  parent.sum.mul_(shrunk).add_(e.sum(-1, false, at::kDouble));
  cross.mul_(shrunk).add_(e.mul_(parent_logits - logits).sum(-1, false, at::kDouble));
}

// `own`: the targets' places among the tile's words, outside of it for those of other tiles.
void AddAbove(const Tensor& above, const Tensor& logits, const Tensor& bar, const Tensor& own) {
  if (logits.device().is_cpu()) {
    CountNotBelow(logits.data_ptr<float>(), bar.data_ptr<float>(), own.data_ptr<int64_t>(),
                  logits.size(0), logits.size(1), above.data_ptr<int64_t>());
    return;
  }
  const Tensor column = bar.unsqueeze(1), place = own.clamp(0, logits.size(1) - 1).unsqueeze(1);
  const Tensor counted = logits.gather(1, place).lt(column).logical_not().squeeze(1);
  const Tensor here = own.ge(0).logical_and(own.lt(logits.size(1))).logical_and(counted);
  above.add_(logits.lt(column).logical_not().sum(-1)).sub_(here.to(at::kLong));
}

// The targets' logits before any tile: their ranks are counted on the way. [tokens], fp32
Tensor TargetLogits(const HeadInput& head, const Tensor& targets) {
  std::vector<Tensor> parts;
  for (int64_t first = 0; first < targets.size(0); first += kTileTokens) {
    const int64_t count = std::min(kTileTokens, targets.size(0) - first);
    const Tensor rows = head.matrix.detach().index_select(0, targets.narrow(0, first, count));
    const Tensor h = AsMultiplied(head.hidden.detach().narrow(0, first, count), head.products);
    parts.push_back(
        (h * AsMultiplied(rows, head.products)).sum(-1, false, at::kDouble).to(at::kFloat));
  }
  return parts.empty() ? at::empty({0}, head.hidden.options().dtype(at::kFloat)) : at::cat(parts);
}

}  // namespace

Tensor AsMultiplied(const Tensor& x, at::ScalarType products) {
  return products == at::kFloat ? x.to(at::kFloat) : x.to(products).to(at::kFloat);
}

HeadSums SumHead(const HeadInput& head, const Tensor& targets, const HeadInput* parent) {
  const at::NoGradGuard no_grad;
  PUZZLE_CHECK(parent == nullptr || (parent->matrix.size(0) == head.matrix.size(0) &&
                                     parent->hidden.size(0) == head.hidden.size(0)),
               "heads of different vocabularies or tokens");
  const Running own(head.hidden), reference(head.hidden);
  Tiles tiles(head);
  std::optional<Tiles> parent_tiles;
  if (parent != nullptr) parent_tiles.emplace(*parent);
  HeadSums sums;
  Tensor bar, cross;
  if (targets.defined()) {
    bar = TargetLogits(head, targets);
    sums.target = bar.to(at::kDouble);
    sums.above = at::zeros(targets.sizes(), targets.options());
  }
  if (parent_tiles) cross = at::zeros_like(own.sum);
  const auto next_words = [&](int64_t first, int64_t count) {
    tiles.TakeWords(first, count);
    if (parent_tiles) parent_tiles->TakeWords(first, count);
  };
  WalkTiles(head, next_words, [&](int64_t first, int64_t count, int64_t word, int64_t) {
    const Tensor logits = tiles.Logits(first, count);
    const auto here = [&](const Tensor& all) { return all.narrow(0, first, count); };
    if (parent_tiles) {
      AddKl(reference.Narrow(first, count), own.Narrow(first, count), here(cross),
            parent_tiles->Logits(first, count), logits);
    } else {
      AddLogSum(own.Narrow(first, count), logits);
    }
    if (targets.defined()) AddAbove(here(sums.above), logits, here(bar), here(targets).sub(word));
  });
  sums.log_sum = own.LogSum();
  if (parent_tiles) sums.kl = cross / reference.sum - reference.LogSum() + sums.log_sum;
  return sums;
}

Tensor RowLogSums(const Tensor& logits) {
  const Running sums(logits);
  AddLogSum(sums, logits);
  return sums.LogSum();
}

RowComparison CompareRows(const Tensor& parent, const Tensor& child) {
  PUZZLE_CHECK(parent.sizes() == child.sizes(), "logits of different vocabularies or tokens");
  const Running reference(parent), own(child);
  const Tensor cross = at::zeros_like(own.sum);
  AddKl(reference, own, cross, parent, child);
  RowComparison rows{reference.LogSum(), own.LogSum(), {}};
  rows.kl = cross / reference.sum - rows.parent_log_sum + rows.child_log_sum;
  return rows;
}

void ForEachTile(const HeadInput& head, const std::function<void(const HeadTile&)>& visit) {
  const at::NoGradGuard no_grad;
  Tiles tiles(head);
  WalkTiles(
      head, [&](int64_t first, int64_t count) { tiles.TakeWords(first, count); },
      [&](int64_t first, int64_t count, int64_t word, int64_t words) {
        visit({first, count, word, words, tiles.Logits(first, count)});
      });
}

}  // namespace puzzle
