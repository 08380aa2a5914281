#include "model/shape/variant.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "model/block/counts.h"

namespace puzzle {

namespace {
// What a variant's name says before a model is known.
struct ParsedName {
  SubBlock which = SubBlock::kAttention;
  SubBlockForm form = SubBlockForm::kFull;
  double number = 0;  // kv heads, FFN size, or per cent
  bool percent = false;
  double query_heads = 0;  // 0: all
  double window = 0;       // 0: not said
};

std::optional<double> ParseNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0)) return std::nullopt;
  return value;
}

// Cuts "q3" off "kv1q3"; false when what comes behind the letter is no count.
bool CutSuffix(char letter, std::string_view& name, double& count) {
  const size_t at = name.find(letter);
  if (at == std::string_view::npos) return true;
  const auto number = ParseNumber(name.substr(at + 1));
  if (!number || *number > 1e9 || *number != std::floor(*number)) return false;
  count = *number;
  name = name.substr(0, at);
  return true;
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
    if (!CutSuffix('w', name, parsed.window) || !CutSuffix('q', name, parsed.query_heads))
      return std::nullopt;
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
// The halves of "attn:kv2+ffn:256" and of "none"; all other names are their only part.
std::vector<std::string_view> PartNames(std::string_view name) {
  if (name == "none") return {"attn:none", "ffn:none"};
  const size_t plus = name.find('+');
  if (plus == std::string_view::npos) return {name};
  return {name.substr(0, plus), name.substr(plus + 1)};
}

// A name per sub-block, attention first; nothing when `name` is not a variant's.
std::optional<std::vector<ParsedName>> ParseNames(std::string_view name) {
  std::vector<ParsedName> parts;
  for (const std::string_view part : PartNames(name)) {
    const auto parsed = ParseName(part);
    if (!parsed) return std::nullopt;
    parts.push_back(*parsed);
  }
  if (parts.size() == 2 &&
      (parts[0].which != SubBlock::kAttention || parts[1].which != SubBlock::kFfn))
    return std::nullopt;
  return parts;
}

// A name on its way to a shape in one layer of a parent.
class Resolver {
 public:
  Resolver(std::string_view name, const ModelConfig& parent, int64_t layer, int64_t multiple_of)
      : name_(name), parent_(parent), layer_(layer), multiple_of_(multiple_of) {}

  [[nodiscard]] AttentionSpec Attention(const ParsedName& parsed) const {
    const AttentionSpec& own = Block().attention;
    AttentionSpec spec{parsed.form, 0};
    if (spec.is_none()) return spec;
    if (own.is_none()) Refuse("the parent has no attention here");
    if (spec.is_linear()) return spec;
    if (!own.is_full()) Refuse("the parent's attention is linear");
    const int64_t kv = own.n_kv_heads;
    const double wanted =
        parsed.percent ? parsed.number / 100 * static_cast<double>(kv) : parsed.number;
    spec.n_kv_heads = std::max<int64_t>(1, std::llround(wanted));
    spec.window = own.window;
    if (parsed.window != 0 && static_cast<int64_t>(parsed.window) != own.window)
      Refuse(own.window == 0 ? "the parent's attention has no window here"
                             : fmt::format("the parent's window is {} here", own.window));
    spec.n_query_heads = own.n_query_heads;
    if (parsed.query_heads == 0) {
      if (kv % spec.n_kv_heads != 0)
        Refuse(fmt::format("{} kv heads do not divide the parent's {}", spec.n_kv_heads, kv));
      return spec;
    }
    const auto query_heads = static_cast<int64_t>(parsed.query_heads);
    const int64_t group = QueryHeads(own, parent_) / kv;
    if (spec.n_kv_heads > kv || query_heads != group * spec.n_kv_heads)
      Refuse(fmt::format("the parent has {} kv heads with {} query heads each", kv, group));
    if (spec.n_kv_heads < kv) spec.n_query_heads = query_heads;
    return spec;
  }

  [[nodiscard]] FfnSpec Ffn(const ParsedName& parsed) const {
    const FfnSpec& own = Block().ffn;
    FfnSpec spec{parsed.form, 0};
    if (spec.is_none()) return spec;
    if (own.is_none()) Refuse("the parent has no FFN here");
    if (spec.is_linear()) return spec;
    if (!own.is_full()) Refuse("the parent's FFN is linear");
    if (!parsed.percent) {
      spec.size = static_cast<int64_t>(parsed.number);
    } else if (parsed.number == 100) {
      spec.size = own.size;
    } else {
      const double exact = parsed.number / 100.0 * static_cast<double>(own.size);
      const auto multiples = std::llround(exact / static_cast<double>(multiple_of_));
      spec.size = std::min(std::max<int64_t>(1, multiples) * multiple_of_, own.size);
    }
    if (spec.size > own.size) Refuse(fmt::format("larger than the parent's FFN of {}", own.size));
    return spec;
  }

 private:
  [[nodiscard]] const BlockSpec& Block() const {
    return parent_.blocks[static_cast<size_t>(layer_)];
  }
  [[noreturn]] void Refuse(const std::string& why) const {
    throw Error(fmt::format("layer {}: variant {}: {}", layer_, name_, why));
  }

  std::string_view name_;
  const ModelConfig& parent_;
  int64_t layer_;
  int64_t multiple_of_;
};

}  // namespace

