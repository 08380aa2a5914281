#include "apps/start/starter_graph.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "graph/view/show.h"
#include "io/error.h"
#include "io/json_text.h"

namespace puzzle {
namespace {

using nlohmann::json;

// @NAME@ stands for a value.
constexpr std::string_view kGraph = R"(// @SUMMARY@, made smaller.
//
//   puzzle plan @FILE@       what would run, how long, with how much disk and memory
//   puzzle run @FILE@        the same command goes on after an interruption
//   puzzle run @FILE@ --set 'vars.budgets=["60%"]'    other sizes: searches again, trains no block
//
// Paths count from the folder in which puzzle is started. `puzzle kinds KIND` explains a kind of
// node and its parameters, `puzzle schema` makes editors complete them.
{
  "puzzle": 1,
  "vars": {
    "model": @MODEL@,
    "layers": { "layers_of": "${model}" },
    // @TEXT_NOTE@
@TEXT@
    // What competes with the parent's own sub-blocks in every layer; `puzzle analyze` says what each
    // of them leaves. Percentages are of the channels. Also: attn:linear, ffn:linear, attn:kv1q3 (one
    // kv head with its three query heads), pairs such as attn:none+ffn:50%.
    "variants": @VARIANTS@,
    // At most so much of the parent's @RESOURCE@; a child for each.
    "budgets": @BUDGETS@,
    // Memory is weights and the KV cache of so many sequences of so many tokens.
    "batch": @BATCH@, "prefill": @PREFILL@, "generation": @GENERATION@,

    // How much is learned. Twice of everything takes twice the time.
    "length": @LENGTH@,         // tokens of a sequence
    "calibration": @CALIBRATION@,   // sequences that the variants learn from, one by one
    "epochs": @EPOCHS@,
    "distillation": @DISTILLATION@,  // sequences that whole children learn from
    "steps": @STEPS@,          // of that, @GKD_BATCH@ sequences each
    // The last @HELD_OUT@ sequences of the text teach nothing: @TESTED@ test, and behind them @SCORED@ score.
    "held_out": @HELD_OUT@, "scored": @SCORED@, "positions": @POSITIONS@,
    "prompt": @PROMPT@
  },
  "nodes": {
    "parent": { "kind": "load_model", "params": { "path": "${model}" } },
@STORIES@
    "calibration_text": { "kind": "tokenize", "in": { @TEXT_PORT@"model": "parent" },
      "params": { @TEXT_PARAM@"length": "${length}", "sequences": "${calibration}" } },
    "distillation_text": { "kind": "tokenize", "in": { @TEXT_PORT@"model": "parent" },
      "params": { @TEXT_PARAM@"length": "${length}", "sequences": "${distillation}" } },
    "test_text": { "kind": "tokenize", "in": { @TEXT_PORT@"model": "parent" },
      "params": { @TEXT_PARAM@"length": "${length}", "sequences": "${held_out}", "take": "last" } },
    "scoring_text": { "kind": "tokenize", "in": { @TEXT_PORT@"model": "parent" },
      "params": { @TEXT_PARAM@"length": "${length}", "sequences": "${scored}", "take": "last" } },

    // The parent's hidden states: what variants learn from, and what scores begin with.
    "states": { "kind": "activations", "in": { "parent": "parent", "tokens": "calibration_text" },
      "params": { "compute": "@COMPUTE@" } },
    "scoring_states": { "kind": "activations", "in": { "parent": "parent", "tokens": "scoring_text" },
      "params": { "dtype": "fp32" } },
    "importance": { "kind": "importance", "in": { "parent": "parent", "activations": "states" } },

    // Every variant of every layer is trained to do what the parent's sub-block does, then the model
    // is measured with that one change.
    "blocks": { "kind": "bld", "foreach": { "layer": "${layers}", "variant": "${variants}" },@EXCLUDE@
      "in": { "parent": "parent", "activations": "states", "importance": "importance" },
      "params": { "layer": "${layer}", "variant": "${variant}", "epochs": "${epochs}", "holdout": @HOLDOUT@,
                  "compute": "@COMPUTE@" } },
    "scores": { "kind": "score", "foreach": { "layer": "${layers}", "variant": "${variants}" },@EXCLUDE@
      "in": { "parent": "parent", "activations": "scoring_states",
              "block": "blocks[layer=${layer},variant=${variant}]" },
      "params": { "compute": "@COMPUTE@" } },
    "costs": { "kind": "cost", "in": { "parent": "parent" },
      "params": { "variants": "${variants}", "batch": "${batch}", "prefill": "${prefill}", "generation": "${generation}",
                  "weights": "@WEIGHTS@", "kv": "@KV@" } },

    // The mixture that loses least within the budget, repaired as a whole. More limits at once:
    // "max": { "memory_mib": "75%", "parameters": "80%" }.
    "choice": { "kind": "search", "foreach": { "budget": "${budgets}" },
      "in": { "scores": ["scores"], "costs": "costs" },
      "params": { "max": { "@RESOURCE@": "${budget}" } } },
    "child": { "kind": "assemble", "foreach": { "budget": "${budgets}" },
      "in": { "parent": "parent", "blocks": ["blocks"], "choice": "choice[budget=${budget}]" } },
    "student": { "kind": "gkd", "foreach": { "budget": "${budgets}" },
      "in": { "teacher": "parent", "student": "child[budget=${budget}]", "tokens": "distillation_text" },
      "params": { "steps": "${steps}", "batch": @GKD_BATCH@, "lr": @LR@, "warmup": 0.1, "compute": "@COMPUTE@" } },

    // To compare with: one shape for all layers, of the same trained blocks.
    "uniform_choice": { "kind": "search", "foreach": { "budget": "${budgets}" },
      "in": { "scores": ["scores"], "costs": "costs" },
      "params": { "max": { "@RESOURCE@": "${budget}" }, "method": "uniform" } },
    "uniform_child": { "kind": "assemble", "foreach": { "budget": "${budgets}" },
      "in": { "parent": "parent", "blocks": ["blocks"], "choice": "uniform_choice[budget=${budget}]" } },

    "parent_quality": { "kind": "evaluate", "in": { "model": "parent", "tokens": "test_text" },
      "params": { "label": "parent", "positions": "${positions}", "prompt": "${prompt}", "sample_tokens": 40 } },
    "child_quality": { "kind": "evaluate", "foreach": { "budget": "${budgets}" },
      "in": { "model": "child[budget=${budget}]", "parent": "parent", "tokens": "test_text", "choice": "choice[budget=${budget}]" },
      "params": { "label": "${budget}", "series": "searched", "positions": "${positions}" } },
    "student_quality": { "kind": "evaluate", "foreach": { "budget": "${budgets}" },
      "in": { "model": "student[budget=${budget}]", "parent": "parent", "tokens": "test_text" },
      "params": { "label": "${budget}, distilled", "series": "searched, distilled", "positions": "${positions}",
                  "prompt": "${prompt}", "sample_tokens": 40 } },
    "uniform_quality": { "kind": "evaluate", "foreach": { "budget": "${budgets}" },
      "in": { "model": "uniform_child[budget=${budget}]", "parent": "parent", "tokens": "test_text" },
      "params": { "label": "${budget} uniform", "series": "uniform", "positions": "${positions}" } },

    "exported": { "kind": "export", "foreach": { "budget": "${budgets}" },
      "in": { "model": "student[budget=${budget}]" }, "params": { "folder": @FOLDER@ } },
    "report": { "kind": "report",
      "in": { "rows": ["parent_quality", "student_quality", "child_quality", "uniform_quality"] },
      "params": { "order": ["parent"], "main": ["searched", "searched, distilled"] } }
  }
}
)";

// A JSON string in which "${" means itself.
std::string Quoted(std::string text) {
  for (size_t at = 0; (at = text.find("${", at)) != std::string::npos; at += 3)
    text.insert(at, 1, '$');
  try {
    return CanonicalJson(json(text));
  } catch (const std::exception&) {
    throw Error(fmt::format("\"{}\" is not UTF-8, and a graph is JSON: rename it", text));
  }
}

std::string Quoted(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + Quoted(text);
  return '[' + list + ']';
}

std::string FolderOfBudget(const std::string& folder) {
  std::string quoted = Quoted(folder + '/');
  return quoted.insert(quoted.size() - 1, "${budget}");
}

// Nothing may end a line of comment early.
std::string InComment(std::string_view text) {
  std::string line;
  for (const char c : text) line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return line;
}

std::string Exclusions(const std::vector<Repetition>& repeated) {
  if (repeated.empty()) return "";
  std::string list;
  for (const Repetition& r : repeated)
    list += fmt::format("{}{{\"layer\": {}, \"variant\": {}}}", list.empty() ? "" : ", ", r.layer,
                        Quoted(r.variant));
  return "\n      \"exclude\": [" + list + "],";
}

std::string Fill(std::string_view pattern, const std::map<std::string_view, std::string>& values) {
  std::string text;
  while (!pattern.empty()) {
    const size_t at = pattern.find('@');
    text += pattern.substr(0, at);
    if (at == std::string_view::npos) break;
    const size_t end = pattern.find('@', at + 1);
    const auto value = values.find(pattern.substr(at + 1, end - at - 1));
    PUZZLE_CHECK(value != values.end(), std::string(pattern.substr(at, 20)));
    text += value->second;
    pattern.remove_prefix(end + 1);
  }
  return text;
}

}  // namespace

