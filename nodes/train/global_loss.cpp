#include "nodes/train/global_loss.h"

#include <cmath>

#include <fmt/format.h>

#include "model/math/losses.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/recompute.h"

namespace puzzle {

using at::Tensor;

namespace {

bool Survives(const BlockSpec& block) {
  return !block.attention.is_none() || !block.ffn.is_none();
}

}  // namespace

void BrokenTerm::Look(const char* term, const Tensor& value) {
  const char* none = nullptr;
  if (!std::isfinite(value.item<double>())) term_.compare_exchange_strong(none, term);
}

std::string BrokenTerm::Blame() const {
  const char* term = term_.load();
  return term == nullptr ? std::string() : fmt::format(" (its {})", term);
}

at::ScalarType HeadProducts(const GkdParams& params, const std::string& device) {
  return ProductType(params.head_compute == "auto" ? params.compute : params.head_compute, device);
}

Tensor GlobalLoss(const Transformer& teacher, const TeacherOutput& output,
                  const Transformer& student, const RoundedBlocks& rounded,
                  const RoundedHeads& heads, const Tensor& ids, const GkdParams& params,
                  bool recompute, const CountedPredictions* counted, BrokenTerm& broken) {
  // Of values one for each prediction.
  const auto chosen = [&](const Tensor& values) {
    return counted == nullptr ? values : counted->Select(values, 0, ids.size(0));
  };
  const auto compared = [&](const Tensor& hidden) {
    return counted == nullptr ? hidden : chosen(PredictingStates(hidden));
  };
  const int64_t layers = student.config().n_layers();
  Tensor x = student.Embed(ids);
  Tensor cosine = at::zeros({}, x.options());
  int64_t surviving = 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (!Survives(student.config().blocks[static_cast<size_t>(layer)])) continue;
    x = recompute ? RecomputedBlocks(student, x, layer, layer + 1, rounded)
                  : FusedBlocks(student, rounded, x, layer, layer + 1);
    if (params.cosine_weight > 0)
      cosine =
          cosine + CosineLoss(compared(x), compared(output.states[static_cast<size_t>(layer) + 1]));
    ++surviving;
  }
  Tensor loss = at::zeros({}, x.options());
  const auto add = [&](const char* term, double weight, const Tensor& value) {
    const Tensor weighted = weight * value;
    broken.Look(term, weighted);
    loss = loss + weighted;
  };
  const at::ScalarType products = HeadProducts(params, student.weights().embedding.device().str());
  const HeadInput student_head{chosen(PredictingStates(student.FinalNorm(x))),
                               student.weights().HeadMatrix(), products, heads.student};
  if (params.kl_weight > 0 && output.words.ids.defined()) {
    const auto& [words, log_probability, log_rest] = output.words;
    add("KL", params.kl_weight,
        CoarseKlLoss(student_head, {chosen(words), chosen(log_probability), chosen(log_rest)}));
  } else if (params.kl_weight > 0) {
    const HeadInput teacher_head{chosen(PredictingStates(teacher.FinalNorm(output.states.back()))),
                                 teacher.weights().HeadMatrix(), products, heads.teacher};
    add("KL", params.kl_weight, KlLoss(student_head, teacher_head));
  }
  if (params.cosine_weight > 0 && surviving > 0)
    add("cosine loss of the hidden states", params.cosine_weight / static_cast<double>(surviving),
        cosine);
  if (params.lm_weight > 0)
    add("cross entropy", params.lm_weight, CrossEntropyLoss(student_head, chosen(NextTokens(ids))));
  return loss;
}

}  // namespace puzzle
