#include "bench/model_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bench_context.h"
#include "bench/capture.h"
#include "bench/clock.h"
#include "bench/product_rate.h"
#include "bench/useful_flop.h"
#include "graph/kind/kind.h"
#include "graph/kind/value_inputs.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "model/files/open_checkpoint.h"
#include "model/math/product.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/tokenize.h"
#include "nodes/states/activations.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/importance.h"
#include "nodes/train/bld.h"

namespace puzzle {
namespace {

constexpr int64_t kLength = 512;
constexpr const char* kCompute = "bf16";
constexpr double kEpochs = 2;

// How long a step was at what, by what it says when it has done a part of it.
class PhasesContext final : public BenchContext {
 public:
  void Begin() {
    phases_.clear();
    last_ = SpentUntilNow();
  }
  void Poll(double, std::string_view note) override {
    const Spent now = SpentUntilNow();
    phases_[std::string(note.substr(0, note.find(' ')))] += now - last_;
    last_ = now;
  }
  // Processor seconds of what begins with `word`.
  [[nodiscard]] double Processor(const std::string& word) const {
    const auto found = phases_.find(word);
    return found == phases_.end() ? 0 : found->second.processor;
  }

 private:
  std::map<std::string, Spent> phases_;
  Spent last_;
};

// The first layers, unread as it is.
ModelWeights FirstLayers(ModelWeights model, int64_t layers) {
  if (layers <= 0 || layers >= model.config.n_layers()) return model;
  model.config.blocks.resize(static_cast<size_t>(layers));
  model.blocks.resize(static_cast<size_t>(layers));
  return model;
}

class Measurement {
 public:
  explicit Measurement(const ModelSteps& what)
      : what_(what),
        parent_{FirstLayers(OpenCheckpoint(what.model), what.layers), {}, {}, {}},
        layer_(config().n_layers() / 2),
        shapes_(ProductShapes(config(), /*with_head=*/false)) {
    inputs_.Add("parent", "parent", parent_);
    inputs_.Add("tokens", "tokens",
                PackTokens(ReadWholeFile(what.text, 1 << 30), *FindTokenizer(what.model),
                           {.length = kLength, .sequences = what.sequences}));
  }

  void Run() {
    fmt::print(
        "{}, {}; {} x {} tokens, {} layers, variants of layer {}, {} threads, {}\n\n"
        "| step | s | processor s | of it answers | start | training | useful TFLOP | GFLOP/s | "
        "products' | share | GFLOP a processor s | products' a processor s | share of it |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        RuntimeDescription(), ProductLibrary(), what_.sequences, kLength, config().n_layers(),
        layer_, what_.threads, kCompute);
    const double tokens = static_cast<double>(what_.sequences * kLength);
    std::optional<Activations> states;
    Row("activations", tokens * BlocksFlop(config(), kLength), [&] {
      ActivationsParams params;
      params.compute = kCompute;
      states =
          ReadBack([&](ArchiveWriter& out) { RunActivations(params, inputs_, context_, out); });
    });
    inputs_.Add("activations", "states", *states);
    ImportanceParams ranking;
    ranking.batches = std::max<int64_t>(1, what_.sequences / ranking.batch);
    const double ranked = static_cast<double>(ranking.batches * ranking.batch * kLength);
    Importance importance;
    Row("importance", ranked * BlocksFlop(config(), kLength),
        [&] { importance = RunImportance(ranking, inputs_, context_); });
    inputs_.Add("importance", "importance", importance);
    for (const char* variant : {"ffn:75%", "ffn:50%", "ffn:25%", "attn:kv1", "attn:linear"})
      Train(variant);
  }

 private:
  [[nodiscard]] const ModelConfig& config() const { return parent_.model.config; }

  void Row(const std::string& name, double flop, const std::function<void()>& run) {
    Rate products = RateOfProducts(shapes_, ProductType(kCompute, "cpu"), what_.threads);
    context_.Begin();
    const Rate step{flop, SpentOn(run)};
    products += RateOfProducts(shapes_, ProductType(kCompute, "cpu"), what_.threads);
    fmt::print(
        "| {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.3f} | {:.0f} | {:.0f} | {:.2f} | "
        "{:.0f} | {:.0f} | {:.2f} |\n",
        name, step.spent.wall, step.spent.processor, context_.Processor("the"),
        context_.Processor("closed-form"), context_.Processor("loss"), flop / 1e12,
        step.GflopPerSecond(), products.GflopPerSecond(),
        step.GflopPerSecond() / products.GflopPerSecond(), step.GflopPerProcessorSecond(),
        products.GflopPerProcessorSecond(),
        step.GflopPerProcessorSecond() / products.GflopPerProcessorSecond());
    std::fflush(stdout);
  }

  void Train(const std::string& variant) {
    BldParams params;
    params.layer = layer_;
    params.variant = variant;
    params.compute = kCompute;
    params.epochs = kEpochs;
    params.holdout = std::min(params.holdout, what_.sequences / 4);
    const VariantSpec spec = ResolveVariant(variant, config(), layer_);
    const int64_t train = what_.sequences - params.holdout;
    const auto* attention = std::get_if<AttentionSpec>(&spec);
    const bool solved = attention != nullptr && attention->is_linear();
    const double sequences =
        solved
            ? static_cast<double>(std::min(train, params.refit_tokens / kLength))
            : std::ceil(kEpochs * static_cast<double>(train) / static_cast<double>(params.batch)) *
                  static_cast<double>(params.batch);
    const double flop =
        sequences * static_cast<double>(kLength) * TrainingFlop(spec, config(), kLength);
    const auto step = [&] { (void)RunBld(params, inputs_, context_); };
    context_.Forget();
    Row(variant, flop, step);
    Row(variant + ", answers there", flop, step);
  }

  const ModelSteps what_;
  const Checkpoint parent_;
  const int64_t layer_;
  const std::vector<ProductShape> shapes_;
  ValueInputs inputs_;
  PhasesContext context_;
};

}  // namespace

void MeasureModelsSteps(const ModelSteps& what) {
  BindThreadToDevice("cpu");  // no gradients, as on a lane
  SetThreads(what.threads);
  Measurement(what).Run();
}

}  // namespace puzzle
