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
#include "nodes/states/walk.h"

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
  [[nodiscard]] const TokenSet& tokens() const { return tokens_; }

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

// What the head of a model reads at predictions: computed when it is asked for, or, of a model
// whose blocks are not in memory, by one walk of all of them.
class HeadInputs {
 public:
  HeadInputs(const Transformer& model, const MeasuredPredictions& predictions, const DataRoom& room,
             const WalkPoll& poll)
      : model_(model) {
    if (HasUnreadBlocks(model.weights())) WalkThrough(predictions, room, poll);
  }
  [[nodiscard]] HeadInput At(const Piece& piece) const {
    const Tensor x = model_.FinalNorm(
        walked_.empty() ? model_.Blocks(model_.Embed(piece.context), 0, model_.config().n_layers())
                        : walked_.at(piece.first).to(piece.context.device()));
    const Tensor& matrix = model_.weights().HeadMatrix();
    return {piece.Chosen(x.flatten(0, 1)), matrix, matrix.scalar_type()};
  }

 private:
  void WalkThrough(const MeasuredPredictions& predictions, const DataRoom& room,
                   const WalkPoll& poll) {
    const at::NoGradGuard no_grad;
    const at::Device device = model_.weights().norm.device();
    // The pieces as they will be asked for, batch by batch.
    std::vector<std::vector<Piece>> pieces(1);
    int64_t tokens = 0;
    std::mutex mutex;
    const auto visit = [&](int64_t, const Piece& piece) {
      const std::scoped_lock lock(mutex);
      pieces.back().push_back(piece);
      tokens += piece.context.numel();
    };
    predictions.ForEach(device, visit, [&](const Tensor&, int64_t) { pieces.emplace_back(); });
    const int64_t hidden = model_.config().hidden_size;
    const Tensor states = RoomFor({tokens, hidden}, at::kFloat, room);
    WalkedBatches batches;
    int64_t begin = 0;
    for (const std::vector<Piece>& batch : pieces) {
      batches.emplace_back();
      for (const Piece& piece : batch) {
        const int64_t rows = piece.context.size(0), length = piece.context.size(1);
        const Tensor own = states.narrow(0, begin, rows * length).view({rows, length, hidden});
        batches.back().push_back({piece.row, own});
        walked_.emplace(piece.first, own);
        begin += rows * length;
      }
    }
    const TokenSet& all = predictions.tokens();
    EmbedStates(model_.weights(), all.Batch(0, all.sequences()), batches, [&](double) { poll(0); });
    WalkBlocks({model_.weights(), model_.weights().HeadMatrix().scalar_type()}, 0,
               model_.config().n_layers(), batches, poll);
  }

  const Transformer& model_;
  std::map<int64_t, Tensor> walked_;  // by the first prediction of a piece: behind the last block
};

// The figures of a model at the predictions, against `reference(piece)` if there is one.
TokenMetrics MeasurePredictions(const Transformer& model,
                                const std::function<HeadInput(const Piece&)>& reference,
                                const Transformer* parent, const MeasuredPredictions& predictions,
                                const DataRoom& room, const std::function<void(double)>& poll) {
  const at::NoGradGuard no_grad;
  const at::Device device = model.weights().norm.device();
  const double walk = HasUnreadBlocks(model.weights()) ? 0.9 : 0;  // its share of the work
  const HeadInputs inputs(model, predictions, room, [&](double done) { poll(walk * done); });
  TokenMetrics metrics;
  std::map<int64_t, TokenMetrics> parts;
  std::mutex mutex;
  const auto visit = [&](int64_t part, const Piece& piece) {
    const HeadInput child = inputs.At(piece);
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
    const double done = static_cast<double>(measured) / static_cast<double>(predictions.wanted());
    poll(walk + (1 - walk) * done);
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
                           const std::function<void(double)>& poll, bool answers_only,
                           const DataRoom& room) {
  CheckTokensFit(tokens, model.config());
  if (parent != nullptr) CheckComparable(model.config(), parent->config(), tokens);
  const MeasuredPredictions predictions(tokens, positions, batch, answers_only);
  std::optional<HeadInputs> parents;
  std::function<HeadInput(const Piece&)> reference;
  if (parent != nullptr) {
    parents.emplace(*parent, predictions, room, [&](double) { poll(0); });
    reference = [&](const Piece& piece) { return parents->At(piece); };
  }
  return MeasurePredictions(model, reference, parent, predictions, room, poll);
}

FinalStates ComputeFinalStates(const Transformer& parent, const TokenSet& tokens, int64_t positions,
                               int64_t batch, const std::function<void(double)>& poll,
                               bool answers_only, const DataRoom& room) {
  const at::NoGradGuard no_grad;
  CheckTokensFit(tokens, parent.config(), "the parent");
  const MeasuredPredictions predictions(tokens, positions, batch, answers_only);
  const Tensor& norm = parent.weights().norm;
  FinalStates states{parent.config(),
                     at::empty({predictions.wanted(), parent.config().hidden_size},
                               norm.options().dtype(at::kFloat)),
                     parent.weights().HeadMatrix()};
  const HeadInputs inputs(parent, predictions, room, [&](double) { poll(0); });
  const auto visit = [&](int64_t, const Piece& piece) {
    states.hidden.narrow(0, piece.first, piece.count).copy_(inputs.At(piece).hidden);
  };
  int64_t before = 0;
  predictions.ForEach(norm.device(), visit, [&](const Tensor& ids, int64_t measured) {
    if (!AllFinite(states.hidden.narrow(0, before, measured - before)))
      ThrowNotFinite(FirstNotFinite(parent, ids) + " of the parent");
    before = measured;
    poll(static_cast<double>(measured) / static_cast<double>(predictions.wanted()));
  });
  return states;
}

TokenMetrics EvaluateModel(const Transformer& model, const FinalStates& parent,
                           const TokenSet& tokens, int64_t positions, int64_t batch,
                           const std::function<void(double)>& poll, bool answers_only,
                           const DataRoom& room) {
  CheckTokensFit(tokens, model.config());
  CheckComparable(model.config(), parent.config, tokens);
  const MeasuredPredictions predictions(tokens, positions, batch, answers_only);
  PUZZLE_CHECK(parent.hidden.size(0) == predictions.wanted(), "a parent's states elsewhere");
  const auto reference = [&](const Piece& piece) {
    return HeadInput{parent.hidden.narrow(0, piece.first, piece.count), parent.head,
                     parent.head.scalar_type()};
  };
  return MeasurePredictions(model, reference, nullptr, predictions, room, poll);
}

}  // namespace puzzle
