#include "nodes/train/gkd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "graph/run/machine.h"
#include "io/error.h"
#include "model/block/counts.h"
#include "model/math/losses.h"
#include "model/math/optim.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/recompute.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/data/tokenize.h"
#include "nodes/states/activations.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/layer_input.h"
#include "nodes/states/sub_block_data.h"
#include "nodes/train/best_state.h"
#include "nodes/train/training_loop.h"

namespace puzzle {

using at::Tensor;

namespace {

bool Survives(const BlockSpec& block) {
  return !block.attention.is_none() || !block.ffn.is_none();
}

// The training loss of some sequences; only of the predictions that count, unless `counted` is
// null.
Tensor GlobalLoss(const Transformer& teacher, const std::vector<Tensor>& states,
                  const Transformer& student, const Tensor& ids, const GkdParams& params,
                  bool recompute, const CountedPredictions* counted) {
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
    x = recompute ? RecomputedBlocks(student, x, layer, layer + 1)
                  : student.Blocks(x, layer, layer + 1);
    if (params.cosine_weight > 0)
      cosine = cosine + CosineLoss(compared(x), compared(states[static_cast<size_t>(layer) + 1]));
    ++surviving;
  }
  const at::ScalarType products =
      ProductType(params.head_compute, student.weights().embedding.device().str());
  const HeadInput student_head{chosen(PredictingStates(student.FinalNorm(x))),
                               student.weights().HeadMatrix(), products};
  Tensor loss = at::zeros({}, x.options());
  if (params.kl_weight > 0) {
    const HeadInput teacher_head{chosen(PredictingStates(teacher.FinalNorm(states.back()))),
                                 teacher.weights().HeadMatrix(), products};
    loss = loss + params.kl_weight * KlLoss(student_head, teacher_head);
  }
  if (params.cosine_weight > 0 && surviving > 0)
    loss = loss + params.cosine_weight / static_cast<double>(surviving) * cosine;
  if (params.lm_weight > 0)
    loss = loss + params.lm_weight * CrossEntropyLoss(student_head, chosen(NextTokens(ids)));
  return loss;
}

void CheckPair(const ModelConfig& teacher, const ModelConfig& student) {
  const auto shape = [](const ModelConfig& config) {
    return fmt::format("{} layers, hidden size {}, a vocabulary of {}", config.n_layers(),
                       config.hidden_size, config.vocab_size);
  };
  if (shape(teacher) != shape(student))
    throw Error(fmt::format("the student is no child of the teacher: it has {}, the teacher {}",
                            shape(student), shape(teacher)));
}

// What is learned from: every prediction of every sequence, or those of a mask.
class Answers {
 public:
  explicit Answers(const TokenSet& tokens) : sequences_(tokens.sequences()) {}
  explicit Answers(const Tensor& mask) : mask_(mask), counted_(mask), rows_(counted_->Sequences()) {
    sequences_ = std::ssize(rows_);
  }

  [[nodiscard]] int64_t sequences() const { return sequences_; }
  // The sequences of the tokens that some of those to learn from are.
  [[nodiscard]] std::vector<int64_t> Rows(std::vector<int64_t> order) const {
    if (counted_)
      for (int64_t& row : order) row = rows_[static_cast<size_t>(row)];
    return order;
  }
  [[nodiscard]] std::optional<CountedPredictions> Of(const std::vector<int64_t>& rows) const {
    if (!counted_) return std::nullopt;
    return CountedPredictions(
        mask_.index_select(0, at::tensor(at::ArrayRef<int64_t>(rows), at::kLong)));
  }
  // What makes a mean over the batch of means over `rows` that are weighed by their number.
  [[nodiscard]] double Share(const std::vector<int64_t>& rows,
                             const std::vector<int64_t>& batch) const {
    const auto mean = [&](const std::vector<int64_t>& of) {
      double count = 0;
      for (const int64_t row : of) count += static_cast<double>(counted_->Of(row, 1));
      return count / static_cast<double>(of.size());
    };
    return mean(rows) / mean(batch);
  }

