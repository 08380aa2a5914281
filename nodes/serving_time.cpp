#include "nodes/serving_time.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "model/parallel.h"
#include "model/pch.h"
#include "model/runtime.h"

namespace puzzle {

using at::Tensor;

namespace {

constexpr size_t kMinRounds = 7;
constexpr size_t kMaxRounds = 1000;
constexpr double kShortest_s = 2e-3;  // a round is repeated until it takes this long

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

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
    const double begin = Now();
    for (int i = 0; i < repeats; ++i) {
      ParallelFor(static_cast<int64_t>(inputs_.size()), [&](int64_t index) {
        KvCache cache = caches_[static_cast<size_t>(index)];  // handles: every pass starts alike
        part(inputs_[static_cast<size_t>(index)], cache);
      });
    }
    Synchronize(device_.str());
    return (Now() - begin) / repeats;
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

/// Takes samples until the effort is spent.
Timing Repeat(const TimingEffort& effort, const std::function<double(size_t round)>& sample) {
  std::vector<double> samples;
  const double end = Now() + effort.seconds;
  while (samples.size() < kMinRounds || (Now() < end && samples.size() < kMaxRounds)) {
    samples.push_back(sample(samples.size()));
    effort.poll();
  }
  return Summarize(std::move(samples));
}

/// Random keys and values of `positions` tokens, or as many as the next query sees, for every block
/// with attention.
KvCache RandomCache(const ModelConfig& config, int64_t rows, int64_t positions,
                    const at::TensorOptions& options) {
  KvCache cache;
  cache.positions = positions;
  for (const BlockSpec& block : config.blocks) {
    KvCache::Layer& layer = cache.layers.emplace_back();
    if (block.attention.form != SubBlockForm::kFull) continue;
    const int64_t window = block.attention.window;
    const int64_t kept = window > 0 ? std::min(positions, window - 1) : positions;
    const Shape shape = {rows, kept, block.attention.n_kv_heads, config.head_dim};
    layer = {at::randn(shape, options), at::randn(shape, options)};
  }
  return cache;
}

/// The two moments of serving.
struct Moment {
  int64_t tokens;   // of input per sequence
  int64_t context;  // positions already in the cache
};

ServingTimes BothMoments(const ServingLoad& load, const std::function<Timing(Moment)>& time) {
  return {time({load.prefill, 0}), time({1, load.prefill + load.generation / 2})};
}

Tensor RandomIds(int64_t rows, int64_t tokens, int64_t vocab, const at::Device& device) {
  return at::randint(vocab, {rows, tokens}, at::TensorOptions().dtype(at::kLong).device(device));
}

Timing TimePass(const Transformer& model, const ServingLoad& load, Moment moment,
                const TimingEffort& effort) {
  const Tensor& embedding = model.weights().embedding;
  const ModelConfig& config = model.config();
  const Pass pass(
      load.batch, embedding.device(),
      [&](int64_t rows) {
        return RandomIds(rows, moment.tokens, config.vocab_size, embedding.device());
      },
      [&](int64_t rows) { return RandomCache(config, rows, moment.context, embedding.options()); });
  const Pass::Part part = [&](const Tensor& ids, KvCache& cache) {
    const Tensor x = model.Blocks(model.Embed(ids), 0, config.n_layers(), &cache);
    at::linear(model.FinalNorm(x.narrow(1, moment.tokens - 1, 1)), model.weights().HeadMatrix());
  };
  const int repeats = pass.Repeats(part);
  return Repeat(effort, [&](size_t) { return pass.Seconds(part, repeats); });
}

}  // namespace

Timing Summarize(std::vector<double> samples) {
  PUZZLE_CHECK(!samples.empty(), "no samples");
  const double median = Median(samples);
  for (double& sample : samples) sample = std::abs(sample - median);
  return {1e3 * std::max(median, 0.0), 1e3 * 1.4826 * Median(std::move(samples))};
}

void CheckLoadFits(const ServingLoad& load, const ModelConfig& config) {
  const int64_t positions = load.prefill + load.generation;
  if (positions > config.max_positions)
    throw Error(fmt::format("prefill {} + generation {} = {} positions, but the model has {}",
                            load.prefill, load.generation, positions, config.max_positions));
}

ServingTimes TimeSubBlock(const ModelConfig& config, const VariantSpec& spec,
                          const ServingLoad& load, const std::string& device, int64_t copies,
                          const TimingEffort& effort) {
  if (IsNone(spec)) return {};
  const at::NoGradGuard no_grad;
  if (copies == 0) copies = std::min<int64_t>(config.n_layers(), 8);
  // Block 2 i is one of the model's, block 2 i + 1 the copy behind it.
  ModelConfig stack = config;
  stack.vocab_size = 1;  // the head is not looked at
  stack.tied_embeddings = true;
  stack.blocks.clear();
  for (int64_t i = 0; i < copies; ++i) {
    stack.blocks.push_back(config.blocks[static_cast<size_t>(i % config.n_layers())]);
    stack.blocks.push_back({{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}});
    Place(spec, stack.blocks.back());
  }
  const Transformer model(ToDevice(RandomModel(stack, 1), device));
  const at::TensorOptions options = model.weights().embedding.options();
  return BothMoments(load, [&](Moment moment) {
    const Pass pass(
        load.batch, options.device(),
        [&](int64_t rows) {
          return at::randn({rows, moment.tokens, config.hidden_size}, options);
        },
        [&](int64_t rows) { return RandomCache(stack, rows, moment.context, options); });
    const auto blocks = [&](int64_t of_every_pair) -> Pass::Part {
      return [&model, copies, of_every_pair](const Tensor& input, KvCache& cache) {
        Tensor x = input;
        for (int64_t i = 0; i < copies; ++i)
          x = model.Blocks(x, 2 * i, 2 * i + of_every_pair, &cache);
      };
    };
    const Pass::Part without = blocks(1), with = blocks(2);
    const int repeats = pass.Repeats(without);
    return Repeat(effort, [&](size_t round) {
      // In turns, so that a machine that drifts favours neither.
      const bool with_first = round % 2 == 1;
      const double first = pass.Seconds(with_first ? with : without, repeats);
      const double second = pass.Seconds(with_first ? without : with, repeats);
      return (with_first ? first - second : second - first) / static_cast<double>(copies);
    });
  });
}

ServingTimes TimeOutside(const ModelConfig& config, const ServingLoad& load,
                         const std::string& device, const TimingEffort& effort) {
  ModelConfig hollow = config;
  hollow.blocks.assign(1, {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}});
  return TimeModel(ToDevice(RandomModel(hollow, 1), device), load, effort);
}

ServingTimes TimeModel(const ModelWeights& weights, const ServingLoad& load,
                       const TimingEffort& effort) {
  const at::NoGradGuard no_grad;
  CheckLoadFits(load, weights.config);
  const Transformer model(weights);
  return BothMoments(load, [&](Moment moment) { return TimePass(model, load, moment, effort); });
}

}  // namespace puzzle
