#include "apps/models/model_commands.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/frame/output.h"
#include "apps/models/model_session.h"
#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"
#include "model/math/runtime.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/tokenize.h"
#include "nodes/measure/answer_tasks.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/score.h"
#include "nodes/measure/tasks.h"

namespace puzzle {

namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{4} << 30;

// "attn:5" takes the attention out of layer 5, "block:5" all of it.
void Remove(ModelWeights& model, const std::string& text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string which = text.substr(0, colon);
  const char* const end = text.data() + text.size();
  int64_t layer = -1;
  const bool is_number =
      colon < text.size() && std::from_chars(text.data() + colon + 1, end, layer).ptr == end;
  if ((which != "attn" && which != "ffn" && which != "block") || !is_number || layer < 0 ||
      layer >= model.config.n_layers())
    throw Error(
        fmt::format("--without {}: expected attn:LAYER, ffn:LAYER or block:LAYER, LAYER 0 to {}",
                    text, model.config.n_layers() - 1));
  const VariantSpec nothing =
      ResolveVariant(which == "block" ? "none" : which + ":none", model.config, layer);
  Replace(model, layer, nothing, NoWeights(WhichSubBlock(nothing)));
}

nlohmann::ordered_json ToJson(const TokenMetrics& metrics, bool with_parent) {
  nlohmann::ordered_json json;
  json["positions"] = metrics.tokens;
  for (const MetricInfo& info : AllMetrics()) {
    if (info.needs_parent && !with_parent) continue;
    json[std::string(info.name)] = metrics.Mean(info.metric);
    json[fmt::format("{}_se", info.name)] = metrics.Error(info.metric);
  }
  return json;
}

TokenMetrics MeasureText(const EvalOptions& options, const Tokenizer& tokenizer,
                         const Transformer& model, const Transformer* parent) {
  PackOptions pack;
  pack.separator = options.separator;
  pack.length = options.length > 0 ? options.length : model.config().max_positions;
  pack.short_is_whole = options.length == 0;
  const TokenSet tokens = PackTokens(ReadTextFile(options.text, kMaxTextBytes), tokenizer, pack);
  Percentage percentage;
  return EvaluateModel(model, parent, tokens, options.positions, options.batch,
                       [&](double fraction) { percentage.Show(fraction); });
}

std::vector<TaskResult> AnswerTasks(const std::vector<Task>& tasks, const std::string& folder,
                                    const Transformer& model) {
  const auto tokenizer = LoadTokenizer(folder);
  std::vector<TaskResult> results;
  Percentage percentage;
  for (const Task& task : tasks)
    results.push_back(AnswerTask(model, *tokenizer, task,
                                 [&](double part) { percentage.Show(part, task.name); }));
  return results;
}

nlohmann::ordered_json TasksJson(const std::vector<TaskResult>& results) {
  nlohmann::ordered_json json;
  json["tasks"] = ToJson(results);
  if (const TaskMean average = AverageOf(results); average.tasks > 0) {
    json["average"] = average.mean;
    json["average_stderr"] = average.error;
  }
  return json;
}

}  // namespace

int EvalCommand(const EvalOptions& options) {
  const std::vector<Task> tasks =
      ChosenTasks(options.tasks, options.task_data, {options.limit, TaskPart::kAll});
  PrepareThread(options.device, options.threads);
  ModelWeights weights = LoadCheckpoint(options.model);
  for (const std::string& removed : options.without) Remove(weights, removed);
  const at::ScalarType products = ProductType(options.compute, options.device);
  const auto on_device = [&](const ModelWeights& of) {
    return WithMatricesIn(products, Transformer(ToDevice(of, options.device)));
  };
  const Transformer model = on_device(weights);
  std::optional<Transformer> parent;
  if (!options.parent.empty()) parent.emplace(on_device(LoadCheckpoint(options.parent)));
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!options.text.empty()) {
    const auto tokenizer = LoadTokenizer(options.model);
    if (const auto parents = parent ? FindTokenizer(options.parent) : nullptr)
      CheckSameLanguage(tokenizer->files(), parents->files());
    json = ToJson(MeasureText(options, *tokenizer, model, parent ? &*parent : nullptr),
                  parent.has_value());
    if (!options.json)
      for (const auto& [name, value] : json.items()) Print("{:<22} {}\n", name, value.dump());
  }
  if (!tasks.empty()) {
    std::vector<ModelTasks> models;
    if (parent) models.push_back({"parent", AnswerTasks(tasks, options.parent, *parent)});
    models.push_back({parent ? "child" : "model", AnswerTasks(tasks, options.model, model)});
    if (!options.json) Print("{}", TaskTable(models, parent ? 0 : -1));
    json.update(TasksJson(models.back().results));
    if (parent) json["parent"] = TasksJson(models.front().results);
  }
  if (options.json) Print("{}\n", json.dump());
  return kExitDone;
}

}  // namespace puzzle
