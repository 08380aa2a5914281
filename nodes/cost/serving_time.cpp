#include "nodes/cost/serving_time.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "io/clock.h"
#include "io/error.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

constexpr size_t kMinRounds = 3;
constexpr size_t kMaxRounds = 1000;
constexpr double kShortest_s = 2e-3;  // a round is repeated until it takes this long

/// A forward pass over a batch in service, its sequences shared out among threads.
class Pass {
 public:
  /// One part of the batch: `rows` sequences behind what `cache` holds.
  using Part = std::function<void(const Tensor& input, KvCache& cache)>;

  /// `input(rows)` makes the input of a part, `cache(rows)` what precedes it.
  Pass(int64_t batch, const at::Device& device, const std::function<Tensor(int64_t)>& input,
       const std::function<KvCache(int64_t)>& cache)
      : device_(device) {
    const int64_t parts = RowParts(batch, device);
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t rows = batch * (part + 1) / parts - batch * part / parts;
      inputs_.push_back(input(rows));
      caches_.push_back(cache(rows));
    }
  }

  double Seconds(const Part& part, int repeats) const {
    const double begin = MonotonicSeconds();
    for (int i = 0; i < repeats; ++i) {
      ParallelFor(static_cast<int64_t>(inputs_.size()), [&](int64_t index) {
        KvCache cache = caches_[static_cast<size_t>(index)];  // handles: every pass starts alike
        part(inputs_[static_cast<size_t>(index)], cache);
      });
    }
    Synchronize(device_.str());
    return (MonotonicSeconds() - begin) / repeats;
  }

  /// Warms up, and tells how often to repeat a pass so that the clock does not matter.
  int Repeats(const Part& part) const {
    static_cast<void>(Seconds(part, 1));
    const double once = std::max(Seconds(part, 1), 1e-7);
    return static_cast<int>(std::clamp(std::ceil(kShortest_s / once), 1.0, 1e4));
  }

 private:
  at::Device device_;
  std::vector<Tensor> inputs_;
  std::vector<KvCache> caches_;
};

/// Adds rounds until the effort is spent.
void Repeat(const TimingEffort& effort, const std::function<Round(size_t index)>& measure,
            std::vector<Round>& rounds) {
  const double end = MonotonicSeconds() + effort.seconds;
  for (size_t i = 0; i < kMinRounds || (MonotonicSeconds() < end && i < kMaxRounds); ++i) {
    rounds.push_back(measure(i));
    effort.poll();
  }
}

/// A cache that holds `positions` random tokens of every sequence and has room for the whole load.
KvCache RandomCache(const ModelConfig& config, int64_t rows, int64_t positions,
                    const ServingLoad& load, const at::TensorOptions& options) {
  KvCache cache(config.n_layers(), load.prefill + load.generation);
  cache.positions = positions;
  for (size_t i = 0; i < config.blocks.size(); ++i) {
    const AttentionSpec& attention = config.blocks[i].attention;
    if (!attention.is_full()) continue;
    const Shape shape = {rows, positions, attention.n_kv_heads, config.head_dim};
    cache.layers[i].Append(at::randn(shape, options), at::randn(shape, options), attention.window);
  }
  return cache;
}

/// The two moments of serving.
struct Moment {
  int64_t tokens;   // of input per sequence
  int64_t context;  // positions already in the cache
};

void BothMoments(const ServingLoad& load, ServingRounds& rounds,
                 const std::function<void(Moment, std::vector<Round>&)>& measure) {
  measure({load.prefill, 0}, rounds.prefill);
  measure({1, load.prefill + load.generation / 2}, rounds.decode);
}

/// Nothing in the place of such a sub-block.
VariantSpec NoneOf(SubBlock which) {
  const BlockSpec none = {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}};
  if (which == SubBlock::kAttention) return none.attention;
  if (which == SubBlock::kFfn) return none.ffn;
  return none;
}

Tensor RandomIds(int64_t rows, int64_t tokens, int64_t vocab, const at::Device& device) {
  return at::randint(vocab, {rows, tokens}, at::TensorOptions().dtype(at::kLong).device(device));
}

