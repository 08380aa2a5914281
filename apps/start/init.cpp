#include "apps/start/init.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "apps/frame/load.h"
#include "apps/frame/output.h"
#include "apps/machine/machine_speed.h"
#include "apps/start/starter_graph.h"
#include "graph/run/lanes.h"
#include "graph/run/machine.h"
#include "graph/view/show.h"
#include "io/error.h"
#include "io/file.h"
#include "io/hdf5_archive.h"
#include "io/quantity.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint_config.h"
#include "nodes/data/documents.h"
#include "nodes/data/story_corpus.h"
#include "nodes/search/frontier.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

// How much of everything; `calibration` is halved until a run takes no longer than `hours`.
struct Preset {
  std::string_view name;
  Menu menu;
  double hours;
  int64_t calibration, least;  // sequences
  int64_t epochs;
  double steps;  // of distillation, per sequence of calibration
  int64_t tested;
};

constexpr Preset kPresets[] = {
    {"smoke", Menu::kSmall, 0.2, 16, 8, 1, 0.5, 4},
    {"balanced", Menu::kUsual, 1, 512, 16, 2, 1, 32},
    {"thorough", Menu::kAll, 12, 4096, 64, 3, 2, 96},
};

constexpr int64_t kLength = 512;            // tokens of a sequence
constexpr double kMostOfText = 0.9;         // that is counted on: the rest is for bad estimates
constexpr double kFree = 0.8;               // part of what is free that may be planned with
constexpr size_t kSampleBytes = 256 << 10;  // of a text, to learn how many tokens it has
constexpr int64_t kStoriesInSample = 100;

const Preset& PresetOf(const std::string& name) {
  for (const Preset& preset : kPresets)
    if (preset.name == name) return preset;
  throw Error(fmt::format("--preset {}: there are smoke, balanced, thorough", name));
}

struct Target {
  std::string resource;              // of a search
  std::vector<std::string> budgets;  // at least one
};

// "memory=75%", "parameters=80%,60%", "memory=500".
Target ReadTarget(const std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"memory", "memory_mib"},           {"memory_mib", "memory_mib"},
      {"weights", "weight_mib"},          {"kv", "kv_mib"},
      {"parameters", "parameters"},       {"block_parameters", "block_parameters"},
      {"decode_gflops", "decode_gflops"}, {"prefill_gflops", "prefill_gflops"}};
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  Target target;
  for (const auto& [ours, resource] : kNames)
    if (name == ours) target.resource = resource;
  if (target.resource.empty() || equals == std::string::npos)
    throw Error(fmt::format(
        "--target {}: expected RESOURCE=LIMIT such as memory=75%, parameters=80%,60% or "
        "memory=500 (MiB); there are memory, weights, kv, parameters, block_parameters, "
        "prefill_gflops, decode_gflops",
        text));
  std::string rest = text.substr(equals + 1);
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    const std::string one = rest.substr(0, comma);
    more = comma != std::string::npos;
    if (more) rest.erase(0, comma + 1);
    try {
      const BudgetValue value = ReadBudgetValue(one);
      if (!(value.value > 0) || (value.percent && value.value >= 100))
        throw Error("more than 0 and less than the parent has");
      target.budgets.push_back(value.Text());
    } catch (const Error& error) {
      throw WithContext("--target " + text, error);
    }
  }
  return target;
}

// Without a search nobody knows what is lost, but what no choice of variants can reach is known.
void CheckReachable(const Target& target, const ModelConfig& model, const ServingScenario& load) {
  if (target.resource != "memory_mib") return;
  const double floor = FloorMib(model, load), all = CountModel(model, load).memory_mib();
  for (const std::string& budget : target.budgets) {
    const BudgetValue value = ReadBudgetValue(budget);
    const double limit = value.percent ? value.value / 100 * all : value.value;
    if (limit <= floor)
      throw Error(fmt::format(
          "--target memory={}: {:.1f} MiB, but embedding, final norm and head alone are {:.1f} of "
          "the parent's {:.1f} MiB; ask for more than {:.0f}%, or count with --batch and --context "
          "a load that is served",
          budget, limit, floor, all, std::ceil(100 * floor / all)));
    if (!value.percent && limit >= all)
      throw Error(fmt::format("--target memory={}: the parent takes {:.1f} MiB; ask for less",
                              budget, all));
  }
}

// What there is to learn from.
struct TextFacts {
  double tokens = 0;  // estimated from a sample
  double tokens_per_story = 0;
  std::string prompt;
};

