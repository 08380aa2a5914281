#include "nodes/train/gkd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "graph/run/machine.h"
#include "graph/run/memory_meter.h"
#include "io/error.h"
#include "model/fused_blocks.h"
#include "model/math/large_pieces.h"
#include "model/math/losses.h"
#include "model/math/optim.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/unread.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/data/tokenize.h"
#include "nodes/precision/artifacts.h"
#include "nodes/states/activations.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/file_tensor.h"
#include "nodes/states/layer_input.h"
#include "nodes/states/sub_block_data.h"
#include "nodes/states/walk.h"
#include "nodes/train/best_state.h"
#include "nodes/train/global_loss.h"
#include "nodes/train/rounded_student.h"
#include "nodes/train/step_memory.h"
#include "nodes/train/stored_student.h"
#include "nodes/train/teacher_logits.h"
#include "nodes/train/trained_parts.h"
#include "nodes/train/training_loop.h"

namespace puzzle {

using at::Tensor;

namespace {

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

// How a distillation by these parameters is computed in the memory that there is; said where it
// costs time. Throws Error when a step does not fit in any way.
MemoryChoice MemoryFor(const GkdParams& params, const TeacherOnDevice& teacher,
                       const Transformer& student, double trained, int64_t length, size_t held_out,
                       bool stored, bool fused, RunContext& context) {
  const at::Device device = student.weights().norm.device();
  if (!device.is_cpu()) return {params.recompute == "on", false};
  DistillationShape shape = DistillationShapeOf(params, teacher.model.config(), student.config(),
                                                length, AvailableCores());
  if (teacher.words) shape.TakeTeachersWords(params);
  shape.trained = trained;
  shape.held_out = static_cast<double>(held_out);
  shape.stored = stored;
  shape.in_bf16 = ProductType(params.compute, device.str()) == at::kBFloat16;
  shape.fused = fused;
  shape.head_in_bf16 = HeadProducts(params, device.str()) == at::kBFloat16;
  shape.most_in_memory = static_cast<double>(RoomOfWalk(context).in_memory);
  // Both models are there already, whose bytes are a part of the whole.
  const uint64_t free = AvailableMemory();
  const double there = free == 0 ? std::numeric_limits<double>::infinity()
                                 : static_cast<double>(free) + ModelBytes(shape);
  const auto limit = static_cast<double>(context.memory_bytes());
  const double given = std::min(limit, there);
  const MemoryChoice choice = ChooseMemory(shape, params.recompute, given);
  CheckBatchFits(shape, choice, there);
  const bool is_wanted =
      choice.recompute && params.recompute == "on" && !choice.in_files && !choice.one_at_a_time;
  if (const std::string what = WhatItDoes(choice); !what.empty() && !is_wanted) {
    const auto mib = [](double bytes) { return static_cast<int64_t>(bytes) >> 20; };
    const double takes = DistillationBytes(shape, choice);
    std::string text =
        fmt::format("{} MiB for this step: {}, for about {} MiB instead of {}", mib(given), what,
                    mib(takes), mib(DistillationBytes(shape, {params.recompute == "on"})));
    if (takes > given) {
      const std::string ways = WaysToTakeLess(shape, params, given);
      text += "; that is more than it has" + (ways.empty() ? "" : ", in which " + ways);
    }
    context.Warn(text);
  }
  return choice;
}

// The threads of the step's lanes. `context` has to live as long.
ThreadTeam TeamOf(RunContext& context) {
  return {context.devices().size(),
          [&context](const std::function<void(size_t)>& work) { context.OnEach(work); }};
}

at::Device DeviceOf(const Transformer& model) {
  return model.weights().norm.device();
}

double ElementsOf(const std::vector<Tensor>& tensors) {
  double elements = 0;
  for (const Tensor& tensor : tensors) elements += static_cast<double>(tensor.numel());
  return elements;
}

void WarnOfIdleLanes(size_t lanes, int64_t parts, RunContext& context) {
  if (std::cmp_greater(lanes, parts))
    context.Warn(fmt::format("a batch is worked off in {} parts: of {} lanes the others do nothing",
                             parts, lanes));
}

std::vector<Tensor> StatesWithoutGradients(const TeacherStates& states,
                                           const std::vector<int64_t>& rows) {
  const at::NoGradGuard no_grad;
  return states(rows);
}

// What the losses ask of a teacher.
TeacherOutput OutputOf(const TeacherOnDevice& teacher, const GkdParams& params,
                       const std::vector<int64_t>& rows) {
  TeacherOutput output;
  if (teacher.words && params.kl_weight > 0)
    output.words = teacher.words(rows).To(DeviceOf(teacher.model));
  if (params.AsksForStates(teacher.words != nullptr))
    output.states = StatesWithoutGradients(teacher.states, rows);
  return output;
}

bool IsInBf16(const Transformer& model) {
  ModelWeights weights = model.weights();
  const auto slots = Slots(weights);
  return std::any_of(slots.begin(), slots.end(), [](const NamedSlot& slot) {
    return slot.second->scalar_type() == at::kBFloat16;
  });
}

// Sequences that are not learned from, and the teacher's final states of what counts in them.
class HeldOut {
 public:
  HeldOut(const Transformer& teacher, const TeacherStates& states, const TokenSet& tokens,
          const Answers& answers, const std::vector<int64_t>& rows, ThreadTeam team)
      : teacher_head_(teacher.weights().HeadMatrix()), team_(std::move(team)) {
    for (const int64_t row : rows) {
      const Tensor hidden = teacher.FinalNorm(StatesWithoutGradients(states, {row}).back());
      sequences_.push_back({tokens.Rows({row}).to(hidden.device()), answers.Of({row}), {}});
      sequences_.back().teacher = sequences_.back().Chosen(PredictingStates(hidden));
    }
  }

