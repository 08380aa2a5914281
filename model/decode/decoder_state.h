// What a Decoder keeps between tokens, and one pass through its model: decoder_pass.cpp. Belongs to
// one thread, which is member 0 of its team.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "model/decode/attention.h"
#include "model/decode/decoder.h"
#include "model/decode/decoder_weights.h"
#include "model/decode/packed_matrix.h"
#include "model/decode/team.h"

namespace puzzle::decode {

/// A token of a pass.
struct Row {
  int64_t sequence = 0;
  int64_t position = 0;
  int32_t id = 0;
  int64_t length = 0;   // that its sequence has in the end: decides how long ones are rotated
  int64_t logits = -1;  // where they go; -1: nowhere
};

/// Rows of one sequence whose attention is computed together.
struct RowBlock {
  int64_t first = 0, count = 0;
};

/// Attention of a row to a segment of its sequence: what is divided among members where every
/// sequence has one row.
struct SegmentUnit {
  int64_t row = 0, kv_head = 0, segment = 0;
};

/// out [n] = x [n] divided by the root of its mean square, times `weight`. May overwrite x.
void Rms(const float* x, const float* weight, int64_t n, double eps, float* out);

/// Keys and values of all sequences and blocks.
class Cache {
 public:
  Cache(const ModelConfig& config, const DecoderOptions& options);
  [[nodiscard]] static uint64_t Bytes(const ModelConfig& config, const DecoderOptions& options);

  [[nodiscard]] HeadCache Of(int64_t layer, int64_t sequence, int64_t kv_head) const;

 private:
  // That of one head, without memory.
  [[nodiscard]] static HeadCache HeadOf(const ModelConfig& config, const DecoderOptions& options);

  HeadCache head_;
  std::vector<int64_t> first_head_;  // of each layer and sequence 0, in heads
  std::vector<int64_t> kv_heads_;
  Arena arena_;
  char* data_;
};

class Decoder::State {
 public:
  State(ModelWeights weights, const DecoderOptions& options);

  [[nodiscard]] const ModelConfig& config() const { return model_.config; }
  [[nodiscard]] const DecoderOptions& options() const { return options_; }
  void Read(std::span<const NewTokens> tokens);
  [[nodiscard]] std::span<const float> Logits(int64_t i) const;
  [[nodiscard]] int64_t Length(int64_t sequence) const {
    return std::ssize(seen_.at(static_cast<size_t>(sequence)));
  }
  [[nodiscard]] std::span<const int32_t> Ids(int64_t sequence) const {
    return seen_.at(static_cast<size_t>(sequence));
  }
  [[nodiscard]] bool CanShorten(int64_t sequence, int64_t length) const;
  void Shorten(int64_t sequence, int64_t length);

 private:
  // What one thread computes in.
  struct Member {
    Vector row;           // one token's state or features
    Vector head;          // one query or key
    TokenBuffer queries;  // of a block of rows, to one kv head
    AttentionRoom room;
    Vector all, part;  // mixtures of theirs
    std::vector<SegmentUnit> units;
    TokenBuffer token;  // where the pass has one row
  };

  void Check(std::span<const NewTokens> tokens) const;
  void Pass();
  void RunPass(int member);
  void Embed(int member);
  void Attention(int member, int64_t layer);
  void Ffn(int member, int64_t layer);
  void Head(int member);

  // Adds the product with `out`, through a norm if there is one, to the states; ends with a
  // barrier.
  void AddToStates(int member, const PackedMatrix& out, const PanelTokens& tokens,
                   const Vector& bias, const Vector& post_norm);

  // decoder_attention.cpp: from qkv_ to what `out` multiplies. A pass in which every sequence has
  // one row divides it by segments and keeps mixtures, others by blocks of rows.
  void Attend(int member, int64_t layer);
  void AttendBlocks(int member, int64_t layer);
  void AttendSegments(int member, int64_t layer);
  // Row r's features of all heads, after a barrier behind Attend.
  void Attended(Member& own, int64_t layer, int64_t r, float* out);
  // The member's units, one behind the other: about as many keys as others have.
  void FindUnits(int member, int64_t layer);
  void StoreKeys(Member& own, int64_t layer, const RowBlock& block, int64_t kv_head);
  [[nodiscard]] Queries PlaceQueries(Member& own, int64_t layer, const RowBlock& block,
                                     int64_t kv_head) const;
  // The same without their numbers.
  [[nodiscard]] Queries QueriesOf(const PackedAttention& attention, const RowBlock& block) const;
  void PlaceHead(const PackedAttention& own, const Vector& norm, const Row& row, float* head) const;
  // Where the mixture of a unit is kept; only the member whose unit it is writes there.
  [[nodiscard]] Mixture KeptMixture(const PackedAttention& attention, const SegmentUnit& unit);
  [[nodiscard]] HeadCache CacheOf(int64_t layer, int64_t r, int64_t kv_head) const {
    return cache_.Of(layer, rows_[static_cast<size_t>(r)].sequence, kv_head);
  }

  // Row r of the states behind `norm`.
  void Normalize(const NormWeights& norm, int64_t r, float* out) const;
  // The tokens of a product with matrices of n columns; fill(r, out) makes row r. Ends with a
  // barrier, or every member has made its own.
  template <class Fill>
  PanelTokens Gather(int member, int64_t n, const Fill& fill);
  // The member's share of a product, plus the bias: which rows of the matrix that is.
  std::pair<int64_t, int64_t> Multiply(int member, const PackedMatrix& matrix,
                                       const PanelTokens& tokens, Vector& out, int64_t stride,
                                       const Vector& bias);
  [[nodiscard]] int64_t rows() const { return std::ssize(rows_); }
  [[nodiscard]] Member& Own(int member) { return members_[static_cast<size_t>(member)]; }

  DecoderOptions options_;
  Team team_;
  PackedModel model_;
  Cache cache_;
  std::vector<std::vector<int32_t>> seen_;  // by sequence

  // The pass.
  double score_scale_ = 1;
  std::vector<Row> rows_;
  std::vector<RowBlock> blocks_;
  bool has_prompt_ = false;      // whether a sequence has several blocks or rows
  std::vector<int64_t> wanted_;  // rows whose logits are
  std::vector<Member> members_;
  TokenBuffer tokens_;
  Vector states_;  // [rows, hidden]
  Vector qkv_, mixed_, gate_, up_, y_;
  Vector kept_;  // mixtures: [rows, kv heads, segments], each of its group of queries
  int64_t qkv_stride_ = 0, mixed_stride_ = 0, ffn_stride_ = 0, y_stride_ = 0;
  int64_t kept_stride_ = 0, segments_ = 0;  // of a row of kept_; segments of a full sequence

  Vector logits_;
  int64_t logit_rows_ = 0, logit_stride_ = 0;
};

}  // namespace puzzle::decode
