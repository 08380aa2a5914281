#include "model/variant.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"

namespace puzzle {

namespace {
// What a variant's name says before a model is known.
struct ParsedName {
  SubBlock which = SubBlock::kAttention;
  SubBlockForm form = SubBlockForm::kFull;
  double number = 0;  // kv heads, FFN size, or per cent
  bool percent = false;
  double query_heads = 0;  // 0: all
};

std::optional<double> ParseNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0)) return std::nullopt;
  return value;
}

std::optional<ParsedName> ParseName(std::string_view name) {
  ParsedName parsed;
  if (name.starts_with("attn:")) {
    name.remove_prefix(5);
  } else if (name.starts_with("ffn:")) {
    parsed.which = SubBlock::kFfn;
    name.remove_prefix(4);
  } else {
    return std::nullopt;
  }
  if (name == "linear" || name == "none") {
    parsed.form = name == "linear" ? SubBlockForm::kLinear : SubBlockForm::kNone;
    return parsed;
  }
  if (parsed.which == SubBlock::kAttention) {
    if (!name.starts_with("kv")) return std::nullopt;
    name.remove_prefix(2);
    if (const size_t q = name.find('q'); q != std::string_view::npos) {
      const auto heads = ParseNumber(name.substr(q + 1));
      if (!heads || *heads > 1e9 || *heads != std::floor(*heads)) return std::nullopt;
      parsed.query_heads = *heads;
      name = name.substr(0, q);
    }
  }
  if (name.ends_with('%')) {
    parsed.percent = true;
    name.remove_suffix(1);
  }
  const auto number = ParseNumber(name);
  if (!number || *number > 1e9) return std::nullopt;
  if (!parsed.percent && *number != std::floor(*number)) return std::nullopt;
  parsed.number = *number;
  return parsed;
}
}  // namespace

std::string_view SubBlockName(SubBlock which) {
  return which == SubBlock::kAttention ? "attn" : "ffn";
}

SubBlock WhichSubBlock(const VariantSpec& spec) {
  return std::holds_alternative<AttentionSpec>(spec) ? SubBlock::kAttention : SubBlock::kFfn;
}

std::string VariantName(const VariantSpec& spec) {
  return std::visit(
      [&](const auto& s) {
        return fmt::format("{}:{}", SubBlockName(WhichSubBlock(spec)), Describe(s));
      },
      spec);
}

std::optional<std::string> CheckVariantName(std::string_view name) {
  const auto parsed = ParseName(name);
  if (!parsed)
    return fmt::format(
        "\"{}\" is not a variant; expected attn:kvN, attn:kvP%, attn:kvNqM, attn:linear, "
        "attn:none, "
        "ffn:N, ffn:P%, ffn:linear or ffn:none",
        name);
  if (parsed->percent && parsed->number > 100)
    return fmt::format("\"{}\": a variant cannot be larger than the parent", name);
  return std::nullopt;
}

VariantSpec ResolveVariant(std::string_view name, const ModelConfig& parent, int64_t layer,
                           int64_t multiple_of) {
  if (const auto complaint = CheckVariantName(name)) throw Error(*complaint);
  if (layer < 0 || layer >= parent.n_layers())
    throw Error(
        fmt::format("layer {}: the parent has layers 0 to {}", layer, parent.n_layers() - 1));
  const ParsedName parsed = *ParseName(name);
  const BlockSpec& block = parent.blocks[static_cast<size_t>(layer)];
  auto refuse = [&](const std::string& why) {
    throw Error(fmt::format("layer {}: variant {}: {}", layer, name, why));
  };
  if (parsed.which == SubBlock::kAttention) {
    AttentionSpec spec{parsed.form, 0};
    if (spec.form == SubBlockForm::kNone) return spec;
    if (block.attention.form == SubBlockForm::kNone) refuse("the parent has no attention here");
    if (spec.form == SubBlockForm::kLinear) return spec;
    if (block.attention.form != SubBlockForm::kFull) refuse("the parent's attention is linear");
    const int64_t kv = block.attention.n_kv_heads;
    const double wanted =
        parsed.percent ? parsed.number / 100 * static_cast<double>(kv) : parsed.number;
    spec.n_kv_heads = std::max<int64_t>(1, std::llround(wanted));
    spec.window = block.attention.window;
    spec.n_query_heads = block.attention.n_query_heads;
    if (parsed.query_heads == 0) {
      if (kv % spec.n_kv_heads != 0)
        refuse(fmt::format("{} kv heads do not divide the parent's {}", spec.n_kv_heads, kv));
      return spec;
    }
    const auto query_heads = static_cast<int64_t>(parsed.query_heads);
    const int64_t group = QueryHeads(block.attention, parent) / kv;
    if (spec.n_kv_heads > kv || query_heads != group * spec.n_kv_heads)
      refuse(fmt::format("the parent has {} kv heads with {} query heads each", kv, group));
    if (spec.n_kv_heads < kv) spec.n_query_heads = query_heads;
    return spec;
  }
  FfnSpec spec{parsed.form, 0};
  if (spec.form == SubBlockForm::kNone) return spec;
  if (block.ffn.form == SubBlockForm::kNone) refuse("the parent has no FFN here");
  if (spec.form == SubBlockForm::kLinear) return spec;
  if (block.ffn.form != SubBlockForm::kFull) refuse("the parent's FFN is linear");
  if (!parsed.percent) {
    spec.size = static_cast<int64_t>(parsed.number);
  } else if (parsed.number == 100) {
    spec.size = block.ffn.size;
  } else {
    const double exact = parsed.number / 100.0 * static_cast<double>(block.ffn.size);
    const auto multiples = std::llround(exact / static_cast<double>(multiple_of));
    spec.size = std::min(std::max<int64_t>(1, multiples) * multiple_of, block.ffn.size);
  }
  if (spec.size > block.ffn.size)
    refuse(fmt::format("larger than the parent's FFN of {}", block.ffn.size));
  return spec;
}

