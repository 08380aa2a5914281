#include "nodes/train/teacher_logits.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/math/losses.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "nodes/data/artifacts.h"
#include "nodes/states/activations.h"
#include "nodes/states/finite.h"
#include "nodes/states/walk.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;

namespace {

constexpr const char* kIds = "ids";
constexpr const char* kLogProbabilities = "log_probabilities";
constexpr const char* kLogRests = "log_rests";

// 16 bits of an id; libtorch has no unsigned numbers of this size, and these wrap around.
Tensor AsShorts(const Tensor& ids) {
  return ids.to(at::kShort);
}
Tensor FromShorts(const Tensor& ids) {
  return ids.to(at::kLong).bitwise_and_(0xFFFF);
}

// As it is stored, one entry for each sequence in front.
ArrayView RowsOf(const Tensor& values, DType dtype, const TeacherLogits::Layout& layout) {
  PUZZLE_CHECK(values.is_contiguous() && values.size(0) % layout.predictions() == 0,
               "whole sequences are stored");
  Shape shape = {values.size(0) / layout.predictions(), layout.predictions()};
  if (values.dim() == 2) shape.push_back(values.size(1));
  return {dtype, shape, values.data_ptr()};
}

}  // namespace

TeacherLogits::Writer::Writer(ArchiveWriter& out, const Layout& layout, const Origin& origin)
    : out_(out), layout_(layout) {
  out.SetAttribute("sequences", layout.sequences);
  out.SetAttribute("length", layout.length);
  out.SetAttribute("vocab_size", layout.vocab_size);
  out.SetAttribute("k", layout.k);
  out.SetAttribute("parent_digest", origin.parent_digest);
  out.SetAttribute("tokens_digest", origin.tokens_digest);
  const Shape words = {layout.sequences, layout.predictions(), layout.k};
  out.Create(kIds, layout.has_short_ids() ? DType::kU16 : DType::kI32, words);
  out.Create(kLogProbabilities, DType::kF16, words);
  out.Create(kLogRests, DType::kF32, {layout.sequences, layout.predictions()});
}

void TeacherLogits::Writer::Append(const TopWords& words) {
  PUZZLE_CHECK(words.ids.size(1) == layout_.k, "as many words as the layout has");
  constexpr double kLeast = -65504;  // of f16, and the logarithm of nothing
  const bool is_short = layout_.has_short_ids();
  const Tensor ids = (is_short ? AsShorts(words.ids) : words.ids.to(at::kInt)).contiguous();
  const Tensor log_p = words.log_probability.clamp_min(kLeast).to(at::kHalf).contiguous();
  const Tensor log_rest = words.log_rest.contiguous();
  out_.Append(kIds, RowsOf(ids, is_short ? DType::kU16 : DType::kI32, layout_));
  out_.Append(kLogProbabilities, RowsOf(log_p, DType::kF16, layout_));
  out_.Append(kLogRests, RowsOf(log_rest, DType::kF32, layout_));
  rest_ += log_rest.exp().sum(at::kDouble).item<double>();
}

void TeacherLogits::Writer::Finish() {
  // Of the records: how much of the parent's probability its words hold.
  const auto predictions = static_cast<double>(layout_.sequences * layout_.predictions());
  out_.SetAttribute("probability_kept", 1 - rest_ / predictions);
}

void TeacherLogits::Check(const std::string& parent_digest,
                          const std::string& tokens_digest) const {
  if (origin_.parent_digest != parent_digest)
    throw Error("the teacher's logits are of another model than the port `teacher` gives");
  if (origin_.tokens_digest != tokens_digest)
    throw Error("the teacher's logits are of other tokens than the port `tokens` gives");
}