 private:
  Tensor mask_;
  std::optional<CountedPredictions> counted_;
  std::vector<int64_t> rows_;
  int64_t sequences_ = 0;
};

// Whether blocks are computed again for their gradients: where what they keep of the sequences in
// work would take more than a quarter of the memory that is free.
bool RecomputesBlocks(const GkdParams& params, const ModelConfig& config, int64_t length,
                      const at::Device& device) {
  if (params.recompute != "auto") return params.recompute == "on";
  if (!device.is_cpu()) return false;
  const int64_t parts = RowParts(params.batch, device);
  const int64_t at_once = std::min<int64_t>(parts, AvailableCores());
  const int64_t tokens = at_once * ((params.batch + parts - 1) / parts) * length;
  const uint64_t free = AvailableMemory();
  return free > 0 && block::KeptForGradients(config, tokens) > static_cast<double>(free) / 4;
}

std::vector<Tensor> StatesWithoutGradients(const TeacherStates& states,
                                           const std::vector<int64_t>& rows) {
  const at::NoGradGuard no_grad;
  return states(rows);
}

// Sequences that are not learned from, and the teacher's final states of what counts in them.
class HeldOut {
 public:
  HeldOut(const Transformer& teacher, const TeacherStates& states, const TokenSet& tokens,
          const Answers& answers, const std::vector<int64_t>& rows)
      : teacher_head_(teacher.weights().HeadMatrix()) {
    for (const int64_t row : rows) {
      const Tensor hidden = teacher.FinalNorm(StatesWithoutGradients(states, {row}).back());
      sequences_.push_back({tokens.Rows({row}).to(hidden.device()), answers.Of({row}), {}});
      sequences_.back().teacher = sequences_.back().Chosen(PredictingStates(hidden));
    }
  }

  [[nodiscard]] bool empty() const { return sequences_.empty(); }
  // Mean KL(teacher || student).
  [[nodiscard]] double Kl(const Transformer& student) const {
    std::vector<TokenMetrics> sums(sequences_.size());
    ParallelFor(std::ssize(sequences_), [&](int64_t i) {
      const at::NoGradGuard no_grad;
      const Sequence& sequence = sequences_[static_cast<size_t>(i)];
      const Tensor x = student.Blocks(student.Embed(sequence.ids), 0, student.config().n_layers());
      const HeadInput child{sequence.Chosen(PredictingStates(student.FinalNorm(x))),
                            student.weights().HeadMatrix()};
      const HeadInput parent{sequence.teacher, teacher_head_};
      sums[static_cast<size_t>(i)] =
          Measure(child, sequence.Chosen(NextTokens(sequence.ids)), &parent).Sum();
    });
    TokenMetrics sum;
    for (const TokenMetrics& one : sums) sum += one;
    return sum.Mean(Metric::kKl);
  }

 private:
  struct Sequence {
    Tensor ids;  // [1, seq]
    std::optional<CountedPredictions> counted;
    Tensor teacher;

    // Of values one for each prediction.
    [[nodiscard]] Tensor Chosen(const Tensor& values) const {
      return counted ? counted->Select(values, 0, 1) : values;
    }
  };

  Tensor teacher_head_;
  std::vector<Sequence> sequences_;
};

}  // namespace

GlobalDistillation DistillGlobally(const Transformer& teacher, const TeacherStates& teacher_states,
                                   const Transformer& student, const TokenSet& tokens,
                                   const GkdParams& params, uint64_t seed, RunContext& context) {
  const at::AutoGradMode with_gradients(true);
  const at::Device device = student.weights().embedding.device();
  AdamW optimizer(Parameters(student.weights()),
                  {.weight_decay = params.weight_decay, .clip_norm = params.clip});
  DataParallel gradients(student);
  const at::ScalarType products = ProductType(params.compute, device.str());
  const Answers answers = params.answers_only() ? Answers(tokens.Mask()) : Answers(tokens);
  const bool recompute = RecomputesBlocks(params, student.config(), tokens.length, device);
  const int64_t trained_on =
      answers.sequences() - std::min(params.holdout, answers.sequences() / 4);
  std::vector<int64_t> last(static_cast<size_t>(answers.sequences() - trained_on));
  std::iota(last.begin(), last.end(), trained_on);
  const HeldOut held_out(teacher, teacher_states, tokens, answers, answers.Rows(last));
  BestState best(optimizer, [&] { return held_out.Kl(student.WithProductsIn(products)); });
  const TrainingLoop loop{.what = "global distillation",
                          .steps = params.steps,
                          .sequences = trained_on,
                          .seed = seed,
                          .best = held_out.empty() ? nullptr : &best};
  GlobalDistillation result;
  result.loss =
      RunTrainingLoop(loop, params, optimizer, context, [&](const std::vector<int64_t>& order) {
        const std::vector<int64_t> batch = answers.Rows(order);
        return gradients.Backward(batch, [&](const Transformer& part,
                                             const std::vector<int64_t>& rows) {
          const auto counted = answers.Of(rows);
          const Tensor loss = GlobalLoss(
              teacher, StatesWithoutGradients(teacher_states, rows), part.WithProductsIn(products),
              tokens.Rows(rows).to(device), params, recompute, counted ? &*counted : nullptr);
          return counted ? loss * answers.Share(rows, batch) : loss;
        });
      });
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  result.held_out_before = held_out.empty() ? kNone : best.first();
  result.held_out = held_out.empty() ? kNone : best.best();
  result.best_step = held_out.empty() ? params.steps : best.best_step();
  return result;
}