std::string StarterText(const StarterGraph& g) {
  const bool has_files = !g.texts.empty();
  const int64_t held_out = g.tested + g.scored;
  return Fill(
      kGraph,
      {{"SUMMARY", InComment(g.summary)},
       {"FILE", InComment(ShellWord(g.file))},
       {"TEXT_NOTE", InComment(g.text_note)},
       {"MODEL", Quoted(g.model)},
       {"TEXT", has_files ? fmt::format("    \"texts\": {},", Quoted(g.texts))
                          : fmt::format("    \"stories\": {},", g.stories)},
       {"STORIES", has_files ? ""
                             : "    \"stories\": { \"kind\": \"synthetic_text\", \"params\": { "
                               "\"stories\": \"${stories}\" } },\n"},
       {"TEXT_PORT", has_files ? "" : "\"text\": \"stories\", "},
       {"TEXT_PARAM", has_files ? "\"texts\": \"${texts}\", " : ""},
       {"VARIANTS", Quoted(g.variants)},
       {"RESOURCE", g.resource},
       {"BUDGETS", Quoted(g.budgets)},
       {"BATCH", std::to_string(g.load.batch)},
       {"PREFILL", std::to_string(g.load.prefill_length)},
       {"GENERATION", std::to_string(g.load.generation_length)},
       {"WEIGHTS", g.load.weights},
       {"KV", g.load.kv},
       {"LENGTH", std::to_string(g.length)},
       {"CALIBRATION", std::to_string(g.calibration)},
       {"HOLDOUT", std::to_string(g.holdout)},
       {"EPOCHS", std::to_string(g.epochs)},
       {"DISTILLATION", std::to_string(g.distillation)},
       {"STEPS", std::to_string(g.steps)},
       {"GKD_BATCH", std::to_string(g.batch)},
       {"HELD_OUT", std::to_string(held_out)},
       {"TESTED", std::to_string(g.tested)},
       {"SCORED", std::to_string(g.scored)},
       // The first token of a sequence is not predicted.
       {"POSITIONS", std::to_string(g.tested * (g.length - 1))},
       {"PROMPT", Quoted(g.prompt)},
       {"COMPUTE", g.compute},
       {"EXCLUDE", Exclusions(g.repeated)},
       {"LR", fmt::format("{}", g.lr)},
       {"FOLDER", FolderOfBudget(g.folder)}});
}

}  // namespace puzzle
