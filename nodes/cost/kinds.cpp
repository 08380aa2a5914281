#include "nodes/cost/kinds.h"

#include "graph/kind/unkeyed_as.h"
#include "model/files/checkpoint_digest.h"
#include "model/shape/variant.h"

namespace puzzle {

namespace {

std::optional<std::string> CheckVariantNames(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (auto complaint = CheckVariantName(name)) return complaint;
  return std::nullopt;
}

// What is served at once, for the kinds that measure time.
template <class P>
Kind<P>& AddServing(Kind<P>& kind) {
  return kind
      .Param("device", &P::device, {OneOf({"cpu", "cuda"})}, "the kind of lane to measure on")
      .Param("batch", &P::batch, {Between(1, 1 << 20)}, "sequences served at once")
      .Param("prefill", &P::prefill, {Between(1, 1 << 24)}, "tokens of every prompt")
      .Param("generation", &P::generation, {Between(1, 1 << 24)}, "tokens decoded for every prompt")
      .Param("seconds", &P::seconds, {Between(0.001, 3600)}, "spent on every figure")
      .On(Needs::kQuietDevice)
      .Takes([](const P& p, const InputFacts&) {
        return Resources{p.device, 0, 0};
      });
}

NodeKind CostKind() {
  const std::vector<std::string> dtypes = {"fp32", "bf16", "fp16", "fp8"};
  return Kind<CostParams>("cost", 4,
                          "What every variant costs to serve: parameters, memory, kv heads, "
                          "arithmetic, and time (measured, or estimated for a device).")
      .InOptional("parent", "checkpoint", "the model, unless `path` names it")
      .InOptional("latencies", "latencies", "measured times at the same batch and lengths")
      .Param("path", &CostParams::path, {InputFolder(DigestConfig), UnkeyedAs("")},
             "of a checkpoint, of which only the shapes are read and no weight: a folder with "
             "config.json, or a .gguf")
      .Param("variants", &CostParams::variants, {Required()}, "as in bld")
      .Param("multiple_of", &CostParams::multiple_of, {Between(1, 1 << 20), OncePerGraph()},
             "rounds FFN percentages")
      .Param("batch", &CostParams::batch, {Between(1, 1 << 20)}, "sequences served at once")
      .Param("prefill", &CostParams::prefill, {Between(1, 1 << 24)}, "tokens of a prompt")
      .Param("generation", &CostParams::generation, {Between(0, 1 << 24)},
             "tokens generated after it")
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
      .CheckPorts([](const CostParams& p, const ConnectedPorts& has) -> std::optional<std::string> {
        if (p.path.empty() == has("parent")) return std::nullopt;
        return "give the model one way: by the port `parent`, or by the parameter `path`, of which "
               "no weight is read";
      })
      .Out("costs");
}

NodeKind LatencyKind() {
  Kind<LatencyParams> kind("latency", 2,
                           "Measured prefill and decode times of every variant's shape.");
  kind.In("parent", "checkpoint", "the model whose shapes count; its weights do not")
      .Param("variants", &LatencyParams::variants, {Required()}, "as in bld")
      .Param("multiple_of", &LatencyParams::multiple_of, {Between(1, 1 << 20), OncePerGraph()},
             "rounds FFN percentages")
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

NodeKind BenchKind() {
  return Kind<BenchParams>(
             "bench", 1,
             "How fast a model reads prompts and writes text on the CPU, in turn with "
             "its parent, as `puzzle bench` measures it.")
      .In("model", "checkpoint", "what to measure")
      .InOptional("parent", "checkpoint", "to measure in turn with it, and compare with")
      .Param("label", &BenchParams::label, {}, "its name in tables")
      .Param("dtype", &BenchParams::dtype, {OneOf({"fp32", "bf16", "int8"})},
             "weights; keys and values are bf16 but for fp32")
      .Param("batch", &BenchParams::batch, {Between(1, 1 << 20)}, "sequences side by side")
      .Param("prefill", &BenchParams::prefill, {Between(1, 1 << 24)}, "tokens of every prompt")
      .Param("decode", &BenchParams::decode, {Between(1, 1 << 24)}, "tokens written behind it")
      .Param("rounds", &BenchParams::rounds, {Between(1, 1000)}, "turns of each model")
      .Param("threads", &BenchParams::threads, {Between(0, 4096)}, "0: as many as a step gets")
      .Out("bench")
      .On(Needs::kQuietDevice)
      .Takes([](const BenchParams&, const InputFacts&) {
        return Resources{"cpu", 0, 0};
      });
}

NodeKind SpeedReportKind() {
  return Kind<SpeedReportParams>("speed_report", 1,
                                 "What children keep of their parent's task accuracy and how much "
                                 "faster they write: a table, and the best at either.")
      .InList("evaluations", "evaluation", "the parent's own, and one for each child, with tasks")
      .InList("benches", "bench", "of the children, by the same labels, beside their parent")
      .Param("keep", &SpeedReportParams::keep, {Between(0, 1000)},
             "per cent of the parent's task accuracy")
      .Param("speedup", &SpeedReportParams::speedup, {Between(0, 1e6)},
             "times the parent's decode throughput")
      .Param("batch", &SpeedReportParams::batch, {Between(0, 1 << 20)},
             "whose throughput counts; 0: the largest that was measured")
      .Out("report");
}

}  // namespace

std::vector<NodeKind> CostKinds() {
  return {CostKind(), LatencyKind(), ModelLatencyKind(), BenchKind(), SpeedReportKind()};
}

}  // namespace puzzle
