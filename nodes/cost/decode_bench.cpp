#include "nodes/cost/decode_bench.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/clock.h"
#include "io/error.h"
#include "io/random.h"
#include "model/decode/packed_matrix.h"
#include "model/decode/sampler.h"
#include "model/decode/team.h"
#include "nodes/cost/timing.h"

namespace puzzle {

using decode::Decoder;
using decode::DecoderOptions;

namespace {

constexpr double kBenchMib = 1 << 20;

// Times of one turn of a model.
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

// Reads prompts and writes greedily, whatever ends a text.
Turn TakeTurn(Decoder& model, const BenchOptions& options, const std::function<void()>& poll) {
  const std::vector<std::vector<int32_t>> prompts = RandomPrompts(model.config(), options);
  std::vector<decode::NewTokens> tokens;
  for (int64_t i = 0; i < options.batch; ++i) {
    model.Shorten(i, 0);
    tokens.push_back({i, prompts[static_cast<size_t>(i)], 1});
  }
  decode::Sampler sampler({}, model.config().vocab_size);
  std::vector<int32_t> last(prompts.size());
  const auto step = [&] {
    model.Read(tokens);
    for (size_t i = 0; i < last.size(); ++i) {
      last[i] = sampler.Pick(model.Logits(static_cast<int64_t>(i)));
      tokens[i].ids = {&last[i], 1};
    }
  };
  Turn turn;
  double start = MonotonicSeconds();
  step();
  turn.first_token_s = MonotonicSeconds() - start;
  for (int64_t i = 0; i < options.decode; ++i) {
    poll();
    start = MonotonicSeconds();
    step();
    turn.decode_s += MonotonicSeconds() - start;
  }
  return turn;
}

// What a team gets out of memory and arithmetic.
class Machine {
 public:
  explicit Machine(const BenchOptions& options)
      : options_(options), team_(options.threads), memory_(kBytes) {
    words_ = static_cast<uint64_t*>(memory_.Take(kBytes));
    std::fill(words_, words_ + kWords, uint64_t{1});
  }

  // Bytes in a second that all members read together.
  double Bandwidth() {
    const double start = MonotonicSeconds();
    std::vector<uint64_t> sums(static_cast<size_t>(team_.size()));
    team_.Run([&](int member) {
      const auto [first, last] = decode::ShareOf(kWords, member, team_.size());
      sums[static_cast<size_t>(member)] = decode::SumWords(words_ + first, last - first);
    });
    const double took = MonotonicSeconds() - start;
    uint64_t sum = 0;
    for (const uint64_t part : sums) sum += part;
    PUZZLE_CHECK(sum == kWords, "memory that was read wrongly");
    return kBytes / took;
  }

  // Multiplications and additions in a second of a matrix that lies in cache with a batch of
  // tokens.
  double ProductRate() {
    constexpr int64_t kRows = 512, kColumns = 512, kTimes = 20;
    decode::Arena arena(decode::PackedMatrix::Bytes(kRows, kColumns, options_.type));
    const std::vector<float> ones(kRows * kColumns, 1.0F);
    decode::PackedMatrix matrix(kRows, kColumns, options_.type, arena);
    matrix.PackRows(0, kRows, ones.data());
    decode::TokenBuffer tokens(options_.type, options_.batch, kColumns);
    for (int64_t i = 0; i < options_.batch; ++i) tokens.Set(i, ones.data(), kColumns);
    std::vector<float> out(static_cast<size_t>(options_.batch * kRows));
    double best = 0;
    for (int64_t attempt = 0; attempt < 5; ++attempt) {
      const double start = MonotonicSeconds();
      team_.Run([&](int member) {
        const auto [first, last] = decode::ShareOf(matrix.lanes(), member, team_.size());
        for (int64_t i = 0; i < kTimes; ++i)
          decode::MultiplyPanels(matrix.type(), matrix.view(), tokens.View(options_.batch),
                                 first * decode::kLanes, last * decode::kLanes, out.data(), kRows);
      });
      best = std::max(best, 2.0 * kTimes * kRows * kColumns * static_cast<double>(options_.batch) /
                                (MonotonicSeconds() - start));
    }
    return best;
  }

