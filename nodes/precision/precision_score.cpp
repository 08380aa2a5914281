#include "nodes/precision/precision_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/measure/score_setting.h"
#include "nodes/states/finite.h"

namespace puzzle {

using at::Tensor;

namespace {

// The sub-block that is scored; nothing for embedding and head.
std::optional<SubBlock> SubBlockNamed(const std::string& part) {
  if (part == SubBlockName(SubBlock::kAttention)) return SubBlock::kAttention;
  if (part == SubBlockName(SubBlock::kFfn)) return SubBlock::kFfn;
  return std::nullopt;
}

// A model with one part in another type, from where it begins to differ.
class StoredPartScorer {
 public:
  StoredPartScorer(const PrecisionScoreParams& params, const ScoreSetting& setting)
      : params_(params), setting_(setting), which_(SubBlockNamed(params.part)) {
    const ModelConfig& config = setting.model().model.config();
    if (which_ && params.layer >= config.n_layers())
      throw Error(fmt::format("layer {}: the model has layers 0 to {}", params.layer,
                              config.n_layers() - 1));
    part_ = which_ ? SubBlockPart(params.layer, *which_) : params.part;
    if (which_ == SubBlock::kFfn && !IsNone(ParentVariant(config, params.layer, *which_)))
      before_ffn_ = setting.BeforeFfn(params.layer);
  }

  [[nodiscard]] const std::string& part() const { return part_; }

  [[nodiscard]] TokenFigures Score(const GgmlType& type,
                                   const std::function<void(double)>& poll) const {
    const Captured model = setting_.model();
    ModelWeights stored = StoredAs(model.model.weights(), {{part_, &type}});
    if (which_) {
      const Replacement replacement{params_.layer,
                                    ParentVariant(stored.config, params_.layer, *which_),
                                    SubBlockOf(stored, params_.layer, *which_), before_ffn_};
      return ScoreReplacement(model, replacement, setting_.folded(), params_.batch, poll);
    }
    const bool is_head = !stored.HeadMatrix().is_same(model.model.weights().HeadMatrix());
    const Transformer changed(std::move(stored), model.states.length());
    if (!is_head) return ScoreFromTokens(model, changed, setting_.folded(), params_.batch, poll);
    return ScoreFromTokens(model, changed, FoldCaptured(changed, setting_.parent(), params_.batch),
                           params_.batch, poll);
  }

 private:
  const PrecisionScoreParams& params_;
  const ScoreSetting& setting_;
  std::optional<SubBlock> which_;
  std::string part_;
  Tensor before_ffn_;
};

const ModelPart* FindPart(const std::vector<ModelPart>& parts, const std::string& name) {
  const auto found = std::find_if(parts.begin(), parts.end(),
                                  [&](const ModelPart& part) { return part.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

}  // namespace

PrecisionScore RunPrecisionScore(const PrecisionScoreParams& params, const Inputs& inputs,
                                 RunContext& context) {
  const at::NoGradGuard no_grad;
  const ScoreSetting setting(inputs, at::kFloat, params.answers_only(), params.batch, context);
  const ModelConfig& config = setting.model().model.config();
  const StoredPartScorer scorer(params, setting);
  PrecisionScore score;
  score.model_digest =
      inputs.One<Checkpoint>(inputs.Has("context") ? "context" : "parent").digest();
  score.part = scorer.part();
  const std::vector<ModelPart> parts = StoredParts(config);
  const ModelPart* const part = FindPart(parts, score.part);
  if (part == nullptr) return score;
  score.variant = part->variant;
  for (size_t i = 0; i < params.types.size(); ++i) {
    const std::string& name = params.types[i];
    const GgmlType& type = StoredTypeNamed(name);
    if (const auto why = WhyNotStoredAs(config, score.part, type)) {
      context.Warn(fmt::format("{}@{} is left out: {}", score.variant, name, *why));
      continue;
    }
    const TokenFigures stored = scorer.Score(type, [&](double fraction) {
      context.Poll((static_cast<double>(i) + fraction) / static_cast<double>(params.types.size()),
                   name);
    });
    if (!AllFinite(stored.rows))
      ThrowNotFinite(fmt::format("the answers of the model with {} in {}", score.part, name));
    score.options.push_back({name, setting.Increase(stored)});
  }
  return score;
}

}  // namespace puzzle
