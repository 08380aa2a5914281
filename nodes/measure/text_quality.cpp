#include "nodes/measure/text_quality.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <optional>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/losses.h"
#include "model/math/parallel.h"
#include "model/pch.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/states/activations.h"
#include "nodes/states/finite.h"

namespace puzzle {

using at::Tensor;

namespace {

// Throws Error, saying what of which model is not finite on `ids`.
[[noreturn]] void ComplainOf(const Transformer& model, const Transformer* parent,
                             const Tensor& ids) {
  if (const std::string what = FirstNotFinite(model, ids); !what.empty())
    ThrowNotFinite(what + " of the model");
  const std::string what = parent != nullptr ? FirstNotFinite(*parent, ids) : "";
  ThrowNotFinite(what.empty() ? "the losses" : what + " of the parent");
}

// Some neighbouring predictions, made in the same sequences.
struct Piece {
  Tensor context;     // ids [rows, n]
  Tensor next;        // ids [rows, n]: what they are followed by
  int64_t first = 0;  // of all predictions that are measured
  int64_t count = 0;
  const CountedPredictions* counted = nullptr;  // null: all count
  int64_t row = 0;                              // of all sequences, of the first one

  // Of values one for each token of the context, [rows * n, ...], those of predictions that count.
  [[nodiscard]] Tensor Chosen(const Tensor& values) const {
    if (counted == nullptr) return values;
    return counted->Select(values, row, context.size(0)).narrow(0, 0, count);
  }
};

// The predictions that are measured: the first of all, or of those of answers.
class MeasuredPredictions {
 public:
  MeasuredPredictions(const TokenSet& tokens, int64_t positions, int64_t batch, bool answers_only)
      : tokens_(tokens), per_sequence_(tokens.length - 1), batch_(batch) {
    if (per_sequence_ < 1) throw Error("sequences of one token predict nothing");
    if (answers_only) counted_.emplace(tokens.Mask());
    const int64_t available = counted_ ? counted_->total() : tokens.sequences() * per_sequence_;
    wanted_ = positions > 0 ? std::min(positions, available) : available;
  }

  [[nodiscard]] int64_t wanted() const { return wanted_; }

  // visit(part, piece) for all predictions, on several threads; done(ids, so far) behind each batch
  // of at most RowParts(batch) parts.
  template <class Visit, class Done>
  void ForEach(const at::Device& device, const Visit& visit, const Done& done) const {
    for (int64_t first = 0, measured = 0; measured < wanted_; first += batch_) {
      // Only the sequences, and of the last one only the tokens, that are asked for.
      const int64_t left = wanted_ - measured;
      int64_t together = std::min(batch_, tokens_.sequences() - first);
      if (!counted_) together = std::min(together, (left + per_sequence_ - 1) / per_sequence_);
      const Tensor ids = tokens_.Batch(first, together).to(device);
      ParallelOverRows(together, device, [&](int64_t part, int64_t begin, int64_t rows) {
        ForEachPiece(ids.narrow(0, begin, rows), first + begin,
                     [&](const Piece& piece) { visit(part, piece); });
      });
      measured = std::min(wanted_, Before(first + together));
      done(ids, measured);
    }
  }

 private:
  [[nodiscard]] int64_t Before(int64_t sequence) const {
    return counted_ ? counted_->Before(sequence) : sequence * per_sequence_;
  }

  // Whole sequences, and one that is cut.
  template <class Visit>
  void ForEachPiece(const Tensor& ids, int64_t row, const Visit& visit) const {
    const int64_t rows = ids.size(0), begin = Before(row);
    const int64_t own = std::min(wanted_, Before(row + rows)) - begin;
    const auto cut = [&](int64_t first, int64_t count, int64_t length, int64_t predictions) {
      const Tensor some = ids.narrow(0, first, count);
      visit(Piece{some.narrow(1, 0, length), some.narrow(1, 1, length), Before(row + first),
                  predictions, counted_ ? &*counted_ : nullptr, row + first});
    };
    if (own <= 0) return;
    if (counted_) return cut(0, rows, per_sequence_, own);
    const int64_t whole = own / per_sequence_, rest = own % per_sequence_;
    if (whole > 0) cut(0, whole, per_sequence_, whole * per_sequence_);
    if (rest > 0) cut(whole, 1, rest, rest);
  }