VariantSpec ParentVariant(const ModelConfig& parent, int64_t layer, SubBlock which) {
  const BlockSpec& block = parent.blocks.at(static_cast<size_t>(layer));
  if (which == SubBlock::kAttention) return block.attention;
  return block.ffn;
}

void Place(const VariantSpec& spec, BlockSpec& block) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    block.attention = *attention;
  } else {
    block.ffn = std::get<FfnSpec>(spec);
  }
}

namespace {

int64_t NormParameters(const ModelConfig& config) {
  return (config.arch.norm == Architecture::Norm::kLayer ? 2 : 1) * config.hidden_size;
}

int64_t CountFull(const AttentionSpec& spec, const ModelConfig& config) {
  const Architecture& arch = config.arch;
  const int64_t d = config.hidden_size, dim = config.head_dim;
  const int64_t queries = QueryHeads(spec, config);
  const int64_t into = queries + 2 * spec.n_kv_heads;  // heads of q, k and v
  int64_t count = d * dim * (into + queries);
  if (arch.qkv_bias) count += dim * into;
  if (arch.o_bias) count += d;
  if (arch.qk_norm) count += 2 * dim;
  return count;
}

int64_t CountFull(const FfnSpec& spec, const ModelConfig& config) {
  const int64_t d = config.hidden_size;
  const int64_t into = config.arch.gated_ffn ? 2 : 1;  // matrices before the activation
  return spec.size * d * (into + 1) + (config.arch.ffn_bias ? into * spec.size + d : 0);
}

}  // namespace

int64_t CountParameters(const VariantSpec& spec, const ModelConfig& config) {
  const bool is_attention = std::holds_alternative<AttentionSpec>(spec);
  const int64_t d = config.hidden_size;
  const bool biased = is_attention ? config.arch.o_bias : config.arch.ffn_bias;
  switch (std::visit([](const auto& s) { return s.form; }, spec)) {
    case SubBlockForm::kFull:
      return NormParameters(config) +
             std::visit([&](const auto& s) { return CountFull(s, config); }, spec);
    case SubBlockForm::kLinear:
      return NormParameters(config) + d * d + (biased ? d : 0);
    case SubBlockForm::kNone:
      return 0;
  }
  throw BugError("unknown sub-block form");
}

int64_t CountBlockParameters(const ModelConfig& config) {
  int64_t total = 0;
  for (const BlockSpec& block : config.blocks)
    total += CountParameters(block.attention, config) + CountParameters(block.ffn, config);
  return total;
}

int64_t CountNonBlockParameters(const ModelConfig& config) {
  const int64_t matrix = config.vocab_size * config.hidden_size;
  const bool learned = config.arch.positions == Architecture::Positions::kLearned;
  const int64_t positions = learned ? config.max_positions + config.arch.position_offset : 0;
  return (config.tied_embeddings ? 1 : 2) * matrix + positions * config.hidden_size +
         NormParameters(config);
}

}  // namespace puzzle
