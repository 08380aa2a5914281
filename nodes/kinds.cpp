// The catalogue of kinds. To add one:
//   1. its parameters in nodes/params.h, its artifact (if new) in nodes/artifacts.h;
//   2. nodes/foo.{h,cpp}: the algorithm as a plain function, and `RunFoo(params, inputs, context)`;
//   3. a table below and a line in PuzzleKinds();
//   4. a line in nodes/bodies.cpp, the source in nodes/CMakeLists.txt, tests/nodes/foo_test.cpp.
// Raise `version` when equal inputs should give a different result than before.
#include "nodes/kinds.h"

#include <algorithm>

#include "io/error.h"
#include "model/files/checkpoint_digest.h"
#include "model/shape/metrics.h"
#include "model/shape/variant.h"
#include "nodes/params.h"
#include "nodes/search/frontier.h"
#include "nodes/search/variant_table.h"
#include "nodes/solver/search_methods.h"

namespace puzzle {

namespace {

NodeKind SyntheticTextKind() {
  return Kind<SyntheticTextParams>("synthetic_text", 1,
                                   "Small generated stories with names and facts used again later.")
      .Param("stories", &SyntheticTextParams::stories, {Between(1, 1e7)}, "how many stories")
      .Param("seed", &SyntheticTextParams::seed, {}, "other seeds give other stories")
      .Out("text");
}

NodeKind LoadModelKind() {
  return Kind<LoadModelParams>("load_model", 1, "A Hugging Face checkpoint folder of a Llama.")
      .Param("path", &LoadModelParams::path, {Required(), InputFolder(DigestCheckpoint)},
             "folder with config.json, safetensors and a tokenizer")
      .Out("checkpoint");
}

NodeKind TokenizeKind() {
  return Kind<TokenizeParams>("tokenize", 1,
                              "Text as equal sequences of token ids, BOS before each document.")
      .InOptional("model", "checkpoint", "whose tokenizer to use")
      .InOptional("text", "text", "the text, unless it is a file")
      .Param("text", &TokenizeParams::text, {InputFile()}, "a text file, unless the port gives it")
      .Param("tokenizer", &TokenizeParams::tokenizer, {OneOf({"model", "byte"})},
             "the model's own, or one id per byte")
      .Param("separator", &TokenizeParams::separator, {}, "what stands between documents")
      .Param("length", &TokenizeParams::length, {Between(2, 1 << 24)}, "tokens in a sequence")
      .Param("sequences", &TokenizeParams::sequences, {AtLeast(0)}, "how many; 0: all")
      .Param("take", &TokenizeParams::take, {OneOf({"first", "last"})},
             "which, when there are more")
      .Out("tokens");
}

// Copies of what is trained: weights, gradients, the two moments of AdamW, and the result.
constexpr double kTrainedCopies = 5;

Resources Occupies(double bytes) {
  return {"", static_cast<uint64_t>(bytes), 0};
}

// The optimizer's part of a table, for every kind that trains.
template <class P>
Kind<P>& AddTraining(Kind<P>& kind) {
  return kind.Param("lr", &P::lr, {Between(0, 1)}, "peak learning rate of AdamW")
      .Param("warmup", &P::warmup, {Between(0, 1)}, "part of the steps until the peak")
      .Param("weight_decay", &P::weight_decay, {Between(0, 1)}, "of matrices")
      .Param("clip", &P::clip, {AtLeast(0)}, "largest gradient norm; 0: no clipping")
      .Param("batch", &P::batch, {AtLeast(1)},
             "sequences in a step; gradients accumulate over pieces of it that fit the caches")
      .Param("seed", &P::seed, {}, "order of the data and random starts");
}

NodeKind PretrainKind() {
  Kind<PretrainParams> kind("pretrain", 1, "A small Llama trained from scratch: a parent.");
  kind.In("tokens", "tokens", "training text; its length is the model's context")
      .Param("layers", &PretrainParams::layers, {Between(1, 256)}, "blocks")
      .Param("hidden", &PretrainParams::hidden, {AtLeast(2)}, "hidden size")
      .Param("heads", &PretrainParams::heads, {AtLeast(1)}, "query heads")
      .Param("kv_heads", &PretrainParams::kv_heads, {AtLeast(1)}, "key/value heads")
      .Param("ffn", &PretrainParams::ffn, {AtLeast(1)}, "intermediate size of the FFN")
      .Param("steps", &PretrainParams::steps, {AtLeast(1)}, "optimizer steps")
      .Check([](const PretrainParams& p) -> std::optional<std::string> {
        if (p.hidden % (2 * p.heads) != 0) return "hidden must be a multiple of 2 * heads";
        if (p.heads % p.kv_heads != 0) return "kv_heads must divide heads";
        return std::nullopt;
      })
      .Out("checkpoint")
      .On(Needs::kDevice)
      .Takes([](const PretrainParams& p, const InputFacts&) {
        const int64_t attention = 2 * p.hidden * p.hidden * (p.heads + p.kv_heads) / p.heads;
        const int64_t weights = p.layers * (attention + 3 * p.hidden * p.ffn);
        return Occupies(kTrainedCopies * sizeof(float) * static_cast<double>(weights));
      });
  return AddTraining(kind);
}

NodeKind ActivationsKind() {
  return Kind<ActivationsParams>("activations", 1,
                                 "The parent's hidden state at every layer input, captured once.")
      .In("parent", "checkpoint", "the model to run")
      .In("tokens", "tokens", "what to run it on")
      .Param("dtype", &ActivationsParams::dtype, {OneOf({"bf16", "fp32"})},
             "bf16 is half the size; fp32 for scores")
      .Param("compute", &ActivationsParams::compute, {OneOf({"fp32", "bf16"})},
             "type of the products; bf16 only where the device is faster at it")
      .Param("keep", &ActivationsParams::keep, {OneOf({"all", "online"})},
             "online stores nothing but the tokens: what is needed is computed when it is needed")
      .Param("max_mib", &ActivationsParams::max_mib, {AtLeast(0)},
             "keep only every k-th state, so that they fit into this; 0: no limit")
      .Param("batch", &ActivationsParams::batch, {AtLeast(1), Unkeyed()}, "sequences at a time")
      .Out("activations")
      .On(Needs::kDevice);
}

NodeKind ImportanceKind() {
  return Kind<ImportanceParams>("importance", 1,
                                "Which FFN channels and kv heads of the parent matter.")
      .In("parent", "checkpoint", "the model")
      .In("activations", "activations", "its hidden states")
      .Param("method", &ImportanceParams::method,
             {OneOf({"iterative", "independent", "l2_norm", "truncate", "random"})},
             "of ranking FFN channels: iterative or independent contribution, l2 norm of activity; "
             "the first ones or any, to compare with")
      .Param("batches", &ImportanceParams::batches, {AtLeast(1)},
             "batches, and rounds of the iterative method")
      .Param("batch", &ImportanceParams::batch, {AtLeast(1)}, "sequences in a batch")
      .Param("seed", &ImportanceParams::seed, {Between(0, 1 << 30)}, "of method random")
      .Out("importance")
      .On(Needs::kDevice);
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
      .Param("layer", &BldParams::layer, {Required(), AtLeast(0)}, "of the parent")
      .Param("variant", &BldParams::variant, {Required()},
             "attn:kvN attn:kvNqM attn:linear attn:none ffn:N ffn:P% ffn:linear ffn:none; a whole "
             "block: attn:kvN+ffn:P%, none; or start: that of the port")
      .Param("multiple_of", &BldParams::multiple_of, {AtLeast(1)}, "rounds FFN percentages")
      .Param("kv_merge", &BldParams::kv_merge, {OneOf({"average", "first"})},
             "what fewer kv heads start from: each run's mean, or its first head")
      .Param("loss", &BldParams::loss, {OneOf({"tensor", "token"})},
             "what the squared error is divided by: the answers' mean square, or each token's own")
      .Param("compute", &BldParams::compute, {OneOf({"fp32", "bf16"})},
             "type of the training's products; bf16 only where the device is faster at it")
      .Param("epochs", &BldParams::epochs, {AtLeast(0)}, "passes over the calibration tokens")
      .Param("holdout", &BldParams::holdout, {AtLeast(1)},
             "last sequences kept for the reported loss")
      .Param("refit_tokens", &BldParams::refit_tokens, {AtLeast(0)},
             "tokens for the closed-form start of the output matrix; 0: none")
      .Check([](const BldParams& p) {
        return p.variant == kVariantOfStart ? std::nullopt : CheckVariantName(p.variant);
      })
      .Out("block")
      .On(Needs::kDevice)
      .Takes([](const BldParams&, const InputFacts& in) {
        // A layer's share of the parent. The data is shared, and in files where it is large.
        const double layer = static_cast<double>(in.Bytes("parent")) /
                             std::max(in.Number("activations", "states"), 1.0);
        return Occupies(kTrainedCopies * layer);
      });
  return AddTraining(kind);
}

NodeKind JoinKind() {
  return Kind<JoinParams>("join", 1,
                          "A whole block from sub-blocks that were trained apart: where coupled "
                          "training begins.")
      .In("parent", "checkpoint", "the model")
      .InList("blocks", "block", "trained sub-blocks; the parent's own need none")
      .Param("layer", &JoinParams::layer, {Required(), AtLeast(0)}, "of the parent")
      .Param("variant", &JoinParams::variant, {Required()}, "attn:kvN+ffn:P%")
      .Param("multiple_of", &JoinParams::multiple_of, {AtLeast(1)}, "rounds FFN percentages")
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
      .Param("layer", &ShortlistParams::layer, {Required(), AtLeast(0)}, "of the parent")
      .Param("rank", &ShortlistParams::rank, {AtLeast(1)},
             "1: what most of them take there; beyond the last one the parent's own block")
      .Out("block");
}

NodeKind ScoreKind() {
  return Kind<ScoreParams>(
             "score", 4,
             "Damage to a whole model when a sub-block or block is replaced: KL from the "
             "parent, NLL, accuracies, cosine and normalised MSE of the final states.")
      .In("parent", "checkpoint", "whose distribution is the measure")
      .In("activations", "activations", "its hidden states on validation tokens, best in fp32")
      .In("block", "block", "the replacement")
      .InOptional("context", "checkpoint", "the model to replace it in; else the parent itself")
      .InOptional("context_activations", "activations", "the hidden states of that model")
      .Param("batch", &ScoreParams::batch, {AtLeast(1), Unkeyed()}, "sequences at a time")
      .Out("score")
      .On(Needs::kDevice);
}

std::optional<std::string> CheckVariantNames(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (auto complaint = CheckVariantName(name)) return complaint;
  return std::nullopt;
}

NodeKind CostKind() {
  const std::vector<std::string> dtypes = {"fp32", "bf16", "fp16", "fp8"};
  return Kind<CostParams>("cost", 3,
                          "What every variant costs to serve: parameters, memory, kv heads, "
                          "arithmetic, and time (measured, or estimated for a device).")
      .In("parent", "checkpoint", "the model")
      .InOptional("latencies", "latencies", "measured times at the same batch and lengths")
      .Param("variants", &CostParams::variants, {Required()}, "as in bld")
      .Param("multiple_of", &CostParams::multiple_of, {AtLeast(1)}, "rounds FFN percentages")
      .Param("batch", &CostParams::batch, {AtLeast(1)}, "sequences served at once")
      .Param("prefill", &CostParams::prefill, {AtLeast(1)}, "tokens of a prompt")
      .Param("generation", &CostParams::generation, {AtLeast(0)}, "tokens generated after it")
      .Param("weights", &CostParams::weights, {OneOf(dtypes)}, "type of weights when serving")
      .Param("activations", &CostParams::activations, {OneOf(dtypes)}, "type of hidden states")
      .Param("kv", &CostParams::kv, {OneOf(dtypes)}, "type of the KV cache")
      .Param("compat", &CostParams::compat, {OneOf({"none", "puzzletron"})},
             "puzzletron: its counts, with hidden/heads as head_dim of the KV cache and tied "
             "embeddings twice")
      .Param(
          "device", &CostParams::device, {InputFile()},
          "such as configs/devices/h100.json: adds estimated times, unless there are measured ones")
      .Check([](const CostParams& p) -> std::optional<std::string> {
        return CheckVariantNames(p.variants);
      })
      .Out("costs");
}

// What is served at once, for the kinds that measure time.
template <class P>
Kind<P>& AddServing(Kind<P>& kind) {
  return kind
      .Param("device", &P::device, {OneOf({"cpu", "cuda"})}, "the kind of lane to measure on")
      .Param("batch", &P::batch, {AtLeast(1)}, "sequences served at once")
      .Param("prefill", &P::prefill, {AtLeast(1)}, "tokens of every prompt")
      .Param("generation", &P::generation, {AtLeast(1)}, "tokens decoded for every prompt")
      .Param("seconds", &P::seconds, {Between(0.001, 3600)}, "spent on every figure")
      .On(Needs::kQuietDevice)
      .Takes([](const P& p, const InputFacts&) {
        return Resources{p.device, 0, 0};
      });
}

NodeKind LatencyKind() {
  Kind<LatencyParams> kind("latency", 2,
                           "Measured prefill and decode times of every variant's shape.");
  kind.In("parent", "checkpoint", "the model whose shapes count; its weights do not")
      .Param("variants", &LatencyParams::variants, {Required()}, "as in bld")
      .Param("multiple_of", &LatencyParams::multiple_of, {AtLeast(1)}, "rounds FFN percentages")
      .Param("copies", &LatencyParams::copies, {Between(0, 1024)},
             "how many copies a time is taken from; 0: one per layer, at most eight")
      .Check([](const LatencyParams& p) { return CheckVariantNames(p.variants); })
      .Out("latencies");
  return AddServing(kind);
}

NodeKind ModelLatencyKind() {
  Kind<ModelLatencyParams> kind("model_latency", 2,
                                "Measured prefill and decode times of a whole model.");
  kind.In("model", "checkpoint", "what to measure")
      .InOptional("times", "latencies", "to predict the same from its parts")
      .Param("label", &ModelLatencyParams::label, {}, "its name in tables")
      .Out("model_latency");
  return AddServing(kind);
}

std::string Objectives() {
  std::string names;
  for (const MetricInfo& info : AllMetrics()) {
    names += names.empty() ? "" : ", ";
    names += info.objective;
  }
  return names;
}

// Scores hold all that can be measured.
std::optional<std::string> CheckMetric(const std::string& metric) {
  for (const MetricInfo& info : AllMetrics()) {
    if (info.objective == metric) return std::nullopt;
  }
  return "objective: unknown metric \"" + metric + "\"; there are " + Objectives();
}

// What is wrong with an objective and limits before the resources are known.
std::optional<std::string> CheckQuery(const nlohmann::json& objective, const nlohmann::json& min,
                                      const nlohmann::json& max) {
  try {
    for (const auto& [metric, weight] : ReadObjective(objective)) {
      if (auto complaint = CheckMetric(metric)) return complaint;
    }
  } catch (const Error& error) {
    return error.what();
  }
  if (!min.is_object()) return "min: expected {resource: limit}";
  if (!max.is_object()) return "max: expected {resource: limit}";
  return std::nullopt;
}

NodeKind SearchKind() {
  return Kind<SearchParams>("search", 2,
                            "One variant for every sub-block, least damage within the limits "
                            "(Puzzle, section 4.3).")
      .InList("scores", "score", "damage per variant")
      .InList("costs", "costs", "cost per variant; tables of several batch sizes search that too")
      .Param("objective", &SearchParams::objective, {},
             "the damage to minimise: " + Objectives() +
                 ", or weights: {\"kl\": 1, \"lm_loss\": 0.2}; an accuracy's damage is its loss")
      .Param("method", &SearchParams::method, {OneOf(SearchMethods())},
             "exact or cbc for the optimum, or a baseline")
      .Param("max", &SearchParams::max, {},
             "resource -> limit: {\"memory_mib\": 900, \"block_parameters\": \"70%\"}; also "
             "latency_ms, time_to_first_token_ms")
      .Param("min", &SearchParams::min, {},
             "resource -> least use; also throughput (generated tokens per second)")
      .Param("time_limit_s", &SearchParams::time_limit_s, {AtLeast(0.01)}, "for the solver")
      .Param("seed", &SearchParams::seed, {}, "for random, evolution and policy")
      .Param("pool", &SearchParams::pool, {AtLeast(1)}, "solutions to look for, best first")
      .Param("distance", &SearchParams::distance, {AtLeast(1)},
             "in how many sub-blocks each of them differs from all before")
      .Param("rank", &SearchParams::rank, {AtLeast(1)}, "which of them to take")
      .Param("compare", &SearchParams::compare, {}, "report what other methods find")
      .Check([](const SearchParams& p) -> std::optional<std::string> {
        if (p.rank > p.pool) return "rank must not exceed pool";
        return CheckQuery(p.objective, p.min, p.max);
      })
      .Out("choice");
}

NodeKind BestKind() {
  return Kind<BestParams>("best", 1, "The model that was measured to be closest to its parent.")
      .InList("models", "checkpoint", "the candidates")
      .InList("evaluations", "evaluation", "how good they are: one for each, with a parent")
      .Out("checkpoint");
}

NodeKind AdditivityKind() {
  return Kind<AdditivityParams>("additivity", 1,
                                "What whole blocks and children lose, beside the sums of their "
                                "parts' scores.")
      .In("parent", "checkpoint", "whose own sub-blocks add nothing")
      .InList("scores", "score", "of sub-blocks and of whole blocks")
      .InList("children", "evaluation", "with a parent and a choice: measured KL and sum of scores")
      .Out("report");
}

NodeKind SweepKind() {
  return Kind<SweepParams>("sweep", 1,
                           "The best children for many budgets and batch sizes: the frontier, as a "
                           "table and a picture.")
      .InList("scores", "score", "damage per variant")
      .InList("costs", "costs", "cost per variant; one table per batch size")
      .Param("budgets", &SweepParams::budgets, {Required()},
             "RESOURCE=FROM..TO:POINTS such as memory_mib=50%..100%:20; \":bisect\" behind it "
             "refines where the objective changes most")
      .Param("objective", &SweepParams::objective, {}, "as in search")
      .Param("max", &SweepParams::max, {}, "further limits, as in search")
      .Param("min", &SweepParams::min, {}, "further limits, as in search")
      .Param("baselines", &SweepParams::baselines, {OneOf(SearchMethods())},
             "methods to draw beside the optimum")
      .Param("time_limit_s", &SweepParams::time_limit_s, {AtLeast(0.01)}, "per budget")
      .Param("seed", &SweepParams::seed, {}, "for random, evolution and policy")
      .Check([](const SweepParams& p) -> std::optional<std::string> {
        try {
          (void)ReadBudgetRange(p.budgets);
        } catch (const Error& error) {
          return std::string("budgets: ") + error.what();
        }
        return CheckQuery(p.objective, p.min, p.max);
      })
      .Out("frontier");
}

NodeKind BlockLibraryKind() {
  return Kind<BlockLibraryParams>("block_library", 1,
                                  "Writes scores and costs as a block library (JSON) for `puzzle "
                                  "search` and NVlabs' notebook.")
      .InList("scores", "score", "damage per variant")
      .In("costs", "costs", "cost per variant")
      .Param("folder", &BlockLibraryParams::folder, {Required(), OutputFolder()}, "where to")
      .Out("export");
}

NodeKind AssembleKind() {
  return Kind<AssembleParams>("assemble", 1, "The child: the parent with the chosen variants.")
      .In("parent", "checkpoint", "the model")
      .InList("blocks", "block", "the trained variants")
      .In("choice", "choice", "what to take")
      .Out("checkpoint");
}

NodeKind GkdKind() {
  Kind<GkdParams> kind("gkd", 2,
                       "Global knowledge distillation: repairs an assembled child (Puzzle, "
                       "section 5).");
  kind.In("teacher", "checkpoint", "the parent")
      .In("student", "checkpoint", "the child")
      .In("tokens", "tokens", "training text")
      .InOptional("activations", "activations",
                  "the teacher's states on the same tokens: saves its forward pass")
      .Param("steps", &GkdParams::steps, {AtLeast(1)}, "optimizer steps")
      .Param("compute", &GkdParams::compute, {OneOf({"fp32", "bf16"})},
             "type of the products in both models' blocks; bf16 only where the device is faster")
      .Param("kl_weight", &GkdParams::kl_weight, {AtLeast(0)}, "of KL(teacher || student)")
      .Param("cosine_weight", &GkdParams::cosine_weight, {AtLeast(0)},
             "of the hidden states' cosine loss")
      .Param("lm_weight", &GkdParams::lm_weight, {AtLeast(0)}, "of the cross entropy")
      .Out("checkpoint")
      .On(Needs::kDevice)
      .Takes([](const GkdParams&, const InputFacts& in) {
        return Occupies(kTrainedCopies * static_cast<double>(in.Bytes("student")));
      });
  return AddTraining(kind);
}

NodeKind EvaluateKind() {
  return Kind<EvaluateParams>("evaluate", 4, "Quality of a model on held-out text.")
      .In("model", "checkpoint", "what to measure")
      .InOptional("parent", "checkpoint", "to compare with: KL, cosine and normalised MSE")
      .In("tokens", "tokens", "held-out text")
      .InOptional("choice", "choice",
                  "the search it came from: its sum of KL scores is shown beside the measured KL")
      .Param("label", &EvaluateParams::label, {}, "its name in tables")
      .Param("series", &EvaluateParams::series, {}, "the curve it belongs to in a report's picture")
      .Param("positions", &EvaluateParams::positions, {AtLeast(0)}, "predictions; 0: all")
      .Param("batch", &EvaluateParams::batch, {AtLeast(1), Unkeyed()}, "sequences at a time")
      .Param("questions", &EvaluateParams::questions, {InputFile()},
             "multiple-choice questions to answer: JSON lines (BLiMP pairs too) or CSV")
      .Param("max_questions", &EvaluateParams::max_questions, {AtLeast(0)},
             "the first ones; 0: all")
      .Param("prompt", &EvaluateParams::prompt, {}, "start of a sample")
      .Param("sample_tokens", &EvaluateParams::sample_tokens, {AtLeast(0)},
             "tokens to continue it by")
      .Out("evaluation")
      .On(Needs::kDevice);
}

NodeKind ExportKind() {
  return Kind<ExportParams>("export", 2, "Writes a checkpoint as a Hugging Face folder.")
      .In("model", "checkpoint", "what to write")
      .Param("folder", &ExportParams::folder, {Required(), OutputFolder()}, "where to")
      .Out("export");
}

NodeKind ReportKind() {
  return Kind<ReportParams>(
             "report", 3,
             "A table of evaluations, the architecture, samples; a picture of KL against size, if "
             "evaluations name their series.")
      .InList("rows", "evaluation", "the models to compare")
      .InOptional("choice", "choice", "the child's architecture")
      .InOptional("exported", "export", "where the files are")
      .Param("order", &ReportParams::order, {}, "labels, top to bottom")
      .Param("main", &ReportParams::main, {},
             "series that the picture is about; the others are baselines")
      .Param("loose", &ReportParams::loose, {}, "series whose points are not joined")
      .Out("report");
}

}  // namespace

std::vector<NodeKind> PuzzleKinds() {
  return {ActivationsKind(), AdditivityKind(),    AssembleKind(),     BestKind(),
          BldKind(),         BlockLibraryKind(),  CostKind(),         EvaluateKind(),
          ExportKind(),      GkdKind(),           ImportanceKind(),   JoinKind(),
          LatencyKind(),     LoadModelKind(),     ModelLatencyKind(), PretrainKind(),
          ReportKind(),      ScoreKind(),         SearchKind(),       ShortlistKind(),
          SweepKind(),       SyntheticTextKind(), TokenizeKind()};
}

}  // namespace puzzle
