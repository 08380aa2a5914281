#include "apps/frame/load.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <future>

#include "apps/frame/output.h"
#include "apps/machine/machine_speed.h"
#include "graph/view/show.h"
#include "io/error.h"
#include "io/file.h"
#include "io/hdf5_archive.h"
#include "io/quantity.h"

namespace puzzle {

void GraphOptions::Declare(CLI::App& verb, bool with_store) {
  verb.add_option("GRAPH", graph, "the graph, a JSON file; - is standard input")->required();
  verb.add_option("--set", settings,
                  "vars.NAME=VALUE, NODE.PARAM=VALUE or NODE[axis=value].PARAM=VALUE; "
                  "VALUE is JSON or else text; may be repeated")
      ->allow_extra_args(false)
      ->type_name("TARGET=VALUE");
  verb.add_flag("--strict-environment", strict_environment,
                "results of another libtorch, BLAS kernel or kind of CPU do not count: other bits "
                "are possible there");
  if (!with_store) return;
  verb.add_option("--store", store, "folder of finished results")->capture_default_str();
  verb.add_option(
          "--shared-store", shared_stores,
          "another store whose results are used and which is never written; may be repeated")
      ->allow_extra_args(false)
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory);
}

JsonText ReadGraph(const std::string& path) {
  constexpr uint64_t kMaxBytes = JsonLimits().max_bytes;
  const std::optional<int> stream = path == "-" ? STDIN_FILENO : OpenDescriptorOf(path);
  if (!stream) return JsonText::ParseFile(path);
  const std::string text = ReadWholeStream(path, kMaxBytes);
  // A stream can be read once, and the engine, which takes this program's place when there is
  // something to compute, reads the graph as well: what was read is put back where it came from.
  const Descriptor again(::memfd_create("graph", 0));
  if (again.get() < 0 || ::dup2(again.get(), *stream) < 0) {
    throw Error(fmt::format("{}: cannot be kept for the engine: {}", path, std::strerror(errno)));
  }
  WriteWholeFile(fmt::format("/dev/fd/{}", *stream), text);
  ::lseek(*stream, 0, SEEK_SET);
  return JsonText::Parse(text, path == "-" ? "standard input" : path);
}

void NeedGraphFile(const GraphOptions& options, const std::string& why) {
  if (options.graph != "-" && !OpenDescriptorOf(options.graph)) return;
  throw Error(fmt::format("{} needs the graph in a file: \"{}\" can be read only once", why,
                          options.graph));
}

std::unique_ptr<Store> OpenStore(const GraphOptions& options) {
  auto opened = std::make_unique<Store>(options.store, Hdf5Format(), options.shared_stores);
  opened->WorkOn(options.graph);
  return opened;
}

std::vector<std::string> GraphOptions::Arguments() const {
  std::vector<std::string> arguments = {"run", graph};
  const auto add = [&](const char* option, const std::string& value) {
    arguments.emplace_back(option);
    arguments.push_back(value);
  };
  for (const std::string& setting : settings) add("--set", setting);
  if (strict_environment) arguments.emplace_back("--strict-environment");
  if (store != GraphOptions().store) add("--store", store);
  for (const std::string& shared : shared_stores) add("--shared-store", shared);
  return arguments;
}

std::string GraphOptions::Command() const {
  return "puzzle " + ShellCommand(Arguments());
}

void SelectionOptions::Declare(CLI::App& verb) {
  const auto patterns = [&](const char* flag, std::vector<std::string>& list, const char* text) {
    verb.add_option(flag, list, text)->allow_extra_args(false)->type_name("STEP");
  };
  verb.option_defaults()->group("Selection (STEP: bld, bld[layer=3,variant=ffn:*]; repeatable)");
  patterns("--until", until, "only these steps and what they depend on");
  patterns("--from", from, "only these steps and what depends on them");
  patterns("--only", only, "only these steps");
  patterns("--force", force, "run these steps even if their results are there");
  verb.add_flag("--force-all", force_all, "run every selected step");
  patterns("--accept", accept,
           "keep the last results of these steps although their recipes changed");
  verb.option_defaults()->group("Options");
}

