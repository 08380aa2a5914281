#include "nodes/train/kinds.h"

#include <algorithm>
#include <string>
#include <utility>

#include "graph/kind/unkeyed_as.h"
#include "model/shape/variant.h"

namespace puzzle {

namespace {

// Copies of what is trained: weights, gradients, the two moments of AdamW, and the result.
constexpr double kTrainedCopies = 5;

Resources Occupies(double bytes) {
  return {"", static_cast<uint64_t>(bytes), 0};
}

// fp32, whatever the artifact holds of it and what it leaves in the user's files.
double WeightBytesAt(const char* port, const InputFacts& in) {
  return sizeof(float) * in.Number(port, "parameters");
}

// The optimizer's part of a table, for every kind that trains.
template <class P>
Kind<P>& AddTraining(Kind<P>& kind, std::string lr = "peak learning rate of AdamW") {
  return kind.Param("lr", &P::lr, {Between(0, 1)}, std::move(lr))
      .Param("warmup", &P::warmup, {Between(0, 1)}, "part of the steps until the peak")
      .Param("weight_decay", &P::weight_decay, {Between(0, 1)}, "of matrices")
      .Param("clip", &P::clip, {AtLeast(0)}, "largest gradient norm; 0: no clipping")
      .Param("batch", &P::batch, {Between(1, 1 << 20)},
             "sequences in a step; gradients accumulate over pieces of it that fit the caches")
      .Param("seed", &P::seed, {}, "order of the data and random starts");
}

NodeKind PretrainKind() {
  Kind<PretrainParams> kind("pretrain", 1,
                            "A model trained from scratch: a small Llama as a parent, or, as a "
                            "baseline, another's shape.");
  kind.In("tokens", "tokens", "training text; its length is the model's context")
      .InOptional("like", "checkpoint",
                  "whose shape it takes, blocks that differ included, and no weights; then layers, "
                  "hidden, heads, kv_heads and ffn say nothing")
      .Param("layers", &PretrainParams::layers, {Between(1, 256)}, "blocks")
      .Param("hidden", &PretrainParams::hidden, {Between(2, 1 << 20)}, "hidden size")
      .Param("heads", &PretrainParams::heads, {Between(1, 1 << 16)}, "query heads")
      .Param("kv_heads", &PretrainParams::kv_heads, {Between(1, 1 << 16)}, "key/value heads")
      .Param("ffn", &PretrainParams::ffn, {Between(1, 1 << 20)}, "intermediate size of the FFN")
      .Param("steps", &PretrainParams::steps, {Between(1, 1e12)}, "optimizer steps")
      .Check([](const PretrainParams& p) -> std::optional<std::string> {
        if (p.hidden % (2 * p.heads) != 0) return "hidden must be a multiple of 2 * heads";
        if (p.heads % p.kv_heads != 0) return "kv_heads must divide heads";
        return std::nullopt;
      })
      .Out("checkpoint")
      .On(Needs::kDevice)
      .Takes([](const PretrainParams& p, const InputFacts& in) {
        // At least; a step is known by its shapes (nodes/workloads).
        if (const double like = WeightBytesAt("like", in); like > 0)
          return Occupies(kTrainedCopies * like);
        const int64_t attention = 2 * p.hidden * p.hidden * (p.heads + p.kv_heads) / p.heads;
        const int64_t weights = p.layers * (attention + 3 * p.hidden * p.ffn);
        return Occupies(kTrainedCopies * sizeof(float) * static_cast<double>(weights));
      });
  return AddTraining(kind);
}

NodeKind BldKind() {
  Kind<BldParams> kind("bld", 4,
                       "Blockwise local distillation of one variant of one sub-block, or of a "
                       "whole block (Puzzle, section 3).");
  kind.In("parent", "checkpoint", "the teacher")
      .In("activations", "activations", "its hidden states on the calibration tokens")
      .InOptional("importance", "importance",
                  "which FFN channels and kv heads to keep; else the first ones")
      .InOptional("start", "block", "trains this one further, not a variant made from the parent")
      .Param("layer", &BldParams::layer, {Required(), Between(0, 1 << 16)}, "of the parent")
      .Param("variant", &BldParams::variant, {Required()},
             "attn:kvN attn:kvNqM attn:linear attn:none ffn:N ffn:P% ffn:linear ffn:none; a whole "
             "block: attn:kvN+ffn:P%, none; or start: that of the port")
      .Param("multiple_of", &BldParams::multiple_of, {Between(1, 1 << 20), OncePerGraph()},
             "rounds FFN percentages")
      .Param("kv_merge", &BldParams::kv_merge, {OneOf({"average", "first"})},
             "what fewer kv heads start from: each run's mean, or its first head")
      .Param("loss", &BldParams::loss, {OneOf({"tensor", "token"})},
             "what the squared error is divided by: the answers' mean square, or each token's own")
      .Param("compute", &BldParams::compute, {OneOf({"fp32", "bf16"})},
             "type of the training's products; bf16 only where the device is faster at it")
      .Param("epochs", &BldParams::epochs, {AtLeast(0)}, "passes over the calibration tokens")
      .Param("holdout", &BldParams::holdout, {Between(1, 1e9)},
             "last sequences kept for the reported loss")
      .Param("refit_tokens", &BldParams::refit_tokens, {Between(0, 1e12)},
             "tokens for the closed-form start of the output matrix; 0: none")
      .Check([](const BldParams& p) {
        return p.variant == kVariantOfStart ? std::nullopt : CheckVariantName(p.variant);
      })
      .CheckPorts([](const BldParams& p, const ConnectedPorts& has) -> std::optional<std::string> {
        if (p.variant != kVariantOfStart || has("start")) return std::nullopt;
        return "variant \"start\" is that of the port `start`: connect it";
      })
      .Out("block")
      .On(Needs::kDevice)
      .Takes([](const BldParams&, const InputFacts& in) {
        // A layer's share of the parent. The data is shared, and in files where it is large.
        const double layer =
            WeightBytesAt("parent", in) / std::max(in.Number("activations", "states"), 1.0);
        return Occupies(kTrainedCopies * layer);
      });
  return AddTraining(AddLossOn(kind));
}

NodeKind JoinKind() {
  return Kind<JoinParams>("join", 1,
                          "A whole block from sub-blocks that were trained apart: where coupled "
                          "training begins.")
      .In("parent", "checkpoint", "the model")
      .InList("blocks", "block", "trained sub-blocks; the parent's own need none")
      .Param("layer", &JoinParams::layer, {Required(), Between(0, 1 << 16)}, "of the parent")
      .Param("variant", &JoinParams::variant, {Required()}, "attn:kvN+ffn:P%")
      .Param("multiple_of", &JoinParams::multiple_of, {Between(1, 1 << 20), OncePerGraph()},
             "rounds FFN percentages")
      .Check([](const JoinParams& p) -> std::optional<std::string> {
        if (auto complaint = CheckVariantName(p.variant)) return complaint;
        if (p.variant == "none" || p.variant.find('+') != std::string::npos) return std::nullopt;
        return "\"" + p.variant +
               "\" is not a whole block; expected a pair such as attn:kv1+ffn:50%";
      })
      .Out("block");
}

NodeKind ShortlistKind() {
  return Kind<ShortlistParams>("shortlist", 1,
                               "A whole block that searches liked, joined from trained "
                               "sub-blocks: what is worth coupled training.")
      .In("parent", "checkpoint", "the model")
      .InList("blocks", "block", "trained sub-blocks")
      .InList("choices", "choice", "searches over them: several budgets, a pool")
      .Param("layer", &ShortlistParams::layer, {Required(), Between(0, 1 << 16)}, "of the parent")
      .Param("rank", &ShortlistParams::rank, {Between(1, 1e6)},
             "1: what most of them take there; beyond the last one the parent's own block")
      .Out("block");
}

NodeKind AssembleKind() {
  return Kind<AssembleParams>("assemble", 1, "The child: the parent with the chosen variants.")
      .In("parent", "checkpoint", "the model")
      .InList("blocks", "block", "the trained variants")
      .In("choice", "choice", "what to take")
      .Out("checkpoint");
}

NodeKind TeacherLogitsKind() {
  return Kind<TeacherLogitsParams>("teacher_logits", 1,
                                   "The parent's likeliest words at every token, once for all "
                                   "distillations of its children on these tokens.")
      .In("parent", "checkpoint", "the teacher")
      .In("tokens", "tokens", "training text of `gkd`")
      .Param("k", &TeacherLogitsParams::k, {Between(1, 1 << 16)},
             "words of a token, of which all others together are one more: 4 k + 4 bytes, 6 k + 4 "
             "where the vocabulary has more than 65,536")
      .Param("compute", &TeacherLogitsParams::compute, {OneOf({"fp32", "bf16"})},
             "type of the products, those with the vocabulary too; bf16 only where the device is "
             "faster at it")
      .Param("batch", &TeacherLogitsParams::batch, {Between(1, 1 << 20), Unkeyed()},
             "sequences at a time")
      .Out("teacher_logits")
      .On(Needs::kDevice);
}

NodeKind GkdKind() {
  Kind<GkdParams> kind("gkd", 4,
                       "Global knowledge distillation: repairs an assembled child (Puzzle, "
                       "section 5).");
  kind.In("teacher", "checkpoint", "the parent")
      .In("student", "checkpoint", "the child")
      .In("tokens", "tokens", "training text")
      .InOptional("activations", "activations",
                  "the teacher's states on the same tokens: saves its forward pass")
      .InOptional("precision", "precision",
                  "the types that a file is to hold the student in: trains what its readers will "
                  "compute with; the result is in full precision, for `quantize` and `export` with "
                  "the same types")
      .InOptional("teacher_logits", "teacher_logits",
                  "the teacher's likeliest words on the same tokens, which take the place of its "
                  "forward pass: the loss is the KL of them and of the rest as one, and "
                  "`cosine_weight` 0, unless `activations` have the states; the KL held out stays "
                  "the whole one")
      .Param("steps", &GkdParams::steps, {Between(1, 1e12)}, "optimizer steps")
      .Param("train", &GkdParams::train, {OneOf({"all", "changed", "norms", "adapters"})},
             "the whole child; its sub-blocks that are not the teacher's; norms, biases and the "
             "last matrices of sub-blocks; low-rank adapters of all matrices of blocks, merged at "
             "the end")
      .Param("rank", &GkdParams::rank, {Between(1, 1 << 20)}, "of adapters")
      .Param("checks", &GkdParams::checks, {Between(1, 1 << 20)},
             "how often the KL held out is taken and the best state kept, beside the first time")
      .Param("patience", &GkdParams::patience, {Between(0, 1 << 20)},
             "ends after so many checks without a better state; 0: makes all steps")
      .Param("compute", &GkdParams::compute, {OneOf({"fp32", "bf16"})},
             "type of the products in both models' blocks; bf16 only where the device is faster")
      .Param("head_compute", &GkdParams::head_compute,
             {OneOf({"auto", "fp32", "bf16"}), UnkeyedAs("auto")},
             "type of the products with the vocabulary, auto: as `compute`; what is held out is "
             "measured in fp32")
      .Param("recompute", &GkdParams::recompute, {OneOf({"auto", "on", "off"}), Unkeyed()},
             "blocks again for their gradients instead of keeping them (activation checkpointing): "
             "same bits, less memory, a fifth more time; auto: where the memory is short, as the "
             "step's warning then says")
      .Param("kl_weight", &GkdParams::kl_weight, {AtLeast(0)}, "of KL(teacher || student)")
      .Param("cosine_weight", &GkdParams::cosine_weight, {AtLeast(0)},
             "of the hidden states' cosine loss")
      .Param("lm_weight", &GkdParams::lm_weight, {AtLeast(0)}, "of the cross entropy")
      .Param(
          "holdout", &GkdParams::holdout, {Between(0, 1e9)},
          "last sequences, a quarter at most, by whose KL the best state is kept, the child as it "
          "was included; 0: the last state is the result")
      .Param("dtype", &GkdParams::dtype, {OneOf({"fp32", "bf16"}), UnkeyedAs("fp32")},
             "what the weights are rounded to at the end, before the KL held out is taken for the "
             "last time: bf16 takes half the disk, and is what products in bf16 see anyway")
      .Param("devices", &GkdParams::devices, {Between(1, 64), Unkeyed()},
             "lanes of a run, of one type of device, that it takes together and that share each "
             "batch: on cpu lanes, of which four are of use, to the same bits as one")
      .Check([](const GkdParams& p) -> std::optional<std::string> {
        if (p.kl_weight == 0 && p.cosine_weight == 0 && p.lm_weight == 0)
          return "kl_weight, cosine_weight and lm_weight are 0, so that nothing is learned from: "
                 "give one of them a weight";
        if (p.devices <= p.batch) return std::nullopt;
        return "devices must be at most batch: each takes whole sequences of a step";
      })
      .CheckPorts([](const GkdParams& p, const ConnectedPorts& has) -> std::optional<std::string> {
        if (!has("teacher_logits") || p.cosine_weight == 0 || has("activations"))
          return std::nullopt;
        return "the teacher's logits do not have the hidden states that `cosine_weight` compares: "
               "set it to 0, or connect `activations` too";
      })
      .Out("checkpoint")
      .On(Needs::kDevice)
      .Takes([](const GkdParams& p, const InputFacts& in) {
        // At least; the rest of the models and a step are known by their shapes (nodes/workloads).
        constexpr double kStudents = 4;  // weights, gradients, the two moments
        Resources resources =
            Occupies((p.train == "all" ? kStudents : 1) * WeightBytesAt("student", in));
        resources.lanes = static_cast<int>(p.devices);
        return resources;
      });
  return AddTraining(AddLossOn(kind),
                     "peak learning rate of AdamW; 0: 0.1 / hidden size, at most 5e-4");
}

}  // namespace

std::vector<NodeKind> TrainKinds() {
  return {PretrainKind(), BldKind(),           JoinKind(), ShortlistKind(),
          AssembleKind(), TeacherLogitsKind(), GkdKind()};
}

}  // namespace puzzle
