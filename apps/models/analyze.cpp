#include "apps/models/analyze.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/frame/output.h"
#include "io/chat_template.h"
#include "io/error.h"
#include "io/gguf.h"
#include "io/quantity.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint_config.h"
#include "model/files/stored_types.h"
#include "nodes/cost/anatomy.h"
#include "nodes/search/frontier.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kUsualContext = 2048;
constexpr double kMib = 1 << 20;

struct TokenizerFacts {
  std::string kind;  // "": there is none, or it cannot be read
  int64_t tokens = 0;
  std::string chat;     // the template's format
  std::string trouble;  // what is wrong with it
};

// All that is known of a checkpoint before anything is computed.
struct Analysis {
  std::string path;
  bool is_gguf = false;
  ModelConfig model;
  std::vector<StoredType> types;
  TokenizerFacts tokenizer;
  ParameterParts parts;
  ServingScenario scenario;
  ServingCosts costs;
  std::vector<LayerGroup> layers;
  std::vector<BudgetAnswer> budgets;
};

TokenizerFacts TokenizerOf(const std::string& path, const ModelConfig& model) {
  TokenizerFacts facts;
  try {
    const std::shared_ptr<const Tokenizer> tokenizer = FindTokenizer(path);
    if (!tokenizer) {
      facts.trouble =
          "none: put tokenizer.json, tokenizer.model, or vocab.json and merges.txt beside "
          "config.json";
      return facts;
    }
    facts.kind = tokenizer->kind();
    facts.tokens = tokenizer->vocab_size();
    if (facts.tokens > model.vocab_size)
      facts.trouble = fmt::format("more tokens than the embedding has rows ({})", model.vocab_size);
    if (const auto chat = FindChatTemplate(tokenizer->files(), path)) facts.chat = chat->name();
  } catch (const Error& error) {
    facts.trouble = error.what();
  }
  return facts;
}

double ShareOf(const std::string& text) {
  const BudgetValue value = ReadBudgetValue(text);
  if (!value.percent || !(value.value > 0) || value.value > 100)
    throw Error(fmt::format("--budget {}: expected per cent of the memory, such as 75%", text));
  return value.value / 100;
}

Analysis Analyze(const AnalyzeOptions& options) {
  if (!std::filesystem::exists(options.model))
    throw Error(
        fmt::format("{}: there is no such folder or file; MODEL is a checkpoint folder with "
                    "config.json and safetensors, or a .gguf file",
                    options.model));
  Analysis a;
  a.path = options.model;
  a.is_gguf = IsGgufPath(options.model);
  a.model = ReadCheckpointConfig(options.model);
  a.types = ReadStoredTypes(options.model);
  a.tokenizer = TokenizerOf(options.model, a.model);
  a.parts = CountParts(a.model);
  a.scenario = options.load.For(a.model);
  a.costs = CountModel(a.model, a.scenario);
  a.layers = GroupLayers(a.model, VariantMenu(a.model, Menu::kAll), a.scenario.kv);
  for (const std::string& budget : options.budgets)
    a.budgets.push_back(AskBudget(a.model, a.scenario, ShareOf(budget)));
  return a;
}

// ---- as text

std::string CountText(double count) {
  if (count >= 1e9) return fmt::format("{:.2f} billion", count / 1e9);
  if (count >= 1e6) return fmt::format("{:.2f} million", count / 1e6);
  return fmt::format("{:.0f}", count);
}

std::string BytesText(double bytes) {
  return SizeText(static_cast<uint64_t>(std::max(0.0, bytes)));
}

std::string StorageText(const Analysis& a) {
  int64_t bytes = 0;
  std::string types;
  for (const StoredType& type : a.types) {
    bytes += type.bytes;
    types += fmt::format("{}{} {}, {} tensor{}", types.empty() ? "" : "; ", type.name,
                         BytesText(static_cast<double>(type.bytes)), type.tensors,
                         type.tensors == 1 ? "" : "s");
  }
  return fmt::format("{}, {} of weights ({})", a.is_gguf ? "GGUF file" : "Hugging Face folder",
                     BytesText(static_cast<double>(bytes)), types);
}

std::string TokenizerText(const TokenizerFacts& facts) {
  if (facts.kind.empty()) return facts.trouble;
  std::string text = fmt::format("{}, {} tokens", facts.kind, facts.tokens);
  if (!facts.chat.empty()) text += fmt::format(", {} chat template", facts.chat);
  if (!facts.trouble.empty()) text += "; " + facts.trouble;
  return text;
}

std::string HeadText(const Analysis& a) {
  const ModelConfig& model = a.model;
  const Architecture& arch = model.arch;
  std::string text = fmt::format("{}\n", a.path);
  const auto line = [&](const char* name, const std::string& value) {
    text += fmt::format("  {:<12} {}\n", name, value);
  };
  line("family", model.family);
  line("checkpoint", StorageText(a));
  line("size", fmt::format("{} parameters: {} layers of width {}",
                           CountText(static_cast<double>(a.parts.total())), model.n_layers(),
                           model.hidden_size));
  line("attention",
       fmt::format("{} query heads of {}, {} positions", model.n_heads, model.head_dim,
                   arch.positions == Architecture::Positions::kRotary ? "rotary" : "learned"));
  line("FFN",
       fmt::format("{}{}", ActivationName(arch.activation), arch.gated_ffn ? ", gated" : ""));
  line("context", fmt::format("{} tokens", model.max_positions));
  line("tokenizer", TokenizerText(a.tokenizer));
  return text;
}