  [[nodiscard]] bool empty() const { return sequences_.empty(); }
  // Mean KL(teacher || student), whose blocks are computed as in training, and its head in fp32.
  [[nodiscard]] double Kl(const Transformer& model, at::ScalarType products,
                          const RoundedBlocks& rounded) const {
    const at::NoGradGuard not_recorded;
    const Transformer student = rounded ? model : model.WithProductsIn(products);
    std::vector<TokenMetrics> sums(sequences_.size());
    const auto measure = [&](int64_t i) {
      const at::NoGradGuard no_grad;
      const Sequence& sequence = sequences_[static_cast<size_t>(i)];
      const Tensor x = FusedBlocks(student, rounded, student.Embed(sequence.ids), 0,
                                   student.config().n_layers());
      const HeadInput child{sequence.Chosen(PredictingStates(student.FinalNorm(x))),
                            student.weights().HeadMatrix()};
      const HeadInput parent{sequence.teacher, teacher_head_};
      sums[static_cast<size_t>(i)] =
          Measure(child, sequence.Chosen(NextTokens(sequence.ids)), &parent).Sum();
    };
    ParallelFor(std::ssize(sequences_), measure, team_);
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
  ThreadTeam team_;
  std::vector<Sequence> sequences_;
};

// The matrix of a head that only is read as products in `type` see it; undefined where that is the
// model's own, and on other devices.
Tensor HeadToRead(const Transformer& model, at::ScalarType type, const DataRoom& room) {
  const at::NoGradGuard no_grad;
  const Tensor& matrix = model.weights().HeadMatrix();
  if (type == at::kFloat || !matrix.is_cpu()) return {};
  return RoomFor(matrix.sizes().vec(), type, room).copy_(matrix);
}

// Where the parts of a batch are computed: all of them on one device, or one on each of several.
class PartPlaces {
 public:
  // Products with the vocabulary in `head_products`. `teachers` has to live as long.
  PartPlaces(const std::vector<TeacherOnDevice>& teachers, const TrainedParts& parts,
             at::ScalarType head_products, const DataRoom& room)
      : teachers_(teachers) {
    for (const TeacherOnDevice& teacher : teachers) {
      devices_.push_back(DeviceOf(teacher.model));
      others_.push_back(parts.OthersOn(devices_.back()));
      heads_.push_back(teacher.words ? Tensor() : HeadToRead(teacher.model, head_products, room));
    }
  }

  [[nodiscard]] bool are_several() const { return devices_.size() > 1; }
  [[nodiscard]] const std::vector<at::Device>& devices() const { return devices_; }
  [[nodiscard]] const TeacherOnDevice& TeacherOf(int64_t part) const { return teachers_[Of(part)]; }
  // Its head's matrix; undefined: that of the model.
  [[nodiscard]] const Tensor& TeacherHeadOf(int64_t part) const { return heads_[Of(part)]; }
  [[nodiscard]] at::Device DeviceOfPart(int64_t part) const { return devices_[Of(part)]; }
  // Of the student what is not trained.
  [[nodiscard]] const ModelWeights& OthersOf(int64_t part) const { return others_[Of(part)]; }