std::string FirstWords(const std::string& text) {
  constexpr int kWords = 6;
  std::string words;
  int count = 0;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || (c == ' ' && ++count == kWords)) break;
    words += c;
  }
  return count < 2 ? "Once upon a time" : words;
}

TextFacts FactsOfStories(const Tokenizer& tokenizer) {
  const std::string sample = GenerateStories({kStoriesInSample, 1});
  TextFacts facts;
  facts.tokens_per_story =
      static_cast<double>(tokenizer.Encode(sample).size()) / static_cast<double>(kStoriesInSample);
  facts.tokens = 1e12;  // as many as are wanted
  facts.prompt = FirstWords(sample);
  return facts;
}

TextFacts FactsOfFiles(const std::vector<std::string>& paths, const Tokenizer& tokenizer) {
  const auto documents = MixDocuments(paths, {}, "<|endoftext|>");
  TextFacts facts;
  uint64_t read = 0;
  double tokens = 0;
  while (read < kSampleBytes) {
    const auto document = documents->Next();
    if (!document) break;
    std::string text = document->text;
    for (const ChatMessage& message : document->messages) text += message.content + '\n';
    if (facts.prompt.empty()) facts.prompt = FirstWords(text);
    tokens += static_cast<double>(tokenizer.Encode(text.substr(0, kSampleBytes)).size()) *
              static_cast<double>(text.size()) /
              static_cast<double>(std::min<size_t>(std::max<size_t>(text.size(), 1), kSampleBytes));
    read += document->bytes;
  }
  if (read == 0) throw Error("--text: there is no text in " + paths.front());
  facts.tokens = tokens * static_cast<double>(documents->bytes()) / static_cast<double>(read);
  return facts;
}

// The amounts for one size of calibration, within what the text has.
void SetAmounts(const Preset& preset, int64_t calibration, const TextFacts& text,
                StarterGraph& graph) {
  const auto available =
      static_cast<int64_t>(kMostOfText * text.tokens / static_cast<double>(graph.length));
  graph.tested = std::clamp<int64_t>(available / 8, 1, preset.tested);
  graph.scored = std::clamp<int64_t>(calibration / 16, 1, std::min<int64_t>(64, graph.tested));
  const int64_t to_learn = available - graph.tested - graph.scored;
  if (to_learn < preset.least)
    throw Error(fmt::format(
        "the text has about {:.0f} tokens, {} sequences of {}; preset {} needs {}: add texts with "
        "--text",
        text.tokens, available, graph.length, preset.name,
        preset.least + graph.tested + graph.scored));
  graph.calibration = std::min(calibration, to_learn);
  graph.holdout = std::clamp<int64_t>(graph.calibration / 8, 1, 16);
  graph.epochs = preset.epochs;
  graph.steps = std::max<int64_t>(
      4, static_cast<int64_t>(preset.steps * static_cast<double>(graph.calibration)));
  graph.distillation =
      std::clamp<int64_t>(graph.steps * graph.batch + 4, std::min<int64_t>(8, to_learn), to_learn);
  if (text.tokens_per_story > 0) {
    const auto sequences =
        static_cast<double>(graph.distillation + graph.tested + graph.scored + graph.calibration);
    graph.stories = static_cast<int64_t>(
        std::ceil(sequences * static_cast<double>(graph.length) / text.tokens_per_story * 1.1));
  }
}

// What a run of a graph will need; time as `plan` says it.
struct Prediction {
  size_t steps = 0;
  double seconds = 0;
  Outlook outlook;
};

Prediction Predict(const std::string& text, const std::string& file, size_t lanes,
                   const Registry& registry, const Hooks& hooks, Store& store) {
  Diagnostics diagnostics;
  const auto json = std::make_shared<const JsonText>(JsonText::Parse(text, file));
  const GraphSpec spec = ParseSpec(json, {}, diagnostics);
  PlanOptions options;  // files are not looked at: only how long it takes is asked
  options.layers_of = hooks.layers_of;
  options.environment = hooks.environment;
  Prepared prepared{MakePlan(spec, registry, options, diagnostics), {}};
  if (!diagnostics.empty()) throw Error(diagnostics.Text());
  prepared.forecast = MarkStale(prepared.plan, store);
  Prediction prediction;
  prediction.steps = prepared.plan.steps.size();
  if (const auto outlook = Foresee(hooks, lanes, store, prepared)) prediction.outlook = *outlook;
  prediction.seconds = prepared.forecast.Estimate(lanes);
  return prediction;
}