std::string PartsText(const Analysis& a) {
  std::string text = "\nparameters\n";
  const auto total = static_cast<double>(a.parts.total());
  const auto line = [&](const char* name, int64_t count, const char* note = "") {
    text += fmt::format("  {:<12} {:>14} {:>6.1f}%{}\n", name, count,
                        100 * static_cast<double>(count) / total, note);
  };
  line("embedding", a.parts.embedding, a.parts.head == 0 ? "  (the head as well)" : "");
  if (a.parts.positions > 0) line("positions", a.parts.positions);
  line("attention", a.parts.attention);
  line("FFN", a.parts.ffn);
  line("final norm", a.parts.final_norm);
  if (a.parts.head > 0) line("head", a.parts.head);
  line("all", a.parts.total());
  return text;
}

std::string MemoryText(const Analysis& a) {
  const ServingScenario& s = a.scenario;
  return fmt::format(
      "\nmemory for {} sequence{} of {} tokens, weights in {}, KV cache in {}\n"
      "  {:<12} {:>10}\n  {:<12} {:>10}  ({} per token)\n  {:<12} {:>10}\n",
      s.batch, s.batch == 1 ? "" : "s", s.sequence(), s.weights, s.kv, "weights",
      BytesText(a.costs.weight_mib * kMib), "KV cache", BytesText(a.costs.kv_mib * kMib),
      BytesText(KvBytesPerToken(a.model, s.kv)), "both", BytesText(a.costs.memory_mib() * kMib));
}

std::string LayersText(const Analysis& a) {
  std::string text = "\nvariants of a layer (`attn:none+ffn:50%` and such: both at once)\n";
  for (const LayerGroup& group : a.layers) {
    const std::string which = group.first == group.last
                                  ? fmt::format("layer {}", group.first)
                                  : fmt::format("layers {} to {}", group.first, group.last);
    text += fmt::format("  {:<32}{:>12}{:>11}{:>14}{:>14}\n",
                        fmt::format("{}: attention {}, FFN {}", which,
                                    Describe(group.block.attention), Describe(group.block.ffn)),
                        "parameters", "of parent", "KV per token", "model keeps");
    for (const VariantShare& v : group.variants) {
      const std::string name =
          v.name.ends_with(v.shape) ? v.name : fmt::format("{} = {}", v.name, v.shape);
      const std::string kv =
          v.name.starts_with("attn:") ? BytesText(v.kv_bytes_per_token) : std::string();
      text += fmt::format("    {:<30}{:>12.0f}{:>10.1f}%{:>14}{:>13.2f}%\n", name, v.parameters,
                          100 * v.of_parent, kv, 100 * v.of_model);
    }
  }
  return text;
}

std::string BudgetsText(const Analysis& a) {
  if (a.budgets.empty()) return "";
  std::string text =
      "\nwhat a budget of memory means, were it met in one way alone, in all layers alike\n";
  const std::string never = "not enough";
  for (const BudgetAnswer& b : a.budgets) {
    const std::string ffn =
        b.ffn_percent ? fmt::format("{}% of the channels", *b.ffn_percent) : never;
    const std::string kv = !b.kv_heads        ? never
                           : *b.kv_heads == 0 ? std::string("no attention")
                                              : fmt::format("{} per layer", *b.kv_heads);
    const std::string blocks =
        b.blocks ? fmt::format("{} of {} stay", *b.blocks, a.model.n_layers()) : never;
    text += fmt::format("  {:>4.0f}%  {:>9}   FFN: {}; kv heads: {}; blocks: {}\n", 100 * b.share,
                        BytesText(b.memory_mib * kMib), ffn, kv, blocks);
  }
  text += fmt::format("  embedding, final norm and head stay whatever is chosen: {} ({:.1f}%)\n",
                      BytesText(FloorMib(a.model, a.scenario) * kMib),
                      100 * FloorMib(a.model, a.scenario) / a.costs.memory_mib());
  return text;
}

// ---- as JSON

ordered_json VariantJson(const VariantShare& v) {
  return {{"name", v.name},
          {"shape", v.shape},
          {"parameters", v.parameters},
          {"of_parent", v.of_parent},
          {"of_model", v.of_model},
          {"kv_bytes_per_token", v.kv_bytes_per_token}};
}