 private:
  [[nodiscard]] size_t Of(int64_t part) const {
    return are_several() ? static_cast<size_t>(part) : 0;
  }

  const std::vector<TeacherOnDevice>& teachers_;
  std::vector<at::Device> devices_;
  std::vector<ModelWeights> others_;
  std::vector<Tensor> heads_;
};

// Makes every weight one that is exact in bf16.
void RoundToBf16(ModelWeights model) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, slot] : Slots(model))
    ForEachRows(*slot, [](int64_t, const Tensor& rows) { rows.copy_(rows.to(at::kBFloat16)); });
}

}  // namespace

TeacherStates StatesOf(const Transformer& model, const TokenSet& tokens) {
  const bool in_bf16 = IsInBf16(model);
  return [model, &tokens,
          rounded = in_bf16 ? Rounded(model) : RoundedBlocks()](const std::vector<int64_t>& rows) {
    std::vector<Tensor> all = {
        model.Embed(tokens.Rows(rows).to(model.weights().embedding.device()))};
    for (int64_t layer = 0; layer < model.config().n_layers(); ++layer)
      all.push_back(FusedBlocks(model, rounded, all.back(), layer, layer + 1));
    return all;
  };
}

GlobalDistillation DistillGlobally(const std::vector<TeacherOnDevice>& teachers,
                                   const Transformer& student, const TokenSet& tokens,
                                   const GkdParams& params, uint64_t seed, RunContext& context,
                                   const StoredTypes& types) {
  const at::AutoGradMode with_gradients(true);
  const at::Device device = DeviceOf(student);
  const TeacherOnDevice& teacher = teachers.front();
  TrainedParts parts(params, teacher.model.weights(), student, seed);
  const ThreadTeam team = TeamOf(context);
  const at::ScalarType head_products = params.kl_weight > 0 || params.lm_weight > 0
                                           ? HeadProducts(params, device.str())
                                           : at::kFloat;
  const PartPlaces places(teachers, parts, params.kl_weight > 0 ? head_products : at::kFloat,
                          RoomOfWalk(context));
  // Who shares the student's memory.
  const ThreadTeam here = places.are_several() ? ThreadTeam() : team;
  WarnOfIdleLanes(here.size, RowParts(params.batch, device), context);
  const at::ScalarType products = ProductType(params.compute, device.str());
  const bool is_rounded = products == at::kBFloat16 && CanBeRounded(student);
  const Answers answers = params.answers_only() ? Answers(tokens.Mask()) : Answers(tokens);
  const int64_t trained_on =
      answers.sequences() - std::min(params.holdout, answers.sequences() / 4);
  std::vector<int64_t> last(static_cast<size_t>(answers.sequences() - trained_on));
  std::iota(last.begin(), last.end(), trained_on);
  const MemoryChoice memory =
      MemoryFor(params, teacher, student, ElementsOf(parts.parameters()), tokens.length,
                last.size(), !types.empty(), is_rounded, context);
  std::optional<LargePiecesApart> apart;
  if (memory.in_files) apart.emplace();
  const auto in_file = [&](int64_t elements) {
    return FileTensor(context.ScratchPath(), {elements}, at::kFloat);
  };
  AdamW optimizer(parts.parameters(),
                  {.weight_decay = params.weight_decay, .clip_norm = params.clip}, here,
                  memory.in_files ? MakeFlat(in_file) : MakeFlat(),
                  memory.all_in_files ? MakeFlat(in_file) : MakeFlat());
  ReturnFreeMemory();  // where the parameters were
  GradientParts gradients(parts.parameters(), std::numeric_limits<int64_t>::max(), team,
                          places.devices());
  if (memory.one_at_a_time) gradients.TakeOneAtATime();
  std::vector<Tensor> sums;
  for (const Tensor& parameter : parts.parameters()) sums.push_back(parameter.mutable_grad());
  const HeldOut held_out(teacher.model, teacher.states, tokens, answers, answers.Rows(last), here);
  const auto rounded_in_file = [&](int64_t elements) {
    return FileTensor(context.ScratchPath(), {elements}, at::kBFloat16);
  };
  RoundedStudent rounded(products, head_products,
                         memory.all_in_files ? MakeFlat(rounded_in_file) : MakeFlat());
  const StoredStudent stored(types);
  const auto now = [&] {
    const at::NoGradGuard no_grad;
    return is_rounded && types.empty() ? parts.NowForFused() : stored.Seen(parts.Now());
  };
  const auto kl_of = [&](const Transformer& model) {
    return held_out.Kl(model, products, rounded.Blocks(model));
  };
  const auto room = [&](int64_t elements) {
    return RoomFor({elements}, at::kFloat, RoomOfWalk(context));
  };
  BestState best(
      optimizer, [&] { return kl_of(now()); }, device.is_cpu() ? MakeFlat(room) : MakeFlat());
  BrokenTerm broken;
  const TrainingLoop loop{.what = "global distillation",
                          .steps = params.steps,
                          .sequences = trained_on,
                          .seed = seed,
                          .best = held_out.empty() ? nullptr : &best,
                          .considerations = params.checks,
                          .patience = params.patience,
                          .blame = [&] { return broken.Blame(); }};
  TrainingParams schedule = params;
  schedule.lr = params.PeakRate(student.config().hidden_size);
  GlobalDistillation result;
  result.loss =
      RunTrainingLoop(loop, schedule, optimizer, context, [&](const std::vector<int64_t>& order) {
        const std::vector<int64_t> batch = answers.Rows(order);
        std::optional<Transformer> seen(now());
        const RoundedBlocks blocks = rounded.Blocks(*seen);
        const Tensor head = rounded.Head(*seen);
        if (types.empty()) seen.reset();
        const auto loss_of = [&](int64_t part, const std::vector<int64_t>& rows) {
          const TeacherOnDevice& its = places.TeacherOf(part);
          const auto& leaves = gradients.Leaves(part);
          Transformer own = blocks ? parts.ForFused(leaves, places.OthersOf(part))
                                   : parts.With(leaves, places.OthersOf(part));
          if (seen) own = stored.Through(own, *seen);
          const auto counted = answers.Of(rows);
          const double share = counted ? answers.Share(rows, batch) : 1.0;
          return GlobalLoss(its.model, OutputOf(its, params, rows),
                            blocks ? own : own.WithProductsIn(products), blocks,
                            {places.TeacherHeadOf(part), head},
                            tokens.Rows(rows).to(places.DeviceOfPart(part)), params,
                            memory.recompute, counted ? &*counted : nullptr, broken) *
                 (share * static_cast<double>(rows.size()) / static_cast<double>(batch.size()));
        };
        return gradients.AddGradients(batch, loss_of, sums);
      });
  parts.Merge();
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  result.held_out_before = held_out.empty() ? kNone : best.first();
  result.held_out = held_out.empty() ? kNone : best.best();
  result.best_step = held_out.empty() ? params.steps : best.best_step();
  if (params.dtype == "bf16") {
    RoundToBf16(student.weights());
    if (!held_out.empty()) result.held_out = kl_of(stored.Seen(student));
  }
  return result;
}

