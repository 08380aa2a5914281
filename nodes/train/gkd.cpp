#include "nodes/train/gkd.h"

#include <cmath>
#include <memory>
#include <mutex>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/losses.h"
#include "model/math/optim.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "nodes/data/tokenize.h"
#include "nodes/states/activations.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/layer_input.h"
#include "nodes/states/sub_block_data.h"
#include "nodes/train/training_loop.h"

namespace puzzle {

using at::Tensor;

namespace {

bool Survives(const BlockSpec& block) {
  return !block.attention.is_none() || !block.ffn.is_none();
}

// The training loss of one batch.
Tensor GlobalLoss(const Transformer& teacher, const std::vector<Tensor>& states,
                  const Transformer& student, const Tensor& ids, const GkdParams& params) {
  const int64_t layers = student.config().n_layers();
  Tensor x = student.Embed(ids);
  Tensor cosine = at::zeros({}, x.options());
  int64_t surviving = 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (!Survives(student.config().blocks[static_cast<size_t>(layer)])) continue;
    x = student.Blocks(x, layer, layer + 1);
    if (params.cosine_weight > 0)
      cosine = cosine + CosineLoss(x, states[static_cast<size_t>(layer) + 1]);
    ++surviving;
  }
  const HeadInput student_head{PredictingStates(student.FinalNorm(x)),
                               student.weights().HeadMatrix()};
  Tensor loss = at::zeros({}, x.options());
  if (params.kl_weight > 0) {
    const HeadInput teacher_head{PredictingStates(teacher.FinalNorm(states.back())),
                                 teacher.weights().HeadMatrix()};
    loss = loss + params.kl_weight * KlLoss(student_head, teacher_head);
  }
  if (params.cosine_weight > 0 && surviving > 0)
    loss = loss + params.cosine_weight / static_cast<double>(surviving) * cosine;
  if (params.lm_weight > 0)
    loss = loss + params.lm_weight * CrossEntropyLoss(student_head, NextTokens(ids));
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

std::vector<Tensor> StatesWithoutGradients(const TeacherStates& states,
                                           const std::vector<int64_t>& rows) {
  const at::NoGradGuard no_grad;
  return states(rows);
}

}  // namespace

double DistillGlobally(const Transformer& teacher, const TeacherStates& teacher_states,
                       const Transformer& student, const TokenSet& tokens, const GkdParams& params,
                       uint64_t seed, RunContext& context) {
  const at::AutoGradMode with_gradients(true);
  const at::Device device = student.weights().embedding.device();
  AdamW optimizer(Parameters(student.weights()),
                  {.weight_decay = params.weight_decay, .clip_norm = params.clip});
  DataParallel gradients(student);
  const at::ScalarType products = ProductType(params.compute, device.str());
  const TrainingLoop loop{.what = "global distillation",
                          .steps = params.steps,
                          .sequences = tokens.sequences(),
                          .seed = seed};
  return RunTrainingLoop(loop, params, optimizer, context, [&](const std::vector<int64_t>& batch) {
    return gradients.Backward(
        batch, [&](const Transformer& part, const std::vector<int64_t>& rows) {
          return GlobalLoss(teacher, StatesWithoutGradients(teacher_states, rows),
                            part.WithProductsIn(products), tokens.Rows(rows).to(device), params);
        });
  });
}

Checkpoint RunGkd(const GkdParams& params, const Inputs& inputs, RunContext& context) {
  const auto teacher_input = inputs.One<Checkpoint>("teacher");
  const auto teacher_checkpoint = teacher_input.Load();
  const auto student_checkpoint = inputs.Get<Checkpoint>("student");
  const auto tokens = inputs.Get<TokenSet>("tokens");
  CheckTokensFit(*tokens, teacher_checkpoint->model.config, "the teacher");
  CheckTokensFit(*tokens, student_checkpoint->model.config, "the student");
  CheckPair(teacher_checkpoint->model.config, student_checkpoint->model.config);
  CheckSameLanguage(student_checkpoint->tokenizer_files, teacher_checkpoint->tokenizer_files);
  const std::string device = context.device().name();
  const Transformer teacher = Transformer(ToDevice(teacher_checkpoint->model, device))
                                  .WithProductsIn(ProductType(params.compute, device));
  const Transformer student(Clone(ToDevice(student_checkpoint->model, device)));

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
  const double loss = DistillGlobally(teacher, states, student, *tokens, params,
                                      context.seed() + static_cast<uint64_t>(params.seed), context);
  Checkpoint result = *student_checkpoint;
  result.model = Clone(ToDevice(student.weights(), "cpu"));
  result.figures = {{"loss", loss}};
  return result;
}

}  // namespace puzzle
