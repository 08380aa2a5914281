#include "nodes/cost/decode_bench.h"

#include <algorithm>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/clock.h"
#include "io/error.h"
#include "io/random.h"
#include "model/decode/sampler.h"
#include "model/decode/team.h"
#include "nodes/cost/decode_rates.h"
#include "nodes/cost/timing.h"

namespace puzzle {

using decode::Decoder;
using decode::DecoderOptions;

namespace {

constexpr double kBenchMib = 1 << 20;

// Times of a model in one round.
struct Turn {
  double first_token_s = 0;
  double decode_s = 0;
};

std::vector<std::vector<int32_t>> RandomPrompts(const ModelConfig& config,
                                                const BenchOptions& options) {
  Random random(7);
  std::vector<std::vector<int32_t>> prompts(static_cast<size_t>(options.batch));
  for (std::vector<int32_t>& prompt : prompts)
    for (int64_t i = 0; i < options.prefill; ++i)
      prompt.push_back(
          static_cast<int32_t>(random.Below(static_cast<uint64_t>(config.vocab_size))));
  return prompts;
}

// A model in a round: reads prompts and writes greedily, whatever ends a text.
class Writing {
 public:
  Writing(Decoder& model, const BenchOptions& options)
      : model_(model),
        prompts_(RandomPrompts(model.config(), options)),
        sampler_({}, model.config().vocab_size),
        last_(prompts_.size()) {
    for (int64_t i = 0; i < options.batch; ++i) {
      model.Shorten(i, 0);
      tokens_.push_back({i, prompts_[static_cast<size_t>(i)], 1});
    }
  }

  // One token of each sequence; the first behind all of its prompt. Returns the seconds it took.
  double Step() {
    const double start = MonotonicSeconds();
    model_.Read(tokens_);
    for (size_t i = 0; i < last_.size(); ++i) {
      last_[i] = sampler_.Pick(model_.Logits(static_cast<int64_t>(i)));
      tokens_[i].ids = {&last_[i], 1};
    }
    return MonotonicSeconds() - start;
  }