namespace {

// The types that the student is to be stored in; none where nobody chose them.
StoredTypes TypesOfStudent(const Inputs& inputs, const ModelConfig& student) {
  if (!inputs.Has("precision")) return {};
  return inputs.Get<Precision>("precision")->TypesFor(student);
}

// What was stored of the teacher's answers; null where nobody connected it. Throws Error when it
// is about other models or tokens.
std::shared_ptr<const TeacherLogits> StoredAnswers(const Inputs& inputs) {
  if (!inputs.Has("teacher_logits")) return nullptr;
  const auto answers = inputs.Get<TeacherLogits>("teacher_logits");
  answers->Check(inputs.One<Checkpoint>("teacher").digest(),
                 inputs.One<TokenSet>("tokens").digest());
  return answers;
}

// The same values without history or gradients.
ModelWeights Detached(ModelWeights model) {
  for (const auto& [name, slot] : Slots(model)) *slot = slot->detach();
  return model;
}

// A copy of the student on the step's device. On the CPU in one piece where all of it moves on into
// the optimizer, whose gradients then take its place; in a file where it is large.
ModelWeights ToTrain(const ModelWeights& model, const GkdParams& params, RunContext& context) {
  if (context.device().type != "cpu") return ToDevice(Clone(model), context.device().name());
  const DataRoom room = RoomOfWalk(context);
  const auto bytes = sizeof(float) * static_cast<size_t>(CountBlockParameters(model.config) +
                                                         CountNonBlockParameters(model.config));
  if (params.train != "all" && bytes <= room.in_memory) return Clone(model);
  return Detached(InRoom(model, at::kFloat, room));
}

}  // namespace