void LaneOptions::Declare(CLI::App& verb) {
  verb.add_option("--devices", devices,
                  "one lane per entry, such as cpu,cpu,cuda:0 (default: a cpu lane per core, at "
                  "most four)")
      ->check([](const std::string& text) {
        try {
          return ParseDevices(text).empty() ? "no devices" : "";
        } catch (const Error& error) {
          static std::string message;
          message = error.what();
          return message.c_str();
        }
      });
  verb.add_option("-j,--jobs", jobs, "that many cpu lanes")->check(CLI::Range(1, 1024));
}

std::vector<Device> LaneOptions::Devices() const {
  if (!devices.empty()) return ParseDevices(devices);
  if (jobs > 0) return std::vector<Device>(static_cast<size_t>(jobs));
  return DefaultDevices();
}

std::optional<Plan> LoadPlan(const GraphOptions& options, const Registry& registry,
                             const Hooks& hooks, const Memo& memo, std::vector<ReadPath>* read) {
  FileDigester files(memo.path, memo.most_bytes);
  PlanOptions plan_options;
  plan_options.files = &files;
  plan_options.environment = hooks.environment;
  if (hooks.layers_of) {
    plan_options.layers_of = [&](const std::string& checkpoint) {
      if (read != nullptr) read->push_back({checkpoint, true});
      return hooks.layers_of(checkpoint);
    };
  }
  if (options.strict_environment && hooks.numerics) plan_options.numerics = hooks.numerics();
  Diagnostics diagnostics;
  std::optional<Plan> plan;
  try {
    const auto text = std::make_shared<const JsonText>(ReadGraph(options.graph));
    const GraphSpec spec = ParseSpec(text, options.settings, diagnostics);
    for (const FileSpec& file : spec.files) {
      if (read != nullptr) read->push_back({file.text->source(), false});
    }
    plan = MakePlan(spec, registry, plan_options, diagnostics);
  } catch (const Error& error) {
    Say("{}\n", error.what());
    return std::nullopt;
  }
  for (const FileDigester::UnreadInput& input : files.unread()) {
    if (!memo.warns) break;
    Say("warning: {}: {} that were not read yet are taken for new; a run reads them once\n",
        input.path, SizeText(input.bytes));
  }
  if (diagnostics.empty()) {
    if (memo.make_folder) files.Save();
    return plan;
  }
  Say("{}", diagnostics.Text());
  return std::nullopt;
}

std::optional<Prepared> Prepare(const GraphOptions& options, const Selection& selection,
                                const Registry& registry, const Hooks& hooks, Store& store,
                                bool for_run, std::vector<ReadPath>* read, uint64_t most_bytes) {
  const auto index = std::async(std::launch::async, [&store] { store.ReadIndex(); });
  std::optional<Plan> plan =
      LoadPlan(options, registry, hooks, {options.store + "/files", for_run, most_bytes}, read);
  if (!plan) return std::nullopt;
  Diagnostics diagnostics;
  SelectedPlan selected = Select(std::move(*plan), selection, diagnostics);
  Forecast forecast;
  if (diagnostics.empty()) {
    if (for_run) store.AnnounceRun();
    forecast = MarkStale(selected.plan, store, selected.orders);
    CheckOutside(selected, forecast, diagnostics);
  }
  if (diagnostics.empty()) return Prepared{std::move(selected.plan), std::move(forecast)};
  Say("{}", diagnostics.Text());
  return std::nullopt;
}

std::optional<Outlook> Foresee(const Hooks& hooks, size_t lanes, Store& store, Prepared& prepared) {
  auto& [plan, forecast] = prepared;
  if (!hooks.workload || forecast.runs + forecast.waits == 0) return std::nullopt;
  return Foresee(plan, hooks.workload, MeasureMachineSpeed, lanes, store, forecast);
}

}  // namespace puzzle