  const TokenSet& tokens_;
  int64_t per_sequence_, batch_, wanted_ = 0;
  std::optional<CountedPredictions> counted_;
};

// What the head of `model` reads at the predictions of `piece`.
HeadInput HeadOf(const Transformer& model, const Piece& piece) {
  const Tensor x =
      model.FinalNorm(model.Blocks(model.Embed(piece.context), 0, model.config().n_layers()));
  const Tensor& matrix = model.weights().HeadMatrix();
  return {piece.Chosen(x.flatten(0, 1)), matrix, matrix.scalar_type()};
}

// The figures of a model at the predictions, against `reference(piece)` if there is one.
TokenMetrics MeasurePredictions(const Transformer& model,
                                const std::function<HeadInput(const Piece&)>& reference,
                                const Transformer* parent, const MeasuredPredictions& predictions,
                                const std::function<void(double)>& poll) {
  const at::NoGradGuard no_grad;
  const at::Device device = model.weights().embedding.device();
  TokenMetrics metrics;
  std::map<int64_t, TokenMetrics> parts;
  std::mutex mutex;
  const auto visit = [&](int64_t part, const Piece& piece) {
    const HeadInput child = HeadOf(model, piece);
    const Tensor targets = piece.Chosen(piece.next.flatten());
    HeadInput against;
    if (reference != nullptr) against = reference(piece);
    const TokenMetrics own =
        Measure(child, targets, reference != nullptr ? &against : nullptr).Sum();
    const std::scoped_lock lock(mutex);
    parts[part] += own;
  };
  predictions.ForEach(device, visit, [&](const Tensor& ids, int64_t measured) {
    for (const auto& [part, own] : parts) metrics += own;  // in order, whoever was first
    parts.clear();
    const auto is_finite = [&](Metric metric) { return std::isfinite(metrics.Mean(metric)); };
    if (metrics.tokens > 0 &&
        !(is_finite(Metric::kNll) && (reference == nullptr || is_finite(Metric::kKl))))
      ComplainOf(model, parent, ids);
    poll(static_cast<double>(measured) / static_cast<double>(predictions.wanted()));
  });
  return metrics;
}

}  // namespace

void CheckComparable(const ModelConfig& model, const ModelConfig& parent, const TokenSet& tokens) {
  CheckTokensFit(tokens, parent, "the parent");
  if (model.hidden_size != parent.hidden_size)
    throw Error(
        fmt::format("the model's hidden size is {}, the parent's {}: their final states "
                    "cannot be compared",
                    model.hidden_size, parent.hidden_size));
  const int64_t common = std::min(model.vocab_size, parent.vocab_size);
  if (model.vocab_size != parent.vocab_size && tokens.vocab_size > common)
    throw Error(
        fmt::format("the model has a vocabulary of {}, the parent of {}, and the tokenizer "
                    "has {} ids: only what pads a vocabulary may differ",
                    model.vocab_size, parent.vocab_size, tokens.vocab_size));
}

TokenMetrics EvaluateModel(const Transformer& model, const Transformer* parent,
                           const TokenSet& tokens, int64_t positions, int64_t batch,
                           const std::function<void(double)>& poll, bool answers_only) {
  CheckTokensFit(tokens, model.config());
  std::function<HeadInput(const Piece&)> reference;
  if (parent != nullptr) {
    CheckComparable(model.config(), parent->config(), tokens);
    reference = [&](const Piece& piece) { return HeadOf(*parent, piece); };
  }
  return MeasurePredictions(model, reference, parent, {tokens, positions, batch, answers_only},
                            poll);
}

FinalStates ComputeFinalStates(const Transformer& parent, const TokenSet& tokens, int64_t positions,
                               int64_t batch, const std::function<void(double)>& poll,
                               bool answers_only) {
  const at::NoGradGuard no_grad;
  CheckTokensFit(tokens, parent.config(), "the parent");
  const MeasuredPredictions predictions(tokens, positions, batch, answers_only);
  const Tensor& embedding = parent.weights().embedding;
  FinalStates states{parent.config(),
                     at::empty({predictions.wanted(), parent.config().hidden_size},
                               embedding.options().dtype(at::kFloat)),
                     parent.weights().HeadMatrix()};
  const auto visit = [&](int64_t, const Piece& piece) {
    states.hidden.narrow(0, piece.first, piece.count).copy_(HeadOf(parent, piece).hidden);
  };
  int64_t before = 0;
  predictions.ForEach(embedding.device(), visit, [&](const Tensor& ids, int64_t measured) {
    if (!AllFinite(states.hidden.narrow(0, before, measured - before)))
      ThrowNotFinite(FirstNotFinite(parent, ids) + " of the parent");
    before = measured;
    poll(static_cast<double>(measured) / static_cast<double>(predictions.wanted()));
  });
  return states;
}

TokenMetrics EvaluateModel(const Transformer& model, const FinalStates& parent,
                           const TokenSet& tokens, int64_t positions, int64_t batch,
                           const std::function<void(double)>& poll, bool answers_only) {
  CheckTokensFit(tokens, model.config());
  CheckComparable(model.config(), parent.config, tokens);
  const MeasuredPredictions predictions(tokens, positions, batch, answers_only);
  PUZZLE_CHECK(parent.hidden.size(0) == predictions.wanted(), "a parent's states elsewhere");
  const auto reference = [&](const Piece& piece) {
    return HeadInput{parent.hidden.narrow(0, piece.first, piece.count), parent.head,
                     parent.head.scalar_type()};
  };
  return MeasurePredictions(model, reference, nullptr, predictions, poll);
}

}  // namespace puzzle