Checkpoint RunGkd(const GkdParams& params, const Inputs& inputs, RunContext& context) {
  const std::shared_ptr<const TeacherLogits> answers = StoredAnswers(inputs);
  const auto teacher_input = inputs.One<Checkpoint>("teacher");
  auto teacher_checkpoint = teacher_input.Load();
  auto student_checkpoint = inputs.Get<Checkpoint>("student");
  const auto tokens = inputs.Get<TokenSet>("tokens");
  CheckTokensFit(*tokens, teacher_checkpoint->model.config, "the teacher");
  CheckTokensFit(*tokens, student_checkpoint->model.config, "the student");
  CheckPair(teacher_checkpoint->model.config, student_checkpoint->model.config);
  CheckSameLanguage(student_checkpoint->tokenizer_files, teacher_checkpoint->tokenizer_files);
  const StoredTypes types = TypesOfStudent(inputs, student_checkpoint->model.config);
  const std::string device = context.device().name();
  std::vector<Device> memories = context.devices();
  if (context.device().type == "cpu") memories.resize(1);
  std::vector<TeacherOnDevice> teachers;
  for (const Device& memory : memories) {
    const at::ScalarType products = ProductType(params.compute, memory.name());
    const ModelWeights& teacher = teacher_checkpoint->model;
    teachers.push_back(
        {memory.type == "cpu"
             ? Transformer(InRoom(teacher, products, RoomOfWalk(context)))
             : Transformer(ToDevice(teacher, memory.name())).WithProductsIn(products),
         {}});
  }
  const Transformer student(ToTrain(student_checkpoint->model, params, context));
  Checkpoint result{
      {}, student_checkpoint->tokenizer_files, student_checkpoint->generation_config, {}};
  // Both were copied as far as they are needed.
  teacher_checkpoint.reset();
  student_checkpoint.reset();

  if (inputs.Has("activations")) {
    // What was captured for distillation by blocks serves here too: no teacher forward at all.
    const auto activations = inputs.Get<Activations>("activations");
    CheckActivations(*activations, teacher_input.digest(), teachers.front().model.config());
    if (activations->sequences() != tokens->sequences() ||
        activations->length() != tokens->length ||
        !activations->Ids(0, tokens->sequences()).equal(tokens->Batch(0, tokens->sequences())))
      throw Error("the activations were captured on other tokens than the port `tokens` gives");
    const auto mutex = std::make_shared<std::mutex>();
    for (TeacherOnDevice& teacher : teachers)
      teacher.states = [model = teacher.model, activations,
                        mutex](const std::vector<int64_t>& rows) {
        const std::scoped_lock lock(*mutex);  // a reader serves one thread at a time
        return LayerInputs(model, *activations, rows);
      };
  } else {
    for (TeacherOnDevice& teacher : teachers) teacher.states = StatesOf(teacher.model, *tokens);
  }
  if (answers != nullptr)
    for (TeacherOnDevice& teacher : teachers)
      teacher.words = [answers](const std::vector<int64_t>& rows) { return answers->Read(rows); };
  const GlobalDistillation end =
      DistillGlobally(teachers, student, *tokens, params,
                      context.seed() + static_cast<uint64_t>(params.seed), context, types);
  result.model = Detached(ToDevice(student.weights(), "cpu"));
  const auto bits = [](at::ScalarType type) { return type == at::kBFloat16 ? 16.0 : 32.0; };
  result.figures = {{"loss", end.loss},
                    {"best_step", static_cast<double>(end.best_step)},
                    {"lr", params.PeakRate(student.config().hidden_size)},
                    {"product_bits", bits(ProductType(params.compute, device))},
                    {"head_product_bits", bits(HeadProducts(params, device))}};
  if (answers != nullptr) result.figures["teacher_words"] = static_cast<double>(answers->k());
  // They are none where nothing is held out, and where a model's logits are no numbers.
  for (const auto& [name, kl] : {std::pair("held_out_kl_before", end.held_out_before),
                                 std::pair("held_out_kl", end.held_out)})
    if (std::isfinite(kl)) result.figures[name] = kl;
  const double of_guesses = std::log(static_cast<double>(student.config().vocab_size));
  if (end.held_out_before > of_guesses)
    context.Warn(fmt::format(
        "before the distillation the child's KL to the teacher was {:.4f}, more than that of words "
        "taken at random ({:.4f}): is it a child of this teacher?",
        end.held_out_before, of_guesses));
  if (end.best_step == 0)
    context.Warn(fmt::format(
        "no state of the distillation was better than the child as it was (KL {:.4f} on text held "
        "out), which is returned: try a smaller `lr`, or more tokens",
        end.held_out_before));
  return result;
}

}  // namespace puzzle
