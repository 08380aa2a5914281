#include "nodes/cost/decode_rates.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "io/clock.h"
#include "io/error.h"
#include "model/decode/attention.h"
#include "model/decode/packed_matrix.h"
#include "model/decode/team.h"
#include "nodes/cost/timing.h"

namespace puzzle {

using decode::HeadCache;

namespace {

AttentionShape ShapeOf(const AttentionSpec& attention, const ModelConfig& config) {
  return {config.head_dim, QueryHeads(attention, config) / attention.n_kv_heads};
}

// Tokens that a sequence has half way through what is written.
int64_t MiddleLength(const BenchOptions& options) {
  return options.prefill + options.decode / 2;
}

}  // namespace

std::set<AttentionShape> AttentionShapesOf(const ModelConfig& config) {
  std::set<AttentionShape> shapes;
  for (const BlockSpec& block : config.blocks)
    if (block.attention.is_full()) shapes.insert(ShapeOf(block.attention, config));
  return shapes;
}

double AttentionSeconds(const ModelConfig& config, const BenchOptions& options,
                        const DecodeRates& rates) {
  double seconds = 0;
  for (const BlockSpec& block : config.blocks)
    if (block.attention.is_full())
      seconds += static_cast<double>(decode::CacheStepBytes(block, config, DecoderFor(options),
                                                            options.batch, MiddleLength(options))) /
                 rates.attention.at(ShapeOf(block.attention, config));
  return seconds;
}

double ProductSeconds(const ModelConfig& config, const BenchOptions& options,
                      const DecodeRates& rates) {
  return 2 * static_cast<double>(decode::StepNumbers(config) * options.batch) / rates.products;
}

double StepSeconds(const ModelConfig& config, const BenchOptions& options,
                   const DecodeRates& rates) {
  const auto weights = static_cast<double>(decode::StepBytes(config, DecoderFor(options), 0, 0));
  return std::max(weights / rates.bandwidth, ProductSeconds(config, options, rates)) +
         AttentionSeconds(config, options, rates);
}

class RateMeter::Machine {
 public:
  explicit Machine(const BenchOptions& options)
      : options_(options), team_(options.threads), memory_(kBytes) {
    words_ = static_cast<uint64_t*>(memory_.Take(kBytes));
    std::fill(words_, words_ + kWords, kOnes);
  }

  double Bandwidth() {
    std::vector<uint64_t> sums(static_cast<size_t>(team_.size()));
    const double seconds = Fastest([&](int member) {
      const auto [first, last] = decode::ShareOf(kWords, member, team_.size());
      sums[static_cast<size_t>(member)] = decode::SumWords(words_ + first, last - first);
    });
    uint64_t sum = 0;
    for (const uint64_t part : sums) sum += part;
    PUZZLE_CHECK(sum == kWords * kOnes, "memory that was read wrongly");
    return kBytes / seconds;
  }

  double ProductRate() {
    constexpr int64_t kRows = 512, kColumns = 512, kTimes = 20;
    decode::Arena arena(decode::PackedMatrix::Bytes(kRows, kColumns, options_.type));
    const std::vector<float> ones(kRows * kColumns, 1.0F);
    decode::PackedMatrix matrix(kRows, kColumns, options_.type, arena);
    matrix.PackRows(0, kRows, ones.data());
    decode::TokenBuffer tokens(options_.type, options_.batch, kColumns);
    for (int64_t i = 0; i < options_.batch; ++i) tokens.Set(i, ones.data(), kColumns);
    std::vector<float> out(static_cast<size_t>(options_.batch * kRows));
    const double seconds = Fastest([&](int member) {
      const auto [first, last] = decode::ShareOf(matrix.lanes(), member, team_.size());
      for (int64_t i = 0; i < kTimes; ++i)
        decode::MultiplyPanels(matrix.type(), matrix.view(), tokens.View(options_.batch),
                               first * decode::kLanes, last * decode::kLanes, out.data(), kRows);
    });
    return 2.0 * kTimes * kRows * kColumns * static_cast<double>(options_.batch) / seconds;
  }

