// Attention in a pass of a Decoder. Where every sequence goes on by one token, keys are divided
// among the members segment by segment, even those of one head: each keeps what its segments
// contribute, and whoever reads the result adds it up. A prompt has blocks of rows enough to
// divide.
#include <algorithm>
#include <utility>

#include "model/decode/decoder_state.h"

namespace puzzle::decode {

void Decoder::State::PlaceHead(const PackedAttention& own, const Vector& norm, const Row& row,
                               float* head) const {
  if (!norm.empty()) Rms(head, norm.data(), config().head_dim, config().norm_eps, head);
  if (config().arch.positions != Architecture::Positions::kRotary) return;
  const RopeConfig& rope = own.window_rotation ? *config().window_rope : config().rope;
  const Rotations& both = own.window_rotation ? model_.window_rotations : model_.rotations;
  const Rotation& rotation = rope.IsLong(row.length) ? both.of_long : both.usual;
  const float* cos = rotation.cos.data() + row.position * rotation.half;
  const float* sin = rotation.sin.data() + row.position * rotation.half;
  for (int64_t i = 0; i < rotation.half; ++i) {
    const float a = head[i], b = head[i + rotation.half];
    head[i] = a * cos[i] - b * sin[i];
    head[i + rotation.half] = b * cos[i] + a * sin[i];
  }
}

void Decoder::State::StoreKeys(Member& own, int64_t layer, const RowBlock& block, int64_t kv_head) {
  const PackedAttention& attention = model_.blocks[static_cast<size_t>(layer)].attention;
  const int64_t dim = config().head_dim;
  for (int64_t r = block.first; r < block.first + block.count; ++r) {
    const Row& row = rows_[static_cast<size_t>(r)];
    const float* key = qkv_.data() + r * qkv_stride_ + (attention.heads + kv_head) * dim;
    std::copy(key, key + dim, own.head.begin());
    PlaceHead(attention, attention.k_norm, row, own.head.data());
    Remember(CacheOf(layer, r, kv_head), row.position, own.head.data(),
             key + attention.kv_heads * dim);
  }
}

Queries Decoder::State::QueriesOf(const PackedAttention& attention, const RowBlock& block) const {
  return {.tokens = {},
          .first = rows_[static_cast<size_t>(block.first)].position,
          .positions = block.count,
          .group = attention.heads / attention.kv_heads,
          .window = attention.window,
          .scale = static_cast<float>(score_scale_),
          .cap = static_cast<float>(config().arch.attention_cap)};
}

Queries Decoder::State::PlaceQueries(Member& own, int64_t layer, const RowBlock& block,
                                     int64_t kv_head) const {
  const PackedAttention& attention = model_.blocks[static_cast<size_t>(layer)].attention;
  const int64_t dim = config().head_dim;
  Queries queries = QueriesOf(attention, block);
  for (int64_t i = 0; i < queries.count(); ++i) {
    const int64_t r = block.first + i / queries.group;
    const int64_t head = kv_head * queries.group + i % queries.group;
    const float* query = qkv_.data() + r * qkv_stride_ + head * dim;
    std::copy(query, query + dim, own.head.begin());
    PlaceHead(attention, attention.q_norm, rows_[static_cast<size_t>(r)], own.head.data());
    own.queries.Set(i, own.head.data(), dim);
  }
  queries.tokens = own.queries.View(queries.count());
  return queries;
}

void Decoder::State::AttendBlocks(int member, int64_t layer) {
  const PackedAttention& attention = model_.blocks[static_cast<size_t>(layer)].attention;
  Member& own = Own(member);
  const auto each = [&](const auto& work) {
    const int64_t units = std::ssize(blocks_) * attention.kv_heads;
    for (int64_t unit = member; unit < units; unit += team_.size())
      work(blocks_[static_cast<size_t>(unit / attention.kv_heads)], unit % attention.kv_heads);
  };
  each([&](const RowBlock& block, int64_t kv_head) { StoreKeys(own, layer, block, kv_head); });
  team_.Barrier();
  const int64_t dim = config().head_dim;
  each([&](const RowBlock& block, int64_t kv_head) {
    const Queries queries = PlaceQueries(own, layer, block, kv_head);
    const HeadCache cache = CacheOf(layer, block.first, kv_head);
    const Mixture all(own.all.data(), queries.count(), cache.padded_dim());
    const Mixture part(own.part.data(), queries.count(), cache.padded_dim());
    all.Clear();
    for (int64_t s = queries.first_segment(); s < queries.last_segment(); ++s) {
      const char* const next = s + 1 < queries.last_segment() ? cache.KeysAt(s + 1) : nullptr;
      AttendSegment(cache, queries, s, next, own.room, part);
      all.Add(part);
    }
    for (int64_t i = 0; i < queries.count(); ++i) {
      const int64_t head = kv_head * queries.group + i % queries.group;
      float* const out =
          mixed_.data() + (block.first + i / queries.group) * mixed_stride_ + head * dim;
      const float* mixed = all.mixed + i * all.padded_dim;
      const float inverse = 1.0F / all.sum[i];
      for (int64_t d = 0; d < dim; ++d) out[d] = mixed[d] * inverse;
    }
  });
}

void Decoder::State::FindUnits(int member, int64_t layer) {
  const PackedAttention& attention = model_.blocks[static_cast<size_t>(layer)].attention;
  const auto keys_of = [&](const RowBlock& block) {
    const Queries queries = QueriesOf(attention, block);
    return queries.end() - queries.begin();
  };
  int64_t keys = 0;
  for (const RowBlock& block : blocks_) keys += keys_of(block) * attention.kv_heads;
  const auto [first, last] = ShareOf(keys, member, team_.size());
  std::vector<SegmentUnit>& units = Own(member).units;
  units.clear();
  int64_t before = 0;  // keys of the units so far
  for (const RowBlock& block : blocks_) {
    const Queries queries = QueriesOf(attention, block);
    for (int64_t kv_head = 0; kv_head < attention.kv_heads; ++kv_head) {
      for (int64_t s = queries.first_segment(); s < queries.last_segment(); ++s) {
        const int64_t own =
            std::min(queries.end(), (s + 1) * kSegment) - std::max(queries.begin(), s * kSegment);
        // A unit is its middle's: of its keys, (own - 1) / 2 lie before that.
        const int64_t middle = before + (own - 1) / 2;
        if (first <= middle && middle < last) units.push_back({block.first, kv_head, s});
        before += own;
      }
    }
  }
}

Mixture Decoder::State::KeptMixture(const PackedAttention& attention, const SegmentUnit& unit) {
  const int64_t group = attention.heads / attention.kv_heads;
  const int64_t padded_dim = PaddedTo(config().head_dim, kLanes);
  const int64_t place = unit.kv_head * segments_ + unit.segment;
  return {kept_.data() + unit.row * kept_stride_ + place * Mixture::Numbers(group, padded_dim),
          group, padded_dim};
}

void Decoder::State::AttendSegments(int member, int64_t layer) {
  const PackedAttention& attention = model_.blocks[static_cast<size_t>(layer)].attention;
  Member& own = Own(member);
  FindUnits(member, layer);
  Queries queries;
  for (size_t i = 0; i < own.units.size(); ++i) {
    const SegmentUnit& unit = own.units[i];
    const RowBlock block{unit.row, 1};
    const bool same_head =
        i > 0 && own.units[i - 1].row == unit.row && own.units[i - 1].kv_head == unit.kv_head;
    if (!same_head) queries = PlaceQueries(own, layer, block, unit.kv_head);
    // The segment with the new key is the last that reads it, and nobody else's.
    if (unit.segment + 1 == queries.last_segment()) StoreKeys(own, layer, block, unit.kv_head);
    const char* next = nullptr;
    if (i + 1 < own.units.size()) {
      const SegmentUnit& then = own.units[i + 1];
      next = CacheOf(layer, then.row, then.kv_head).KeysAt(then.segment);
    }
    AttendSegment(CacheOf(layer, unit.row, unit.kv_head), queries, unit.segment, next, own.room,
                  KeptMixture(attention, unit));
  }
}

void Decoder::State::Attend(int member, int64_t layer) {
  if (has_prompt_) {
    AttendBlocks(member, layer);
  } else {
    AttendSegments(member, layer);
  }
}

void Decoder::State::Attended(Member& own, int64_t layer, int64_t r, float* out) {
  const PackedAttention& attention = model_.blocks[static_cast<size_t>(layer)].attention;
  const int64_t dim = config().head_dim, group = attention.heads / attention.kv_heads;
  if (has_prompt_) {
    std::copy_n(mixed_.data() + r * mixed_stride_, attention.heads * dim, out);
    return;
  }
  const Queries queries = QueriesOf(attention, {r, 1});
  const Mixture all(own.all.data(), group, PaddedTo(dim, kLanes));
  for (int64_t kv_head = 0; kv_head < attention.kv_heads; ++kv_head) {
    all.Clear();
    for (int64_t s = queries.first_segment(); s < queries.last_segment(); ++s)
      all.Add(KeptMixture(attention, {r, kv_head, s}));
    for (int64_t i = 0; i < group; ++i) {
      const float inverse = 1.0F / all.sum[i];
      for (int64_t d = 0; d < dim; ++d) *out++ = all.mixed[i * all.padded_dim + d] * inverse;
    }
  }
}

}  // namespace puzzle::decode