// What this machine leaves to a run.
struct Room {
  size_t lanes = 1;
  double memory_bytes = 0;  // 0: not known
  double disk_bytes = 0;
};

Room RoomHere(const std::string& store) {
  Room room;
  room.lanes = DefaultDevices().size();
  room.memory_bytes = static_cast<double>(AvailableMemory());
  std::error_code error;
  const fs::path place = fs::absolute(store).parent_path();
  const fs::space_info space = fs::space(place.empty() ? fs::path(".") : place, error);
  if (!error) room.disk_bytes = static_cast<double>(space.available);
  return room;
}

bool FitsMemory(const Prediction& p, const Room& room) {
  return room.memory_bytes == 0 || p.outlook.memory_bytes <= kFree * room.memory_bytes;
}

bool FitsDisk(const Prediction& p, const Room& room) {
  return room.disk_bytes == 0 || p.outlook.disk_bytes <= kFree * room.disk_bytes;
}

std::string SafeName(const std::string& path) {
  fs::path at(path);
  if (!at.has_filename()) at = at.parent_path();
  std::string name = fs::is_directory(path) ? at.filename().string() : at.stem().string();
  for (char& c : name) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
    if (!plain) c = '_';
  }
  return name.empty() || name == "." || name == ".." ? "model" : name;
}

StarterGraph GraphOf(const InitOptions& options, const ModelConfig& model, const Target& target,
                     const Preset& preset, const TextFacts& text) {
  StarterGraph graph;
  const std::string name = SafeName(options.model);
  graph.file = options.output.empty() ? name + ".json" : options.output;
  graph.summary =
      fmt::format("{}, a {} of {:.1f} million parameters in {} layers", name, model.family,
                  static_cast<double>(CountParts(model).total()) / 1e6, model.n_layers());
  graph.text_note =
      options.texts.empty()
          ? "Stories that are made up, since init was given no --text: the child will "
            "be good at nothing else. Better: \"texts\": [\"FILE OR FOLDER\"]."
          : "Text files, JSON lines (.jsonl) and folders of both, as like what the "
            "child will be asked as can be had.";
  graph.model = options.model;
  graph.texts = options.texts;
  graph.variants = VariantMenu(model, preset.menu);
  graph.repeated = RepeatedVariants(model, graph.variants);
  graph.resource = target.resource;
  graph.budgets = target.budgets;
  graph.load = options.load.For(model);
  graph.length = std::min(kLength, model.max_positions);
  const MachineSpeed speed = MeasureMachineSpeed();
  graph.compute = speed.bf16_flops > speed.flops ? "bf16" : "fp32";
  graph.lr = model.hidden_size < 512 ? 5e-4 : 3e-4;
  graph.prompt = text.prompt;
  graph.folder = "out/" + name;
  return graph;
}

// The most that can be learned in the time of the preset, with the memory and the disk that are
// free: fewer sequences, then smaller steps, then fewer lanes. Where nothing fits, the least.
Prediction Fit(const Preset& preset, const TextFacts& text, const Registry& registry,
               const Hooks& hooks, Store& store, Room& room, StarterGraph& graph) {
  const auto predict = [&] {
    return Predict(StarterText(graph), graph.file, room.lanes, registry, hooks, store);
  };
  Prediction prediction;
  for (int64_t calibration = preset.calibration;; calibration /= 2) {
    SetAmounts(preset, calibration, text, graph);
    prediction = predict();
    const bool fits = prediction.seconds <= preset.hours * 3600 && FitsDisk(prediction, room);
    if (fits || calibration / 2 < preset.least) break;
  }
  while (!FitsMemory(prediction, room) && graph.batch > 1) {
    graph.batch /= 2;
    prediction = predict();
  }
  if (!FitsMemory(prediction, room) && room.lanes > 1) {
    room.lanes = 1;
    prediction = predict();
  }
  return prediction;
}