Checkpoint RunGkd(const GkdParams& params, const Inputs& inputs, RunContext& context) {
  const auto teacher_input = inputs.One<Checkpoint>("teacher");
  auto teacher_checkpoint = teacher_input.Load();
  auto student_checkpoint = inputs.Get<Checkpoint>("student");
  const auto tokens = inputs.Get<TokenSet>("tokens");
  CheckTokensFit(*tokens, teacher_checkpoint->model.config, "the teacher");
  CheckTokensFit(*tokens, student_checkpoint->model.config, "the student");
  CheckPair(teacher_checkpoint->model.config, student_checkpoint->model.config);
  CheckSameLanguage(student_checkpoint->tokenizer_files, teacher_checkpoint->tokenizer_files);
  const std::string device = context.device().name();
  const Transformer teacher = Transformer(ToDevice(teacher_checkpoint->model, device))
                                  .WithProductsIn(ProductType(params.compute, device));
  const Transformer student(Clone(ToDevice(student_checkpoint->model, device)));
  Checkpoint result{
      {}, student_checkpoint->tokenizer_files, student_checkpoint->generation_config, {}};
  // Both were copied as far as they are needed.
  teacher_checkpoint.reset();
  student_checkpoint.reset();

  TeacherStates states;
  if (inputs.Has("activations")) {
    // What was captured for distillation by blocks serves here too: no teacher forward at all.
    const auto activations = inputs.Get<Activations>("activations");
    CheckActivations(*activations, teacher_input.digest(), teacher.config());
    if (activations->sequences() != tokens->sequences() ||
        activations->length() != tokens->length ||
        !activations->Ids(0, tokens->sequences()).equal(tokens->Batch(0, tokens->sequences())))
      throw Error("the activations were captured on other tokens than the port `tokens` gives");
    states = [&teacher, activations,
              mutex = std::make_shared<std::mutex>()](const std::vector<int64_t>& rows) {
      const std::scoped_lock lock(*mutex);  // a reader serves one thread at a time
      return LayerInputs(teacher, *activations, rows);
    };
  } else {
    states = [&](const std::vector<int64_t>& rows) {
      std::vector<Tensor> all = {teacher.Embed(tokens->Rows(rows).to(at::Device(device)))};
      for (int64_t layer = 0; layer < teacher.config().n_layers(); ++layer)
        all.push_back(teacher.Blocks(all.back(), layer, layer + 1));
      return all;
    };
  }
  const GlobalDistillation end =
      DistillGlobally(teacher, states, student, *tokens, params,
                      context.seed() + static_cast<uint64_t>(params.seed), context);
  result.model = Clone(ToDevice(student.weights(), "cpu"));
  result.figures = {{"loss", end.loss}, {"best_step", static_cast<double>(end.best_step)}};
  if (!std::isnan(end.held_out)) {
    result.figures["held_out_kl_before"] = end.held_out_before;
    result.figures["held_out_kl"] = end.held_out;
  }
  if (end.best_step == 0)
    context.Warn(fmt::format(
        "no state of the distillation was better than the child as it was (KL {:.4f} on text held "
        "out), which is returned: try a smaller `lr`, or more tokens",
        end.held_out_before));
  return result;
}

}  // namespace puzzle