ordered_json OrNull(const std::optional<int64_t>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json ToJson(const Analysis& a) {
  ordered_json json;
  json["model"] = a.path;
  json["format"] = a.is_gguf ? "gguf" : "hf";
  json["family"] = a.model.family;
  json["layers"] = a.model.n_layers();
  json["hidden_size"] = a.model.hidden_size;
  json["query_heads"] = a.model.n_heads;
  json["head_dim"] = a.model.head_dim;
  json["vocab_size"] = a.model.vocab_size;
  json["context"] = a.model.max_positions;
  json["tied"] = a.model.tied_embeddings;
  for (const StoredType& type : a.types)
    json["stored"].push_back({{"type", type.name},
                              {"tensors", type.tensors},
                              {"elements", type.elements},
                              {"bytes", type.bytes}});
  json["tokenizer"] = {{"kind", a.tokenizer.kind},
                       {"tokens", a.tokenizer.tokens},
                       {"chat_template", a.tokenizer.chat},
                       {"trouble", a.tokenizer.trouble}};
  json["parameters"] = {{"embedding", a.parts.embedding},   {"positions", a.parts.positions},
                        {"attention", a.parts.attention},   {"ffn", a.parts.ffn},
                        {"final_norm", a.parts.final_norm}, {"head", a.parts.head},
                        {"total", a.parts.total()}};
  json["memory"] = {{"batch", a.scenario.batch},
                    {"context", a.scenario.sequence()},
                    {"weights", a.scenario.weights},
                    {"kv", a.scenario.kv},
                    {"weight_mib", a.costs.weight_mib},
                    {"kv_mib", a.costs.kv_mib},
                    {"memory_mib", a.costs.memory_mib()},
                    {"kv_bytes_per_token", KvBytesPerToken(a.model, a.scenario.kv)},
                    {"floor_mib", FloorMib(a.model, a.scenario)}};
  for (const LayerGroup& group : a.layers) {
    ordered_json variants = ordered_json::array();
    for (const VariantShare& v : group.variants) variants.push_back(VariantJson(v));
    json["blocks"].push_back({{"first", group.first},
                              {"last", group.last},
                              {"attention", Describe(group.block.attention)},
                              {"ffn", Describe(group.block.ffn)},
                              {"variants", std::move(variants)}});
  }
  json["budgets"] = ordered_json::array();
  for (const BudgetAnswer& b : a.budgets)
    json["budgets"].push_back({{"share", b.share},
                               {"memory_mib", b.memory_mib},
                               {"ffn_percent", OrNull(b.ffn_percent)},
                               {"kv_heads", OrNull(b.kv_heads)},
                               {"blocks", OrNull(b.blocks)}});
  return json;
}

}  // namespace

void LoadOptions::Declare(CLI::App& verb) {
  const auto types = CLI::IsMember({"fp32", "bf16", "fp16", "fp8"});
  verb.add_option("--batch", batch, "sequences that are served at once")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb.add_option("--context", context,
                  "tokens of each, in and out (default: the model's context, 2048 at most)")
      ->check(CLI::Range(2, 1 << 24));
  verb.add_option("--weights", weights, "type of the weights (default: as they are stored)")
      ->check(types);
  verb.add_option("--kv", kv, "type of the KV cache (default: that of the weights)")->check(types);
}

ServingScenario LoadOptions::For(const ModelConfig& model) const {
  if (context > model.max_positions)
    throw Error(fmt::format("--context {}: the model's context is {} tokens", context,
                            model.max_positions));
  const int64_t length = context > 0 ? context : std::min(model.max_positions, kUsualContext);
  ServingScenario scenario;
  scenario.batch = batch;
  scenario.prefill_length = length / 2;
  scenario.generation_length = length - length / 2;
  scenario.weights = weights.empty() ? ServedType(model) : weights;
  scenario.kv = kv.empty() ? scenario.weights : kv;
  scenario.activations = scenario.weights;
  return scenario;
}

int AnalyzeCommand(const AnalyzeOptions& options) {
  try {
    const Analysis a = Analyze(options);
    if (options.json) {
      Print("{}\n", ToJson(a).dump(2, ' ', false, ordered_json::error_handler_t::replace));
      return kExitDone;
    }
    Print("{}{}{}{}{}", HeadText(a), PartsText(a), MemoryText(a), LayersText(a), BudgetsText(a));
    Print("\n`puzzle init {}` writes a graph that looks for the best mixture.\n", options.model);
  } catch (const Error& error) {
    Say("puzzle: {}\n", error.what());
    return kExitBadInput;
  }
  return kExitDone;
}

void AddAnalyzeVerb(Verbs& verbs) {
  auto options = std::make_shared<AnalyzeOptions>();
  CLI::App& verb = verbs.Add(
      "analyze",
      "Say what a checkpoint is: sizes, parameters by part, memory, which variants its layers can "
      "have, what a budget of memory would take.",
      "  puzzle analyze models/stories3M\n"
      "  puzzle analyze model.gguf --batch 64 --context 4096 --budget 80%,60%\n"
      "  puzzle analyze model.gguf --json",
      [options] { return AnalyzeCommand(*options); });
  verb.add_option("MODEL", options->model, "checkpoint: a folder or a .gguf file")->required();
  verb.add_option("--budget", options->budgets, "parts of the memory, with commas between")
      ->delimiter(',')
      ->capture_default_str();
  options->load.Declare(verb);
  verb.add_flag("--json", options->json, "print JSON");
}

}  // namespace puzzle