void PrintCosts(const InitOptions& options, const StarterGraph& graph, const Prediction& p,
                const Room& room) {
  const std::string store =
      options.store == InitOptions().store ? "" : " --store " + ShellWord(options.store);
  const std::string graph_and_store = ShellWord(graph.file) + store;
  const std::string lanes = room.lanes == DefaultDevices().size() ? "" : " -j 1";
  Print("{}: {} steps; about {} on {} lane{}; {}\n", graph.file, p.steps, DurationText(p.seconds),
        room.lanes, room.lanes == 1 ? "" : "s", OutlookText(p.outlook));
  Print("learns from {} sequences of {} tokens block by block, {} as a whole; tested on {}\n",
        graph.calibration, graph.length, std::min(graph.distillation, graph.steps * graph.batch),
        graph.tested);
  if (options.texts.empty())
    Say("warning: no --text was given: it learns from made-up stories, and the child will be good "
        "at "
        "nothing else\n");
  if (!FitsMemory(p, room))
    Say("warning: {} of memory are free here; use a machine with more, or a smaller model\n",
        SizeText(static_cast<uint64_t>(room.memory_bytes)));
  if (!FitsDisk(p, room))
    Say("warning: {} of disk are free here; make room, or give another disk with --store\n",
        SizeText(static_cast<uint64_t>(room.disk_bytes)));
  Print("\nnext:\n  puzzle plan {0}\n  puzzle run {0}{1}\n", graph_and_store, lanes);
}

// Throws Error.
void Init(const InitOptions& options, const Registry& registry, const Hooks& hooks) {
  if (!fs::exists(options.model))
    throw Error(
        fmt::format("{}: there is no such folder or file; MODEL is a checkpoint folder with "
                    "config.json and safetensors, or a .gguf file",
                    options.model));
  const Preset& preset = PresetOf(options.preset);
  const Target target = ReadTarget(options.target);
  const ModelConfig model = ReadCheckpointConfig(options.model);
  for (const std::string& text : options.texts)
    if (!fs::exists(text)) throw Error(fmt::format("--text {}: there is no such file", text));
  const std::shared_ptr<const Tokenizer> tokenizer = LoadTokenizer(options.model);
  const TextFacts text =
      options.texts.empty() ? FactsOfStories(*tokenizer) : FactsOfFiles(options.texts, *tokenizer);
  StarterGraph graph = GraphOf(options, model, target, preset, text);
  CheckReachable(target, model, graph.load);
  if (fs::exists(fs::symlink_status(graph.file)))
    throw Error(fmt::format("{} is there already; give another name with --output, or remove it",
                            graph.file));
  CheckWritable(graph.file);
  Store store(options.store, Hdf5Format());
  store.ReadIndex();
  Room room = RoomHere(options.store);
  const Prediction prediction = Fit(preset, text, registry, hooks, store, room, graph);
  WriteWholeFile(graph.file, StarterText(graph));
  PrintCosts(options, graph, prediction, room);
}

}  // namespace

int InitCommand(const InitOptions& options, const Registry& registry, const Hooks& hooks) {
  try {
    Init(options, registry, hooks);
  } catch (const Error& error) {
    Say("puzzle: {}\n", error.what());
    return kExitBadInput;
  }
  return kExitDone;
}

void AddInitVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks) {
  auto options = std::make_shared<InitOptions>();
  CLI::App& verb = verbs.Add(
      "init",
      "Write a graph to begin with: it fits a checkpoint, this machine and a text, and says what a "
      "run will cost.",
      "  puzzle init models/stories3M --text stories.txt\n"
      "  puzzle init model.gguf --text texts/ --target memory=75%,60% --batch 32 --context 4096\n"
      "  puzzle init model.gguf --text a.txt --text chat.jsonl --preset smoke --output mine.json",
      [options, &registry, &hooks] { return InitCommand(*options, registry, hooks); });
  verb.add_option("MODEL", options->model, "checkpoint: a folder or a .gguf file")->required();
  verb.add_option(
          "--target", options->target,
          "RESOURCE=LIMIT, in per cent of the parent's or in units (MiB): memory, weights, kv, "
          "parameters, block_parameters, prefill_gflops, decode_gflops; several limits with "
          "commas: a child for each")
      ->capture_default_str();
  verb.add_option(
          "--preset", options->preset,
          "how much is tried and learned: smoke for minutes, balanced for an hour, thorough "
          "for a night on this machine")
      ->check(CLI::IsMember({"smoke", "balanced", "thorough"}))
      ->capture_default_str();
  verb.add_option(
          "--text", options->texts,
          "a text file, JSON lines (.jsonl), or a folder of both; may be repeated (default: "
          "made-up stories)")
      ->allow_extra_args(false);
  options->load.Declare(verb);
  verb.add_option("--output", options->output,
                  "file to write (default: the model's name and .json)");
  verb.add_option("--store", options->store, "folder of finished results, whose speeds count")
      ->capture_default_str();
}

}  // namespace puzzle