void MeasurePass(const Transformer& model, const ServingLoad& load, Moment moment,
                 const TimingEffort& effort, std::vector<Round>& rounds) {
  const Tensor& embedding = model.weights().embedding;
  const ModelConfig& config = model.config();
  const Pass pass(
      load.batch, embedding.device(),
      [&](int64_t rows) {
        return RandomIds(rows, moment.tokens, config.vocab_size, embedding.device());
      },
      [&](int64_t rows) {
        return RandomCache(config, rows, moment.context, load, embedding.options());
      });
  const Pass::Part part = [&](const Tensor& ids, KvCache& cache) {
    const Tensor x = model.Blocks(model.Embed(ids), 0, config.n_layers(), &cache);
    at::linear(model.FinalNorm(x.narrow(1, moment.tokens - 1, 1)), model.weights().HeadMatrix());
  };
  const int repeats = pass.Repeats(part);
  const auto measure = [&](size_t) {
    const double seconds = pass.Seconds(part, repeats);
    return Round{seconds, seconds};
  };
  Repeat(effort, measure, rounds);
}

}  // namespace

ServingTimes ServingRounds::Times() const {
  if (prefill.empty()) return {};  // of nothing
  return {Summarize(prefill), Summarize(decode)};
}

void CheckLoadFits(const ServingLoad& load, const ModelConfig& config) {
  const int64_t positions = load.prefill + load.generation;
  if (positions > config.max_positions)
    throw Error(fmt::format("prefill {} + generation {} = {} positions, but the model has {}",
                            load.prefill, load.generation, positions, config.max_positions));
}

void MeasureSubBlock(const ModelConfig& config, const VariantSpec& spec, const ServingLoad& load,
                     const std::string& device, int64_t copies, const TimingEffort& effort,
                     ServingRounds& rounds) {
  if (IsNone(spec)) return;
  const at::NoGradGuard no_grad;
  if (copies == 0) copies = std::min<int64_t>(config.n_layers(), 8);
  ModelConfig stack = config;
  stack.vocab_size = 1;  // the head is not looked at
  stack.tied_embeddings = true;
  stack.blocks.clear();
  for (int64_t i = 0; i < copies; ++i) {
    stack.blocks.push_back(config.blocks[static_cast<size_t>(i % config.n_layers())]);
    Place(spec, stack.blocks.back());
  }
  const ModelWeights whole = ToDevice(RandomModel(stack, 1), device);
  ModelWeights rest = whole;
  const SubBlock which = WhichSubBlock(spec);
  for (int64_t i = 0; i < copies; ++i) Replace(rest, i, NoneOf(which), NoWeights(which));
  const Transformer with(whole), without(rest);
  const at::TensorOptions options = whole.embedding.options();
  BothMoments(load, rounds, [&](Moment moment, std::vector<Round>& taken) {
    const Pass pass(
        load.batch, options.device(),
        [&](int64_t rows) {
          return at::randn({rows, moment.tokens, config.hidden_size}, options);
        },
        [&](int64_t rows) { return RandomCache(stack, rows, moment.context, load, options); });
    const auto blocks = [&](const Transformer& model) -> Pass::Part {
      return [&model, copies](const Tensor& input, KvCache& cache) {
        static_cast<void>(model.Blocks(input, 0, copies, &cache));
      };
    };
    const Pass::Part long_part = blocks(with), short_part = blocks(without);
    const int repeats = pass.Repeats(long_part);
    const auto measure = [&](size_t index) {
      // In turns, so that a machine that drifts favours neither.
      const bool long_first = index % 2 == 1;
      const double first = pass.Seconds(long_first ? long_part : short_part, repeats);
      const double second = pass.Seconds(long_first ? short_part : long_part, repeats);
      const double difference = long_first ? first - second : second - first;
      return Round{difference / static_cast<double>(copies), first + second};
    };
    Repeat(effort, measure, taken);
  });
}

void MeasureOutside(const ModelConfig& config, const ServingLoad& load, const std::string& device,
                    const TimingEffort& effort, ServingRounds& rounds) {
  ModelConfig hollow = config;
  hollow.blocks.assign(1, {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}});
  MeasureModel(ToDevice(RandomModel(hollow, 1), device), load, effort, rounds);
}

void MeasureModel(const ModelWeights& weights, const ServingLoad& load, const TimingEffort& effort,
                  ServingRounds& rounds) {
  const at::NoGradGuard no_grad;
  CheckLoadFits(load, weights.config);
  const Transformer model(weights);
  BothMoments(load, rounds, [&](Moment moment, std::vector<Round>& taken) {
    MeasurePass(model, load, moment, effort, taken);
  });
}

}  // namespace puzzle