std::string_view SubBlockName(SubBlock which) {
  if (which == SubBlock::kBoth) return "block";
  return which == SubBlock::kAttention ? "attn" : "ffn";
}

SubBlock WhichSubBlock(const VariantSpec& spec) {
  if (std::holds_alternative<BlockSpec>(spec)) return SubBlock::kBoth;
  return std::holds_alternative<AttentionSpec>(spec) ? SubBlock::kAttention : SubBlock::kFfn;
}

std::vector<VariantSpec> PartsOf(const VariantSpec& spec) {
  if (const auto* block = std::get_if<BlockSpec>(&spec)) return {block->attention, block->ffn};
  return {spec};
}

bool IsNone(const VariantSpec& spec) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) return attention->is_none();
  if (const auto* ffn = std::get_if<FfnSpec>(&spec)) return ffn->is_none();
  const auto& block = std::get<BlockSpec>(spec);
  return IsNone(block.attention) && IsNone(block.ffn);
}

std::string VariantName(const VariantSpec& spec) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec))
    return "attn:" + Describe(*attention);
  if (const auto* ffn = std::get_if<FfnSpec>(&spec)) return "ffn:" + Describe(*ffn);
  if (IsNone(spec)) return "none";
  const auto& block = std::get<BlockSpec>(spec);
  return VariantName(block.attention) + '+' + VariantName(block.ffn);
}

std::optional<std::string> CheckVariantName(std::string_view name) {
  const auto parts = ParseNames(name);
  if (!parts)
    return fmt::format(
        "\"{}\" is not a variant; expected attn:kvN, attn:kvP%, attn:kvNqM, attn:kvNwW, "
        "attn:linear, attn:none, ffn:N, ffn:P%, ffn:linear, ffn:none, a pair such as "
        "attn:kvN+ffn:P%, or none",
        name);
  for (const ParsedName& part : *parts)
    if (part.percent && part.number > 100)
      return fmt::format("\"{}\": a variant cannot be larger than the parent", name);
  return std::nullopt;
}

VariantSpec ResolveVariant(std::string_view name, const ModelConfig& parent, int64_t layer,
                           int64_t multiple_of) {
  if (const auto complaint = CheckVariantName(name)) throw Error(*complaint);
  if (layer < 0 || layer >= parent.n_layers())
    throw Error(
        fmt::format("layer {}: the parent has layers 0 to {}", layer, parent.n_layers() - 1));
  const Resolver resolver(name, parent, layer, multiple_of);
  const std::vector<ParsedName> parts = *ParseNames(name);
  if (parts.size() == 2) return BlockSpec{resolver.Attention(parts[0]), resolver.Ffn(parts[1])};
  if (parts[0].which == SubBlock::kAttention) return resolver.Attention(parts[0]);
  return resolver.Ffn(parts[0]);
}

VariantSpec ParentVariant(const ModelConfig& parent, int64_t layer, SubBlock which) {
  const BlockSpec& block = parent.blocks.at(static_cast<size_t>(layer));
  if (which == SubBlock::kBoth) return block;
  if (which == SubBlock::kAttention) return block.attention;
  return block.ffn;
}

void Place(const VariantSpec& spec, BlockSpec& block) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    block.attention = *attention;
  } else if (const auto* ffn = std::get_if<FfnSpec>(&spec)) {
    block.ffn = *ffn;
  } else {
    block = std::get<BlockSpec>(spec);
  }
}

int64_t CountParameters(const VariantSpec& spec, const ModelConfig& config) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec))
    return block::CountParameters(*attention, config);
  if (const auto* ffn = std::get_if<FfnSpec>(&spec)) return block::CountParameters(*ffn, config);
  const auto& both = std::get<BlockSpec>(spec);
  return block::CountParameters(both.attention, config) + block::CountParameters(both.ffn, config);
}

int64_t CountBlockParameters(const ModelConfig& config) {
  int64_t total = 0;
  for (const BlockSpec& block : config.blocks) total += CountParameters(block, config);
  return total;
}

int64_t CountNonBlockParameters(const ModelConfig& config) {
  const int64_t matrix = config.vocab_size * config.hidden_size;
  const bool learned = config.arch.positions == Architecture::Positions::kLearned;
  const int64_t positions = learned ? config.max_positions + config.arch.position_offset : 0;
  return (config.tied_embeddings ? 1 : 2) * matrix + positions * config.hidden_size +
         block::CountNorm(config);
}

}  // namespace puzzle
