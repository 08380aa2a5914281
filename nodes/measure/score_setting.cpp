#include "nodes/measure/score_setting.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/states/finite.h"
#include "nodes/states/sub_block_data.h"
#include "nodes/states/walk.h"

namespace puzzle {

using at::Tensor;

namespace {

void CheckSameTokens(const Activations& a, const Activations& b) {
  const auto same_masks = [&] {
    const Tensor own = a.Mask(), other = b.Mask();
    return own.defined() == other.defined() && (!own.defined() || own.equal(other));
  };
  if (a.sequences() != b.sequences() || a.length() != b.length() ||
      !a.Ids(0, a.sequences()).equal(b.Ids(0, b.sequences())) || !same_masks())
    throw Error("the activations of parent and context were captured on different tokens");
}

// A checkpoint's model on the step's device, read and converted once for all candidates; of one to
// be walked through what is needed all the time.
std::shared_ptr<const Transformer> ScoredModel(const Input<Checkpoint>& checkpoint,
                                               at::ScalarType products, bool may_walk,
                                               RunContext& context) {
  const auto loaded = checkpoint.Load();
  const bool walks = may_walk && IsWalked(loaded->model, products, context);
  return context.Resident<Transformer>(
      fmt::format("score model {} {}{}", checkpoint.digest(), at::toString(products),
                  walks ? " walked" : ""),
      [&] {
        const std::string device = context.device().name();
        const auto model = std::make_shared<const Transformer>(
            walks ? Transformer(ForWalk(loaded->model, products, device))
                  : WithMatricesIn(products, Transformer(ToDevice(loaded->model, device))));
        const size_t bytes = ByteSize(model->weights());
        return SizedValue{model, bytes};
      });
}

// What of a captured model is not finite on its tokens, batch by batch.
std::string NotFiniteIn(const Captured& model, int64_t batch) {
  std::string what;
  const int64_t sequences = model.states.sequences();
  for (int64_t first = 0; first < sequences && what.empty(); first += batch)
    what = FirstNotFinite(model.model, model.states.Ids(first, std::min(batch, sequences - first)));
  return what.empty() ? "its answers" : what;
}

}  // namespace

// A checkpoint and the activations captured from it.
struct ScoreSetting::Source {
  Source(const Inputs& inputs, const char* model_port, const char* states_port,
         at::ScalarType products, bool is_of_answers, bool may_walk, RunContext& context) {
    const auto checkpoint = inputs.One<Checkpoint>(model_port);
    const auto activations = inputs.One<Activations>(states_port);
    model = ScoredModel(checkpoint, products, may_walk, context);
    states = activations.Load();
    name =
        fmt::format("{} {} {}", checkpoint.digest(), activations.digest(), at::toString(products));
    answers_only = is_of_answers;
    room = RoomOfWalk(context);
    CheckActivations(*states, checkpoint.digest(), model->config());
  }

  std::shared_ptr<const Transformer> model;
  std::shared_ptr<const Activations> states;
  std::string name;  // of the content
  bool answers_only = false;
  DataRoom room;

  [[nodiscard]] Captured captured() const { return {*model, *states, answers_only, room}; }
};

// What all scores of one model share.
struct ScoreSetting::Reference {
  FoldedParent parent;
  TokenFigures as_is;

  static SizedValue Make(const Captured& model, const Captured& parent, int64_t batch) {
    FoldedParent folded = FoldCaptured(model.model, parent, batch);
    if (!AllFinite(folded.negentropy) || !AllFinite(folded.expected_row))
      ThrowNotFinite(NotFiniteIn(parent, batch) + " of the parent");
    TokenFigures as_is = ScoreAsIs(model, folded, batch);
    if (!AllFinite(as_is.rows))
      ThrowNotFinite(NotFiniteIn(model, batch) + " of the model around the replacement");
    const auto bytes = static_cast<size_t>(folded.hidden.nbytes() + folded.expected_row.nbytes() +
                                           folded.negentropy.nbytes() + as_is.rows.nbytes());
    return {std::make_shared<const Reference>(Reference{std::move(folded), std::move(as_is)}),
            bytes};
  }
};

ScoreSetting::ScoreSetting(const Inputs& inputs, at::ScalarType products, bool answers_only,
                           int64_t batch, RunContext& context, bool may_walk)
    : batch_(batch),
      context_(context),
      parent_(std::make_unique<const Source>(inputs, "parent", "activations", products,
                                             answers_only, may_walk, context)) {
  if (inputs.Has("context")) {
    child_ = std::make_unique<const Source>(inputs, "context", "context_activations", products,
                                            answers_only, may_walk, context);
    CheckSameTokens(*parent_->states, *child_->states);
    const ModelConfig &own = child_->model->config(), &parents = parent_->model->config();
    if (own.hidden_size != parents.hidden_size || own.vocab_size != parents.vocab_size)
      throw Error(
          fmt::format("`context` is no child of the parent: hidden size {} and vocabulary "
                      "{}, the parent's are {} and {}",
                      own.hidden_size, own.vocab_size, parents.hidden_size, parents.vocab_size));
  }
  reference_ = context.Resident<Reference>(
      fmt::format("score reference {} {} {}", source().name, parent_->name,
                  answers_only ? "answers" : "all"),
      [&] { return Reference::Make(source().captured(), parent_->captured(), batch); });
}

ScoreSetting::~ScoreSetting() = default;

Captured ScoreSetting::model() const {
  return source().captured();
}

Captured ScoreSetting::parent() const {
  return parent_->captured();
}

std::string ScoreSetting::name() const {
  return source().name + ' ' + parent_->name;
}

const FoldedParent& ScoreSetting::folded() const {
  return reference_->parent;
}

TokenMetrics ScoreSetting::Increase(const TokenFigures& replaced) const {
  return reference_->as_is.IncreaseTo(replaced).Sum();
}

Tensor ScoreSetting::BeforeFfn(int64_t layer) const {
  const Activations& states = *source().states;
  const auto bytes =
      sizeof(float) * static_cast<size_t>(states.sequences() * states.length() * states.hidden());
  if (bytes > context_.resident_bytes()) {
    // As it is found when it is kept, so that the bits do not depend on it.
    return HasUnreadBlocks(source().model->weights())
               ? StatesBeforeFfn(source().captured(), layer, batch_)
               : Tensor();
  }
  return *context_.Resident<Tensor>(
      fmt::format("score states before ffn {} {}", layer, source().name), [&] {
        return SizedValue{
            std::make_shared<const Tensor>(StatesBeforeFfn(source().captured(), layer, batch_)),
            bytes};
      });
}

}  // namespace puzzle