 private:
  static constexpr size_t kBytes = size_t{256} << 20;
  static constexpr int64_t kWords = kBytes / sizeof(uint64_t);
  BenchOptions options_;
  decode::Team team_;
  decode::Arena memory_;
  uint64_t* words_;
};

// Seconds that a step takes which reads and multiplies at the machine's rates: whichever binds.
double StepSeconds(const ModelConfig& config, const BenchOptions& options, double bandwidth,
                   double product_rate) {
  const auto bytes = static_cast<double>(decode::StepBytes(
      config, DecoderFor(options), options.batch, options.prefill + options.decode / 2));
  const auto weights = static_cast<double>(decode::StepBytes(config, DecoderFor(options), 0, 0));
  const double arithmetic =
      2 * static_cast<double>(decode::StepNumbers(config) * options.batch) / product_rate;
  return std::max(weights / bandwidth, arithmetic) + (bytes - weights) / bandwidth;
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
  Machine machine(options);
  const double product_rate = machine.ProductRate();
  std::vector<std::vector<Turn>> turns(models.size());
  std::vector<double> bandwidths;
  const double steps = static_cast<double>(options.rounds * std::ssize(models) * options.decode);
  double done = 0;
  for (int64_t round = 0; round < options.rounds; ++round) {
    bandwidths.push_back(machine.Bandwidth());
    for (size_t i = 0; i < models.size(); ++i)
      turns[i].push_back(TakeTurn(*models[i], options, [&] { poll(done++ / steps); }));
  }
  const double bandwidth = MedianOf(bandwidths).median;
  std::vector<BenchResult> results;
  for (size_t i = 0; i < models.size(); ++i) {
    const ModelConfig& config = models[i]->config();
    BenchResult result;
    result.model = names[i];
    std::vector<double> prefill, decoding, first, ratios, shares;
    const auto step_bytes = static_cast<double>(decode::StepBytes(
        config, models[i]->options(), options.batch, options.prefill + options.decode / 2));
    for (size_t round = 0; round < turns[i].size(); ++round) {
      const Turn& turn = turns[i][round];
      prefill.push_back(static_cast<double>(options.batch * options.prefill) / turn.first_token_s);
      decoding.push_back(static_cast<double>(options.batch * options.decode) / turn.decode_s);
      first.push_back(1e3 * turn.first_token_s);
      ratios.push_back(turns[0][round].decode_s / turn.decode_s);
      shares.push_back(step_bytes * static_cast<double>(options.decode) / turn.decode_s /
                       bandwidths[round]);
    }
    result.prefill_tok_s = MedianOf(prefill);
    result.decode_tok_s = MedianOf(decoding);
    result.first_token_ms = MedianOf(first);
    result.memory_mib =
        static_cast<double>(decode::BytesOf(config, models[i]->options()).Total()) / kBenchMib;
    result.step_mib = step_bytes / kBenchMib;
    result.bandwidth_gb_s = bandwidth / 1e9;
    result.bandwidth_share = MedianOf(shares).median;
    result.ratio = MedianOf(ratios).median;
    result.predicted_ratio = StepSeconds(models[0]->config(), options, bandwidth, product_rate) /
                             StepSeconds(config, options, bandwidth, product_rate);
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
  std::string text = fmt::format("{:<{}}  {:>22}  {:>22}  {:>14}  {:>9}  {:>8}  {:>6}  {:>9}\n",
                                 "model", width, "prefill tok/s", "decode tok/s", "first token ms",
                                 "peak MiB", "of limit", "ratio", "predicted");
  const auto with_range = [](const Measured& m) {
    return fmt::format("{:.1f} ({:.1f}-{:.1f})", m.median, m.low, m.high);
  };
  for (const BenchResult& result : results)
    text += fmt::format(
        "{:<{}}  {:>22}  {:>22}  {:>14.1f}  {:>9.0f}  {:>8.2f}  {:>6.3f}  {:>9.3f}\n", result.model,
        width, with_range(result.prefill_tok_s), with_range(result.decode_tok_s),
        result.first_token_ms.median, result.memory_mib, result.bandwidth_share, result.ratio,
        result.predicted_ratio);
  return text +
         fmt::format(
             "{}, batch {}, threads {}, rounds {}; prompts of {}, then {} tokens; {}; memory read "
             "with {:.1f} GB/s\nof limit: what decoding reads of weights and cache, as a share of "
             "that bandwidth (more than 1: it comes from a cache)\n",
             decode::WeightTypeName(options.type), options.batch, options.threads, options.rounds,
             options.prefill, options.decode, decode::PanelInstructions(),
             results.front().bandwidth_gb_s);
}

}  // namespace puzzle
