#include "model/decode/decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "io/error.h"
#include "model/decode/decoder_state.h"
#include "model/weights.h"

namespace puzzle::decode {

namespace {

int64_t Positions(const ModelConfig& config, const DecoderOptions& options) {
  return options.positions > 0 ? options.positions : config.max_positions;
}

// Matrices of a block that a step reads, as rows x columns.
template <class Use>
void ForEachMatrix(const BlockSpec& block, const ModelConfig& config, const Use& use) {
  const int64_t d = config.hidden_size;
  if (block.attention.is_linear()) use(d, d);
  if (block.attention.is_full()) {
    const int64_t q = QueryHeads(block.attention, config) * config.head_dim;
    use(q + 2 * block.attention.n_kv_heads * config.head_dim, d);
    use(d, q);
  }
  if (block.ffn.is_linear()) use(d, d);
  if (block.ffn.is_full()) {
    if (config.arch.gated_ffn) use(block.ffn.size, d);
    use(block.ffn.size, d);
    use(d, block.ffn.size);
  }
}

// Numbers of the mixtures that a row of any block keeps of all segments.
int64_t KeptNumbers(const ModelConfig& config, int64_t positions) {
  int64_t heads = 0;
  for (const BlockSpec& block : config.blocks)
    if (block.attention.is_full()) heads = std::max(heads, QueryHeads(block.attention, config));
  return SegmentsOf(positions) * Mixture::Numbers(heads, PaddedTo(config.head_dim, kLanes));
}

uint64_t MatrixBytes(const ModelConfig& config, WeightType type) {
  uint64_t bytes = 0;
  const auto add = [&](int64_t rows, int64_t columns) {
    bytes += PackedMatrix::Bytes(rows, columns, type);
  };
  for (const BlockSpec& block : config.blocks) ForEachMatrix(block, config, add);
  add(config.vocab_size, config.hidden_size);
  return bytes;
}

}  // namespace

WeightType WeightTypeNamed(const std::string& name) {
  for (const WeightType type : {WeightType::kFp32, WeightType::kBf16, WeightType::kInt8})
    if (WeightTypeName(type) == name) return type;
  throw Error(fmt::format("weights of type '{}': expected fp32, bf16 or int8", name));
}

std::string WeightTypeName(WeightType type) {
  return type == WeightType::kFp32 ? "fp32" : type == WeightType::kBf16 ? "bf16" : "int8";
}

DecoderBytes BytesOf(const ModelConfig& config, const DecoderOptions& options) {
  DecoderOptions full = options;
  full.positions = Positions(config, options);
  DecoderBytes bytes;
  bytes.weights = MatrixBytes(config, options.type);
  if (!config.tied_embeddings)
    bytes.weights += static_cast<uint64_t>(config.vocab_size * config.hidden_size) * sizeof(float);
  bytes.cache = Cache::Bytes(config, full);
  int64_t widest = config.hidden_size;
  for (const BlockSpec& block : config.blocks)
    ForEachMatrix(block, config, [&](int64_t rows, int64_t) { widest = std::max(widest, rows); });
  const int64_t rows = std::max(options.pass_tokens, options.sequences);
  bytes.buffers = sizeof(float) *
                  static_cast<uint64_t>(rows * (config.hidden_size * 4 + widest * 4) +
                                        options.sequences * (config.vocab_size +
                                                             KeptNumbers(config, full.positions)));
  return bytes;
}

uint64_t CacheStepBytes(const BlockSpec& block, const ModelConfig& config,
                        const DecoderOptions& options, int64_t sequences, int64_t length) {
  const AttentionSpec& own = block.attention;
  const int64_t seen = own.window > 0 ? std::min(own.window, length) : length;
  return static_cast<uint64_t>(sequences * seen * own.n_kv_heads * config.head_dim * 2 *
                               CacheBytes(options.bf16_cache));
}

uint64_t StepBytes(const ModelConfig& config, const DecoderOptions& options, int64_t sequences,
                   int64_t length) {
  uint64_t bytes = MatrixBytes(config, options.type);
  for (const BlockSpec& block : config.blocks)
    bytes += CacheStepBytes(block, config, options, sequences, length);
  return bytes;
}

int64_t StepNumbers(const ModelConfig& config) {
  int64_t numbers = config.vocab_size * config.hidden_size;
  for (const BlockSpec& block : config.blocks)
    ForEachMatrix(block, config, [&](int64_t rows, int64_t columns) { numbers += rows * columns; });
  return numbers;
}

HeadCache Cache::HeadOf(const ModelConfig& config, const DecoderOptions& options) {
  return {.head_dim = config.head_dim,
          .capacity = PaddedTo(options.positions, kLanes),
          .bf16 = options.bf16_cache};
}

uint64_t Cache::Bytes(const ModelConfig& config, const DecoderOptions& options) {
  int64_t heads = 0;
  for (const BlockSpec& block : config.blocks) heads += block.attention.n_kv_heads;
  return static_cast<uint64_t>(heads * options.sequences * HeadOf(config, options).Bytes());
}

Cache::Cache(const ModelConfig& config, const DecoderOptions& options)
    : head_(HeadOf(config, options)),
      // Room for a whole context is mostly never written, a little of it for each head.
      arena_(Bytes(config, options), options.positions < config.max_positions) {
  int64_t heads = 0;
  for (const BlockSpec& block : config.blocks) {
    first_head_.push_back(heads);
    kv_heads_.push_back(block.attention.n_kv_heads);
    heads += block.attention.n_kv_heads * options.sequences;
  }
  data_ = static_cast<char*>(arena_.Take(Bytes(config, options)));
}

HeadCache Cache::Of(int64_t layer, int64_t sequence, int64_t kv_head) const {
  const auto index = static_cast<size_t>(layer);
  const int64_t head = first_head_[index] + sequence * kv_heads_[index] + kv_head;
  HeadCache own = head_;
  own.keys = data_ + head * own.Bytes();
  own.values = own.keys + own.KeyBytes();
  return own;
}

Decoder::Decoder(ModelWeights weights, const DecoderOptions& options)
    : state_(std::make_unique<State>(std::move(weights), options)) {}

Decoder::~Decoder() = default;

const ModelConfig& Decoder::config() const {
  return state_->config();
}

const DecoderOptions& Decoder::options() const {
  return state_->options();
}

void Decoder::Read(std::span<const NewTokens> tokens) {
  state_->Read(tokens);
}

std::span<const float> Decoder::Logits(int64_t i) const {
  return state_->Logits(i);
}

int64_t Decoder::Length(int64_t sequence) const {
  return state_->Length(sequence);
}

std::span<const int32_t> Decoder::Ids(int64_t sequence) const {
  return state_->Ids(sequence);
}

bool Decoder::CanShorten(int64_t sequence, int64_t length) const {
  return state_->CanShorten(sequence, length);
}

void Decoder::Shorten(int64_t sequence, int64_t length) {
  state_->Shorten(sequence, length);
}

namespace {

DecoderOptions Completed(const ModelWeights& weights, DecoderOptions options) {
  options.positions = Positions(weights.config, options);
  options.pass_tokens = std::max(options.pass_tokens, options.sequences);
  PUZZLE_CHECK(options.sequences > 0 && options.threads > 0 &&
                   options.positions <= weights.config.max_positions,
               "a decoder's sizes");
  return options;
}

constexpr int64_t kBlockRows = 4;  // positions of a RowBlock, each with the queries of a kv head

}  // namespace

Decoder::State::State(ModelWeights weights, const DecoderOptions& options)
    : options_(Completed(weights, options)),
      team_(options_.threads),
      model_(PackModel(std::move(weights), options_.type, options_.positions, team_)),
      cache_(model_.config, options_),
      seen_(static_cast<size_t>(options_.sequences)),
      tokens_(options_.type, 0, 0) {
  const ModelConfig& c = model_.config;
  int64_t widest = c.hidden_size, group = 1, kv_heads = 0;
  for (const PackedBlock& block : model_.blocks) {
    const PackedAttention& attention = block.attention;
    qkv_stride_ = std::max(qkv_stride_, PaddedTo(attention.qkv.rows(), kLanes));
    mixed_stride_ = std::max(mixed_stride_, attention.heads * c.head_dim);
    ffn_stride_ = std::max(ffn_stride_, PaddedTo(block.ffn.up.rows(), kLanes));
    if (attention.kv_heads > 0) group = std::max(group, attention.heads / attention.kv_heads);
    kv_heads = std::max(kv_heads, attention.kv_heads);
  }
  widest = std::max({widest, mixed_stride_, ffn_stride_});
  if (c.arch.scaled_attention)
    score_scale_ = 1.0 / std::sqrt(c.arch.query_scalar > 0 ? c.arch.query_scalar
                                                           : static_cast<double>(c.head_dim));
  y_stride_ = PaddedTo(c.hidden_size, kLanes);
  logit_stride_ = PaddedTo(c.vocab_size, kLanes);
  const int64_t rows = options_.pass_tokens;
  const auto room = [](Vector& vector, int64_t size) { vector.resize(static_cast<size_t>(size)); };
  tokens_ = TokenBuffer(options_.type, rows, widest);
  room(states_, rows * c.hidden_size);
  room(qkv_, rows * qkv_stride_);
  room(mixed_, rows * mixed_stride_);
  room(gate_, rows * ffn_stride_);
  room(up_, rows * ffn_stride_);
  room(y_, rows * y_stride_);
  segments_ = SegmentsOf(options_.positions);
  kept_stride_ = KeptNumbers(c, options_.positions);
  room(kept_, options_.sequences * kept_stride_);
  const WeightType cached = options_.bf16_cache ? WeightType::kBf16 : WeightType::kFp32;
  const int64_t queries = kBlockRows * group;
  for (int i = 0; i < team_.size(); ++i) {
    Member member{
        {}, {}, TokenBuffer(cached, queries, c.head_dim), AttentionRoom(cached, queries), {},
        {}, {}, TokenBuffer(options_.type, 1, widest)};
    room(member.row, widest);
    room(member.head, c.head_dim);
    room(member.all, Mixture::Numbers(queries, PaddedTo(c.head_dim, kLanes)));
    room(member.part, std::ssize(member.all));
    member.units.reserve(static_cast<size_t>(options_.sequences * kv_heads * segments_));
    members_.push_back(std::move(member));
  }
  for (std::vector<int32_t>& ids : seen_) ids.reserve(static_cast<size_t>(options_.positions));
  rows_.reserve(static_cast<size_t>(rows));
  blocks_.reserve(static_cast<size_t>(rows));
  wanted_.reserve(static_cast<size_t>(rows));
}

void Decoder::State::Check(std::span<const NewTokens> tokens) const {
  for (const NewTokens& own : tokens) {
    PUZZLE_CHECK(own.sequence >= 0 && own.sequence < options_.sequences && own.logits >= 0 &&
                     own.logits <= std::ssize(own.ids),
                 "tokens of a sequence that is not there");
    const int64_t length = Length(own.sequence) + std::ssize(own.ids);
    if (length > options_.positions)
      throw Error(
          fmt::format("a sequence of {} tokens: there is room for {}", length, options_.positions));
    for (const int32_t id : own.ids)
      if (id < 0 || id >= config().vocab_size)
        throw Error(fmt::format("token id {} is outside the model's vocabulary of {}", id,
                                config().vocab_size));
  }
}

void Decoder::State::Read(std::span<const NewTokens> tokens) {
  Check(tokens);
  logit_rows_ = 0;
  for (const NewTokens& own : tokens) logit_rows_ += own.logits;
  if (std::ssize(logits_) < logit_rows_ * logit_stride_)
    logits_.resize(static_cast<size_t>(logit_rows_ * logit_stride_));
  int64_t next_logits = 0;
  for (const NewTokens& own : tokens) {
    std::vector<int32_t>& seen = seen_[static_cast<size_t>(own.sequence)];
    int64_t first = std::ssize(seen);
    seen.insert(seen.end(), own.ids.begin(), own.ids.end());
    const int64_t length = std::ssize(seen);
    // From here on all positions turn at other frequencies.
    const auto turns = [&](const RopeConfig& rope) {
      return first > 0 && rope.IsLong(first) != rope.IsLong(length);
    };
    if (turns(config().rope) || (config().window_rope && turns(*config().window_rope))) first = 0;
    for (int64_t at = first; at < length; ++at) {
      if (std::ssize(rows_) == options_.pass_tokens) Pass();
      const bool wanted = at >= length - own.logits;
      if (blocks_.empty() || blocks_.back().count == kBlockRows || at == first)
        blocks_.push_back({std::ssize(rows_), 0});
      ++blocks_.back().count;
      has_prompt_ = has_prompt_ || at > first;
      if (wanted) wanted_.push_back(std::ssize(rows_));
      rows_.push_back(
          {own.sequence, at, seen[static_cast<size_t>(at)], length, wanted ? next_logits++ : -1});
    }
  }
  if (!rows_.empty()) Pass();
}

std::span<const float> Decoder::State::Logits(int64_t i) const {
  PUZZLE_CHECK(i >= 0 && i < logit_rows_, "logits that were not asked for");
  return {logits_.data() + i * logit_stride_, static_cast<size_t>(config().vocab_size)};
}

bool Decoder::State::CanShorten(int64_t sequence, int64_t length) const {
  const int64_t now = Length(sequence);
  const auto turns = [&](const RopeConfig& rope) {
    return rope.IsLong(now) != rope.IsLong(length);
  };
  const RopeConfig* const window_rope = config().window_rope ? &*config().window_rope : nullptr;
  const bool turned = turns(config().rope) || (window_rope != nullptr && turns(*window_rope));
  return length >= 0 && length <= now && (length == 0 || !turned);
}

void Decoder::State::Shorten(int64_t sequence, int64_t length) {
  PUZZLE_CHECK(CanShorten(sequence, length), "a sequence that cannot be shortened so");
  seen_[static_cast<size_t>(sequence)].resize(static_cast<size_t>(length));
}

void Decoder::State::Pass() {
  team_.Run([this](int member) { RunPass(member); });
  rows_.clear();
  blocks_.clear();
  wanted_.clear();
  has_prompt_ = false;
}

}  // namespace puzzle::decode