TopWords TeacherLogits::Read(const std::vector<int64_t>& rows) const {
  const auto count = static_cast<int64_t>(rows.size());
  const Shape words_shape = {layout_.sequences, layout_.predictions(), layout_.k};
  {
    const std::scoped_lock lock(*mutex_);
    CheckArray(*reader_, kIds, layout_.has_short_ids() ? DType::kU16 : DType::kI32, words_shape);
    CheckArray(*reader_, kLogProbabilities, DType::kF16, words_shape);
    CheckArray(*reader_, kLogRests, DType::kF32, {layout_.sequences, layout_.predictions()});
  }
  const Tensor ids = at::empty({count, layout_.predictions(), layout_.k},
                               layout_.has_short_ids() ? at::kShort : at::kInt);
  const Tensor log_p = at::empty({count, layout_.predictions(), layout_.k}, at::kHalf);
  const Tensor log_rest = at::empty({count, layout_.predictions()}, at::kFloat);
  {
    const std::scoped_lock lock(*mutex_);
    const auto read = [&](const char* name, int64_t i, const Tensor& into) {
      reader_->ReadRows(name, rows[static_cast<size_t>(i)], 1, into[i].data_ptr());
    };
    for (int64_t i = 0; i < count; ++i) {
      read(kIds, i, ids);
      read(kLogProbabilities, i, log_p);
      read(kLogRests, i, log_rest);
    }
  }
  const Tensor words = log_p.to(at::kFloat).flatten(0, 1), rest = log_rest.flatten();
  const Tensor sum = at::logaddexp(words.logsumexp(1), rest);
  return {(layout_.has_short_ids() ? FromShorts(ids) : ids.to(at::kLong)).flatten(0, 1),
          words - sum.unsqueeze(1), rest - sum};
}

void TeacherLogits::Save(ArchiveWriter&) const {
  throw BugError("a teacher's logits are written while they are computed");
}

TeacherLogits TeacherLogits::Load(std::shared_ptr<const ArchiveReader> in) {
  TeacherLogits logits;
  Layout& layout = logits.layout_;
  layout.sequences = in->Attribute("sequences");
  layout.length = in->Attribute("length");
  layout.vocab_size = in->Attribute("vocab_size");
  layout.k = in->Attribute("k");
  logits.origin_ = {in->Attribute("parent_digest").get<std::string>(),
                    in->Attribute("tokens_digest").get<std::string>()};
  logits.reader_ = std::move(in);
  logits.mutex_ = std::make_shared<std::mutex>();
  return logits;
}

namespace {

// The answers of a model to last states, in the order of the sequences.
void AppendAnswers(const ModelWeights& weights, at::ScalarType products, int64_t k,
                   const WalkedBatches& batches, const WalkPoll& poll,
                   TeacherLogits::Writer& writer) {
  const Transformer model(weights);  // of which norm and head are asked
  const at::Device device = weights.norm.device();
  for (size_t i = 0; i < batches.size(); ++i) {
    std::vector<TopWords> parts(batches[i].size());
    ParallelFor(std::ssize(parts), [&](int64_t part) {
      const auto index = static_cast<size_t>(part);
      const Tensor last = model.FinalNorm(batches[i][index].states.to(device));
      parts[index] = TopWordsOf({PredictingStates(last), weights.HeadMatrix(), products}, k);
    });
    for (const TopWords& part : parts) {
      if (!AllFinite(part.log_probability)) ThrowNotFinite("the parent's logits");
      writer.Append(part);
    }
    poll(static_cast<double>(i + 1) / static_cast<double>(batches.size()));
  }
}

}  // namespace

void RunTeacherLogits(const TeacherLogitsParams& params, const Inputs& inputs, RunContext& context,
                      ArchiveWriter& out) {
  const at::NoGradGuard no_grad;
  const auto parent = inputs.One<Checkpoint>("parent");
  const auto text = inputs.One<TokenSet>("tokens");
  const auto checkpoint = parent.Load();
  const auto tokens = text.Load();
  const ModelConfig& config = checkpoint->model.config;
  CheckTokensFit(*tokens, config, "the parent");
  const TeacherLogits::Layout layout{tokens->sequences(), tokens->length, config.vocab_size,
                                     std::min(params.k, config.vocab_size)};
  TeacherLogits::Writer writer(out, layout, {parent.digest(), text.digest()});
  const std::string device = context.device().name();
  const at::ScalarType products = ProductType(params.compute, device);
  const ModelWeights weights = ForWalk(checkpoint->model, products, device);
  const Tensor states = RoomFor({layout.sequences, layout.length, config.hidden_size}, at::kFloat,
                                RoomOfWalk(context));
  const WalkedBatches batches = InParts(states, params.batch, at::Device(device));
  constexpr double kWalk = 0.8;  // the share of the work in front of the head
  EmbedStates(weights, tokens->Batch(0, layout.sequences), batches,
              [&](double) { context.Poll(0); });
  WalkBlocks({weights, products}, 0, config.n_layers(), batches,
             [&](double fraction) { context.Poll(kWalk * fraction); });
  AppendAnswers(
      weights, products, layout.k, batches,
      [&](double fraction) { context.Poll(kWalk + (1 - kWalk) * fraction); }, writer);
  writer.Finish();
}

}  // namespace puzzle