 private:
  Decoder& model_;
  std::vector<std::vector<int32_t>> prompts_;
  decode::Sampler sampler_;
  std::vector<int32_t> last_;
  std::vector<decode::NewTokens> tokens_;
};

// A round: every model reads its prompts, then they write in turns of a few tokens.
std::vector<Turn> TakeTurns(const std::vector<Decoder*>& models, const BenchOptions& options,
                            const std::function<void()>& poll) {
  constexpr int64_t kTurns = 8;  // of each model
  std::vector<Turn> turns(models.size());
  std::vector<std::unique_ptr<Writing>> writing;
  for (size_t i = 0; i < models.size(); ++i) {
    writing.push_back(std::make_unique<Writing>(*models[i], options));
    turns[i].first_token_s = writing[i]->Step();
  }
  for (int64_t turn = 0; turn < kTurns; ++turn) {
    const auto [first, last] = decode::ShareOf(options.decode, static_cast<int>(turn), kTurns);
    for (size_t i = 0; i < models.size(); ++i)
      for (int64_t step = first; step < last; ++step) {
        poll();
        turns[i].decode_s += writing[i]->Step();
      }
  }
  return turns;
}

}  // namespace

DecoderOptions DecoderFor(const BenchOptions& options) {
  return {.type = options.type,
          .bf16_cache = options.bf16_cache,
          .threads = options.threads,
          .sequences = options.batch,
          .positions = options.prefill + options.decode};
}

void CheckBench(const std::vector<ModelConfig>& models, const std::vector<std::string>& names,
                const BenchOptions& options, uint64_t free_bytes) {
  constexpr int64_t kMostSequences = 1 << 20;  // more cannot even be multiplied with sizes
  if (options.batch > kMostSequences)
    throw Error(fmt::format("a batch of {}: at most {}", options.batch, kMostSequences));
  for (size_t i = 0; i < models.size(); ++i)
    if (options.decode > models[i].max_positions ||
        options.prefill > models[i].max_positions - options.decode)
      throw Error(
          fmt::format("{}: a prompt of {} tokens and {} behind it: the model has {} positions; "
                      "choose --prefill "
                      "and --decode that fit",
                      names[i], options.prefill, options.decode, models[i].max_positions));
  const auto needed = [&](int64_t batch) {
    BenchOptions with = options;
    with.batch = batch;
    uint64_t bytes = 0;
    for (const ModelConfig& model : models)
      bytes += decode::BytesOf(model, DecoderFor(with)).Total();
    return bytes;
  };
  if (free_bytes == 0 || needed(options.batch) <= free_bytes) return;
  int64_t fits = 0, too_many = options.batch;
  while (too_many - fits > 1) {
    const int64_t middle = fits + (too_many - fits) / 2;
    (needed(middle) <= free_bytes ? fits : too_many) = middle;
  }
  throw Error(fmt::format(
      "a batch of {} takes {} MiB of memory, {} are free: {}", options.batch,
      needed(options.batch) >> 20, free_bytes >> 20,
      fits > 0
          ? fmt::format("the largest that fits is {}", fits)
          : "not even one sequence fits; measure fewer models at a time, or a smaller --dtype"));
}

Measured MedianOf(std::vector<double> values) {
  PUZZLE_CHECK(!values.empty(), "no rounds");
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {Median(values), *low, *high};
}

std::vector<BenchResult> RunBench(const std::vector<Decoder*>& models,
                                  const std::vector<std::string>& names,
                                  const BenchOptions& options,
                                  const std::function<void(double)>& poll) {
  std::set<AttentionShape> shapes;
  for (const Decoder* model : models) shapes.merge(AttentionShapesOf(model->config()));
  RateMeter meter(options, shapes);
  std::vector<std::vector<Turn>> rounds;
  std::vector<double> bandwidths;
  const double steps = static_cast<double>(options.rounds * std::ssize(models) * options.decode);
  double done = 0;
  for (int64_t round = 0; round < options.rounds; ++round) {
    bandwidths.push_back(meter.Measure().bandwidth);
    rounds.push_back(TakeTurns(models, options, [&] { poll(done++ / steps); }));
  }
  const DecodeRates rates = meter.Rates();
  std::vector<BenchResult> results;
  for (size_t i = 0; i < models.size(); ++i) {
    const ModelConfig& config = models[i]->config();
    BenchResult result;
    result.model = names[i];
    std::vector<double> prefill, decoding, first, ratios, shares;
    const auto step_bytes = static_cast<double>(decode::StepBytes(
        config, models[i]->options(), options.batch, options.prefill + options.decode / 2));
    for (size_t round = 0; round < rounds.size(); ++round) {
      const Turn& turn = rounds[round][i];
      prefill.push_back(static_cast<double>(options.batch * options.prefill) / turn.first_token_s);
      decoding.push_back(static_cast<double>(options.batch * options.decode) / turn.decode_s);
      first.push_back(1e3 * turn.first_token_s);
      ratios.push_back(rounds[round][0].decode_s / turn.decode_s);
      shares.push_back(step_bytes * static_cast<double>(options.decode) / turn.decode_s /
                       bandwidths[round]);
    }
    result.prefill_tok_s = MedianOf(prefill);
    result.decode_tok_s = MedianOf(decoding);
    result.first_token_ms = MedianOf(first);
    result.memory_mib =
        static_cast<double>(decode::BytesOf(config, models[i]->options()).Total()) / kBenchMib;
    result.step_mib = step_bytes / kBenchMib;
    result.bandwidth_gb_s = rates.bandwidth / 1e9;
    result.bandwidth_share = MedianOf(shares).median;
    result.ratio = MedianOf(ratios).median;
    result.predicted_ratio =
        StepSeconds(models[0]->config(), options, rates) / StepSeconds(config, options, rates);
    result.product_share = ProductSeconds(config, options, rates) * result.decode_tok_s.median /
                           static_cast<double>(options.batch);
    const double attention_s = AttentionSeconds(config, options, rates);
    if (attention_s > 0)
      result.cache_gb_s = (step_bytes - static_cast<double>(decode::StepBytes(
                                            config, models[i]->options(), 0, 0))) /
                          attention_s / 1e9;
    results.push_back(std::move(result));
  }
  return results;
}

namespace {

nlohmann::ordered_json SpreadJson(const Measured& measured) {
  return nlohmann::ordered_json::array({measured.low, measured.high});
}

nlohmann::ordered_json ResultJson(const BenchResult& result, const std::string& dtype) {
  return {{"model", result.model},
          {"dtype", dtype},
          {"prefill_tok_s", result.prefill_tok_s.median},
          {"prefill_tok_s_range", SpreadJson(result.prefill_tok_s)},
          {"decode_tok_s", result.decode_tok_s.median},
          {"decode_tok_s_range", SpreadJson(result.decode_tok_s)},
          {"first_token_ms", result.first_token_ms.median},
          {"first_token_ms_range", SpreadJson(result.first_token_ms)},
          {"peak_mib", result.memory_mib},
          {"step_mib", result.step_mib},
          {"bandwidth_share", result.bandwidth_share},
          {"product_share", result.product_share},
          {"cache_gb_s", result.cache_gb_s},
          {"ratio", result.ratio},
          {"predicted_ratio", result.predicted_ratio}};
}

}  // namespace

nlohmann::ordered_json BenchJson(const std::vector<BenchResult>& results,
                                 const BenchOptions& options) {
  nlohmann::ordered_json json;
  json["models"] = nlohmann::ordered_json::array();
  for (const BenchResult& result : results)
    json["models"].push_back(ResultJson(result, decode::WeightTypeName(options.type)));
  json["batch"] = options.batch;
  json["prefill"] = options.prefill;
  json["decode"] = options.decode;
  json["threads"] = options.threads;
  json["rounds"] = options.rounds;
  json["bandwidth_gb_s"] = results.front().bandwidth_gb_s;
  json["instructions"] = decode::PanelInstructions();
  return json;
}

std::string BenchTable(const std::vector<BenchResult>& results, const BenchOptions& options) {
  size_t width = 5;
  for (const BenchResult& result : results) width = std::max(width, result.model.size());
  std::string text =
      fmt::format("{:<{}}  {:>22}  {:>22}  {:>14}  {:>9}  {:>8}  {:>8}  {:>6}  {:>9}\n", "model",
                  width, "prefill tok/s", "decode tok/s", "first token ms", "peak MiB", "of limit",
                  "products", "ratio", "predicted");
  const auto with_range = [](const Measured& m) {
    return fmt::format("{:.1f} ({:.1f}-{:.1f})", m.median, m.low, m.high);
  };
  for (const BenchResult& result : results)
    text += fmt::format(
        "{:<{}}  {:>22}  {:>22}  {:>14.1f}  {:>9.0f}  {:>8.2f}  {:>8.2f}  {:>6.3f}  {:>9.3f}\n",
        result.model, width, with_range(result.prefill_tok_s), with_range(result.decode_tok_s),
        result.first_token_ms.median, result.memory_mib, result.bandwidth_share,
        result.product_share, result.ratio, result.predicted_ratio);
  return text +
         fmt::format(
             "{}, batch {}, threads {}, rounds {}; prompts of {}, then {} tokens; {}; memory read "
             "with {:.1f} GB/s, a cache by attention with {:.1f}\nof limit: what decoding reads of "
             "weights and cache, as a share of that bandwidth (more than 1: it comes from a "
             "cache)\nproducts: what a step's products would take with weights in the caches, as "
             "a share of it\n",
             decode::WeightTypeName(options.type), options.batch, options.threads, options.rounds,
             options.prefill, options.decode, decode::PanelInstructions(),
             results.front().bandwidth_gb_s, results.front().cache_gb_s);
}

}  // namespace puzzle
