#include "apps/model_commands.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "apps/output.h"
#include "graph/run/machine.h"
#include "io/chat_template.h"
#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "io/utf8.h"
#include "model/files/checkpoint.h"
#include "model/math/runtime.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/tokenize.h"
#include "nodes/measure/answer_tasks.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/tasks.h"

namespace puzzle {

namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{4} << 30;

void PrepareThread(const std::string& device, int threads) {
  BindThreadToDevice(device);
  SetThreads(threads > 0 ? threads : AvailableCores());
  spdlog::info("{}", RuntimeDescription());
}

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

// A percentage on the terminal while something is done; nothing where nobody watches.
class Percentage {
 public:
  Percentage() : show_(isatty(STDERR_FILENO) != 0) {}
  Percentage(const Percentage&) = delete;
  Percentage& operator=(const Percentage&) = delete;
  ~Percentage() {
    if (show_) fmt::print(stderr, "\r{:{}}\r", "", width_);
  }
  void Show(double fraction, const std::string& what = {}) {
    if (!show_) return;
    const std::string text = fmt::format("{:3.0f} % {}", 100 * fraction, what);
    fmt::print(stderr, "\r{:<{}}", text, width_);
    width_ = std::max(width_, text.size());
  }

 private:
  bool show_;
  size_t width_ = 0;
};

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

std::string Answer(const Transformer& model, const Tokenizer& tokenizer, const ChatTemplate& chat,
                   const GenerateOptions& options) {
  const ChatIds question =
      EncodeChat(tokenizer, chat.Render({{"user", options.prompt}}, /*asks=*/true));
  const std::vector<int32_t> answer = Generate(model, question.ids, options.tokens,
                                               {options.temperature, options.top_k, options.seed});
  return RepairUtf8(DecodeAfter(tokenizer, question.ids, answer));
}

}  // namespace

int EvalCommand(const EvalOptions& options) {
  const std::vector<Task> tasks =
      ChosenTasks(options.tasks, options.task_data, {options.limit, TaskPart::kAll});
  PrepareThread(options.device, options.threads);
  ModelWeights weights = LoadCheckpoint(options.model);
  for (const std::string& removed : options.without) Remove(weights, removed);
  const Transformer model(ToDevice(weights, options.device));
  std::optional<Transformer> parent;
  if (!options.parent.empty())
    parent.emplace(ToDevice(LoadCheckpoint(options.parent), options.device));
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

int GenerateCommand(const GenerateOptions& options) {
  PrepareThread(options.device, options.threads);
  const auto tokenizer = LoadTokenizer(options.model);
  std::optional<ChatTemplate> chat;
  if (options.chat) {
    chat = FindChatTemplate(tokenizer->files());
    if (!chat) throw Error(options.model + ": --chat: the tokenizer has no chat template");
  }
  const Transformer model(ToDevice(LoadCheckpoint(options.model), options.device));
  if (chat) {
    Print("{}\n", Answer(model, *tokenizer, *chat, options));
    return kExitDone;
  }
  const std::string continuation = SampleText(model, *tokenizer, options.prompt, options.tokens,
                                              {options.temperature, options.top_k, options.seed});
  Print("{}{}\n", options.prompt, continuation);
  return kExitDone;
}

}  // namespace puzzle
