// What scores are taken in: the parent, or a child of it, with the states of both on the same
// tokens, and the parent's distribution there. Belongs to one step; what neighbouring steps need as
// well is kept for them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/score.h"

namespace puzzle {

class ScoreSetting {
 public:
  /// Takes the ports `parent` and `activations`, and `context` and `context_activations` where a
  /// child is the model that things are replaced in. With `may_walk` models that are too large are
  /// left where they are, to be walked through. Throws Error when they do not belong together.
  ScoreSetting(const Inputs& inputs, at::ScalarType products, bool answers_only, int64_t batch,
               RunContext& context, bool may_walk = false);
  ~ScoreSetting();

  /// The model that things are replaced in.
  [[nodiscard]] Captured model() const;
  /// The parent, whose distribution is the measure.
  [[nodiscard]] Captured parent() const;
  /// Of the content of both, for what steps keep for their neighbours.
  [[nodiscard]] std::string name() const;
  /// The parent, folded for children with the head of model().
  [[nodiscard]] const FoldedParent& folded() const;
  /// What `replaced`, of the same tokens, loses more than model() as it is.
  [[nodiscard]] TokenMetrics Increase(const TokenFigures& replaced) const;
  /// StatesBeforeFfn of model(), undefined when it is too large to be kept: then each candidate
  /// finds it batch by batch. A model that is walked through finds it for each.
  [[nodiscard]] at::Tensor BeforeFfn(int64_t layer) const;

 private:
  struct Source;
  struct Reference;

  [[nodiscard]] const Source& source() const { return child_ ? *child_ : *parent_; }

  int64_t batch_;
  RunContext& context_;
  std::unique_ptr<const Source> parent_, child_;  // no child: the parent itself
  std::shared_ptr<const Reference> reference_;
};

}  // namespace puzzle