  // What a step does with the cache of a block, with the memory as that of as many heads as fit:
  // each member remembers a key and attends to all of its heads.
  double AttentionRate(const AttentionShape& shape) {
    HeadCache one{.head_dim = shape.head_dim, .bf16 = options_.bf16_cache};
    one.capacity = decode::kLanes;
    const auto most = static_cast<int64_t>(kBytes) / team_.size() / one.Bytes() * decode::kLanes;
    const int64_t length = std::clamp<int64_t>(MiddleLength(options_), 1, most);
    one.capacity = decode::PaddedTo(length, decode::kLanes);
    const int64_t heads = static_cast<int64_t>(kBytes) / one.Bytes();
    const std::vector<float> ones(static_cast<size_t>(shape.head_dim * shape.group), kOne);
    const double seconds = Fastest([&](int member) {
      const auto [first, last] = decode::ShareOf(heads, member, team_.size());
      AttendHeads(shape, one, first, last, length, ones);
    });
    return static_cast<double>(heads * length * shape.head_dim * 2 * decode::CacheBytes(one.bf16)) /
           seconds;
  }

 private:
  static constexpr size_t kBytes = size_t{256} << 20;
  static constexpr int64_t kWords = kBytes / sizeof(uint64_t);
  // A number in fp32 as in bf16, about 1, so that the memory can be that of a cache, too.
  static constexpr uint64_t kOnes = 0x3F803F803F803F80;
  static constexpr float kOne = std::bit_cast<float>(static_cast<uint32_t>(kOnes));
  static constexpr int kAttempts = 3;

  double Fastest(const std::function<void(int member)>& work) {
    double best = 0;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const double start = MonotonicSeconds();
      team_.Run(work);
      const double took = MonotonicSeconds() - start;
      best = attempt == 0 ? took : std::min(best, took);
    }
    return best;
  }

  // Heads [first, last) of the memory.
  void AttendHeads(const AttentionShape& shape, HeadCache cache, int64_t first, int64_t last,
                   int64_t length, const std::vector<float>& ones) {
    decode::TokenBuffer tokens(cache.type(), shape.group, shape.head_dim);
    for (int64_t q = 0; q < shape.group; ++q) tokens.Set(q, ones.data(), shape.head_dim);
    const decode::Queries queries{
        .tokens = tokens.View(shape.group), .first = length - 1, .group = shape.group};
    decode::AttentionRoom room(cache.type(), shape.group);
    std::vector<float> memory(
        static_cast<size_t>(decode::Mixture::Numbers(shape.group, cache.padded_dim())));
    const decode::Mixture out(memory.data(), shape.group, cache.padded_dim());
    for (int64_t head = first; head < last; ++head) {
      cache.keys = reinterpret_cast<char*>(words_) + head * cache.Bytes();
      cache.values = cache.keys + cache.KeyBytes();
      decode::Remember(cache, length - 1, ones.data(), ones.data());
      for (int64_t s = 0; s < queries.last_segment(); ++s) {
        const bool is_last = s + 1 == queries.last_segment();
        const char* next = is_last ? cache.keys + cache.Bytes() : cache.KeysAt(s + 1);
        if (is_last && head + 1 == last) next = nullptr;
        decode::AttendSegment(cache, queries, s, next, room, out);
      }
    }
  }

  BenchOptions options_;
  decode::Team team_;
  decode::Arena memory_;
  uint64_t* words_;
};

RateMeter::RateMeter(const BenchOptions& options, const std::set<AttentionShape>& shapes)
    : machine_(std::make_unique<Machine>(options)), shapes_(shapes.begin(), shapes.end()) {}

RateMeter::~RateMeter() = default;

const DecodeRates& RateMeter::Measure() {
  DecodeRates rates{machine_->Bandwidth(), machine_->ProductRate(), {}};
  for (const AttentionShape& shape : shapes_)
    rates.attention[shape] = machine_->AttentionRate(shape);
  measured_.push_back(std::move(rates));
  return measured_.back();
}

DecodeRates RateMeter::Rates() const {
  PUZZLE_CHECK(!measured_.empty(), "rates that nobody measured");
  const auto median_of = [&](const auto& rate_of) {
    std::vector<double> values;
    for (const DecodeRates& rates : measured_) values.push_back(rate_of(rates));
    return Median(values);
  };
  DecodeRates medians{median_of([](const DecodeRates& r) { return r.bandwidth; }),
                      median_of([](const DecodeRates& r) { return r.products; }),
                      {}};
  for (const AttentionShape& shape : shapes_)
    medians.attention[shape] =
        median_of([&](const DecodeRates& r) { return r.attention.at(shape); });
  return medians;
}

}  // namespace puzzle
