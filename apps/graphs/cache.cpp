#include "apps/graphs/cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/frame/output.h"
#include "graph/run/report.h"
#include "graph/store/collect.h"
#include "graph/store/inventory.h"
#include "graph/store/store.h"
#include "io/hdf5_archive.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

constexpr size_t kShownDigits = 12;  // of a key
constexpr size_t kMostLines = 40;    // of a preview

struct CacheOptions {
  std::string store = "store";
  std::vector<std::string> names;
  bool json = false;
  std::string max_size, older;
  bool all = false;
  bool yes = false;
  bool repair = false;
};

int64_t Now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

double Ago_s(int64_t time_ns) {
  return static_cast<double>(Now_ns() - time_ns) * 1e-9;
}

std::string Plural(size_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

/// Throws Error for a name that stands for nothing.
std::vector<const StoredResult*> Chosen(const Inventory& inventory, const CacheOptions& options) {
  for (const std::string& name : options.names) static_cast<void>(FindResults(inventory, name));
  std::vector<const StoredResult*> chosen;
  for (const StoredResult& result : inventory.results) {
    const auto meant = [&](const std::string& name) { return Means(name, result); };
    if (options.names.empty() || std::any_of(options.names.begin(), options.names.end(), meant)) {
      chosen.push_back(&result);
    }
  }
  return chosen;
}

void PrintJson(const ordered_json& value) {
  Print("{}\n", value.dump(2, ' ', false, ordered_json::error_handler_t::replace));
}

/// What computed a result, as far as its record tells: "libtorch 1.13.1, ...".
ordered_json EnvironmentOf(const StoredResult& result) {
  return ordered_json(RecordJson(result.record).value("environment", nlohmann::json::object()));
}

ordered_json ResultJson(const StoredResult& result) {
  const Record& record = result.record;
  return {{"step", record.step},
          {"node", NodeOfStep(record.step)},
          {"key", record.key},
          {"type", record.type},
          {"digest", record.digest},
          {"bytes", result.bytes},
          {"seconds", record.wall_s},
          {"environment", EnvironmentOf(result)},
          {"made", result.made_ns / 1'000'000'000},
          {"used", result.used_ns / 1'000'000'000},
          {"current", result.current},
          {"pinned", result.pinned},
          {"needed_by_pin", result.needed_by_pin}};
}

int List(const CacheOptions& options) {
  Store store(options.store, Hdf5Format());
  const Inventory inventory = TakeInventory(store);
  const auto chosen = Chosen(inventory, options);
  if (options.json) {
    ordered_json list = ordered_json::array();
    for (const StoredResult* result : chosen) list.push_back(ResultJson(*result));
    PrintJson(list);
    return kExitDone;
  }
  size_t width = 4;
  for (const StoredResult* result : chosen) width = std::max(width, result->record.step.size());
  if (!chosen.empty()) {
    Print("{:<{}}  {:>11}  {:>8}  {:>8}  {:>7}  {:<{}}\n", "step", width, "size", "made", "used",
          "seconds", "key", kShownDigits);
  }
  for (const StoredResult* result : chosen) {
    Print("{:<{}}  {:>11}  {:>8}  {:>8}  {:>7.1f}  {}{}{}\n", result->record.step, width,
          SizeText(result->bytes), AgeText(Ago_s(result->made_ns)), AgeText(Ago_s(result->used_ns)),
          result->record.wall_s, result->record.key.substr(0, kShownDigits),
          result->current ? "" : "  superseded", result->pinned ? "  pinned" : "");
  }
  return kExitDone;
}

/// The results of a node.
struct NodeUse {
  size_t results = 0, superseded = 0, pinned = 0;
  uint64_t bytes = 0;
  double wall_s = 0;
  int64_t used_ns = 0;
};

int DiskUse(const CacheOptions& options) {
  Store store(options.store, Hdf5Format());
  const Inventory inventory = TakeInventory(store);
  std::map<std::string_view, NodeUse> nodes;
  for (const StoredResult* result : Chosen(inventory, options)) {
    NodeUse& use = nodes[NodeOfStep(result->record.step)];
    ++use.results;
    use.superseded += result->current ? 0 : 1;
    use.pinned += result->pinned ? 1 : 0;
    use.bytes += result->bytes;
    use.wall_s += result->record.wall_s;
    use.used_ns = std::max(use.used_ns, result->used_ns);
  }
  std::map<std::string, size_t> environments;
  for (const StoredResult* result : Chosen(inventory, options)) {
    std::string text;
    const ordered_json environment = EnvironmentOf(*result);
    for (const auto& [name, value] : environment.items()) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value.get<std::string>());
    }
    if (!text.empty()) ++environments[text];
  }
  uint64_t leftovers = 0;
  for (const Leftover& leftover : inventory.leftovers) leftovers += leftover.bytes;
  if (options.json) {
    ordered_json json = {{"nodes", ordered_json::array()},
                         {"environments", environments},
                         {"leftover_bytes", leftovers},
                         {"bytes", inventory.bytes}};
    for (const auto& [name, use] : nodes) {
      json["nodes"].push_back({{"node", name},
                               {"results", use.results},
                               {"superseded", use.superseded},
                               {"pinned", use.pinned},
                               {"bytes", use.bytes},
                               {"seconds", use.wall_s},
                               {"used", use.used_ns / 1'000'000'000}});
    }
    PrintJson(json);
    return kExitDone;
  }
  size_t width = 5;
  for (const auto& [name, use] : nodes) width = std::max(width, name.size());
  Print("{:<{}}  {:>7}  {:>10}  {:>11}  {:>8}  {:>8}\n", "node", width, "results", "superseded",
        "size", "time", "used");
  for (const auto& [name, use] : nodes) {
    Print("{:<{}}  {:>7}  {:>10}  {:>11}  {:>8}  {:>8}\n", name, width, use.results, use.superseded,
          SizeText(use.bytes), DurationText(use.wall_s), AgeText(Ago_s(use.used_ns)));
  }
  for (const auto& [text, count] : environments) {
    Print("{} computed by {}\n", Plural(count, "result"), text);
  }
  if (leftovers > 0) {
    Print("{} of leftovers (cache gc removes them)\n", SizeText(leftovers));
  }
  Print("{} in all\n", SizeText(inventory.bytes));
  return kExitDone;
}

void PrintPreview(const CollectPlan& plan, bool all) {
  size_t lines = 0;
  for (const StoredResult* result : plan.results) {
    if (!all && ++lines > kMostLines) {
      Print("... and {} more (--all)\n", plan.results.size() - kMostLines);
      break;
    }
    Print("{}  {}, used {}{}, {} to make\n", result->record.step, SizeText(result->bytes),
          AgeText(Ago_s(result->used_ns)), Ago_s(result->used_ns) < 60 ? "" : " ago",
          DurationText(result->record.wall_s));
  }
  for (const Leftover* leftover : plan.leftovers) {
    if (all) Print("{}  {}, {}\n", leftover->path, SizeText(leftover->bytes), leftover->what);
  }
  if (plan.kept_by_pins > 0) Print("{} kept by pins\n", Plural(plan.kept_by_pins, "result"));
  if (plan.kept_by_runs > 0) {
    std::string names;
    for (const LiveRun& run : plan.runs) names += (names.empty() ? "" : ", ") + run.Name();
    Print("{} kept for {}\n", Plural(plan.kept_by_runs, "result"),
          names.empty() ? "commands that read this store as a shared one" : names);
  }
}

int CollectGarbage(const CacheOptions& options) {
  CollectOptions collect;
  if (!options.max_size.empty()) collect.max_bytes = ParseSize(options.max_size);
  if (!options.older.empty()) collect.older_s = ParseSpan(options.older);
  Store store(options.store, Hdf5Format());
  const Inventory inventory = TakeInventory(store);
  const CollectPlan plan = PlanCollection(store, inventory, collect, Now_ns());
  PrintPreview(plan, options.all);
  const std::string what =
      fmt::format("{} and {}, {}", Plural(plan.results.size(), "result"),
                  Plural(plan.leftovers.size(), "leftover"), SizeText(plan.freed));
  if (!options.yes) {
    Print("would remove {} of {}; nothing was removed (--yes removes)\n", what,
          SizeText(inventory.bytes));
  } else {
    const Removed removed = Collect(store, plan);
    Print("removed {} and {}, {}{}; {} left\n", Plural(removed.results, "result"),
          Plural(removed.leftovers, "leftover"), SizeText(removed.bytes),
          removed.kept == 0 ? "" : fmt::format(", kept {} in use", removed.kept),
          SizeText(inventory.bytes - removed.bytes));
  }
  if (!plan.within_budget) {
    Print("what must be kept is more than {}: {}\n", options.max_size, SizeText(plan.left));
  }
  return kExitDone;
}

int Verify(const CacheOptions& options) {
  Store store(options.store, Hdf5Format());
  const Inventory inventory = TakeInventory(store);
  const bool show = ::isatty(STDERR_FILENO) != 0 && !options.json;
  const std::vector<Damage> damage = VerifyStore(store, inventory, [&](size_t done, size_t total) {
    if (show && done % 16 == 0) fmt::print(stderr, "\r{} of {}", done, total);
  });
  if (show) fmt::print(stderr, "\r\x1b[K");
  const size_t repaired = options.repair && !damage.empty() ? RemoveDamaged(store, damage) : 0;
  if (options.json) {
    ordered_json json = {{"results", inventory.results.size()},
                         {"damaged", ordered_json::array()},
                         {"removed", repaired}};
    for (const Damage& d : damage) {
      json["damaged"].push_back(
          {{"step", d.step}, {"key", d.key}, {"path", d.path}, {"what", d.what}});
    }
    PrintJson(json);
  } else {
    for (const Damage& d : damage) {
      Print("{}{} ({})\n", d.step.empty() ? "" : d.step + ": ", d.what, d.path);
    }
    Print("{} read, {} damaged{}\n", Plural(inventory.results.size(), "result"), damage.size(),
          options.repair   ? fmt::format(", {} removed", repaired)
          : damage.empty() ? ""
                           : "; --repair removes them, the next run makes them again");
  }
  return damage.size() > repaired ? kExitFailed : kExitDone;
}

int ChangePins(const CacheOptions& options, void (*change)(Store&, const StoredResult&),
               std::string_view done) {
  Store store(options.store, Hdf5Format());
  const Inventory inventory = TakeInventory(store);
  for (const std::string& name : options.names) {
    for (const StoredResult* result : FindResults(inventory, name)) {
      change(store, *result);
      Print("{} {} ({})\n", done, result->record.step, result->record.key.substr(0, kShownDigits));
    }
  }
  return kExitDone;
}

}  // namespace

void AddCacheVerb(Verbs& verbs) {
  auto options = std::make_shared<CacheOptions>();
  auto run = std::make_shared<std::function<int()>>();
  CLI::App& verb = verbs.Add("cache", "Look into a store, check it, make it smaller.",
                             "  puzzle cache du\n"
                             "  puzzle cache ls blocks\n"
                             "  puzzle cache gc --max-size 20G --older 30d\n"
                             "  puzzle cache verify --repair\n"
                             "  puzzle cache pin student",
                             [run] { return (*run)(); });
  verb.require_subcommand(1);
  const auto add = [&](const char* name, const char* description, const std::string& examples,
                       int (*command)(const CacheOptions&)) -> CLI::App& {
    CLI::App* sub = verb.add_subcommand(name, description);
    sub->footer("Examples:\n" + examples);
    sub->add_option("--store", options->store, "folder of finished results")->capture_default_str();
    sub->callback([run, options, command] { *run = [=] { return command(*options); }; });
    return *sub;
  };
  const auto names = [&](CLI::App& sub) {
    return sub.add_option("NAME", options->names,
                          "steps (blocks, blocks[layer=3,*]), or the beginning of a key");
  };
  const auto json = [&](CLI::App& sub) { sub.add_flag("--json", options->json, "print JSON"); };

  CLI::App& ls =
      add("ls", "List results: size, age, last use (to the hour), seconds they took.",
          "  puzzle cache ls\n  puzzle cache ls 'blocks[layer=3,variant=ffn:*]' --json", List);
  names(ls);
  json(ls);
  CLI::App& du = add("du", "Sum up results by node.", "  puzzle cache du --json", DiskUse);
  names(du);
  json(du);
  CLI::App& gc =
      add("gc",
          "Remove leftovers and what is idle: shows what would go, and with --yes removes it. What "
          "pins and running commands need stays.",
          "  puzzle cache gc                         # leftovers of crashed runs only\n"
          "  puzzle cache gc --older 30d --yes       # what no run used for 30 days\n"
          "  puzzle cache gc --max-size 20G          # least recently used first",
          CollectGarbage);
  gc.add_option("--max-size", options->max_size, "how large the store may be, such as 500M or 20G")
      ->check([](const std::string& text) {
        return ParseSize(text) ? "" : "expected a size such as 500M or 20G";
      });
  gc.add_option("--older", options->older, "remove what was not used for that long: 45m, 12h, 30d")
      ->check([](const std::string& text) {
        return ParseSpan(text) ? "" : "expected a time such as 12h, 30d or 2w";
      });
  gc.add_flag("--all", options->all, "list everything that goes");
  gc.add_flag("-y,--yes", options->yes, "remove it");
  CLI::App& verify = add("verify", "Read every result and compare its digest; exit 1 on damage.",
                         "  puzzle cache verify\n  puzzle cache verify --repair", Verify);
  verify.add_flag("--repair", options->repair, "remove what is damaged");
  json(verify);
  names(add("pin", "Keep results, and all that they were made from, from gc.",
            "  puzzle cache pin student\n  puzzle cache pin 3fa94c1d22e0",
            [](const CacheOptions& o) { return ChangePins(o, Pin, "pinned"); }))
      ->required();
  names(add("unpin", "Give pinned results up to gc.", "  puzzle cache unpin student",
            [](const CacheOptions& o) { return ChangePins(o, Unpin, "unpinned"); }))
      ->required();
}

}  // namespace puzzle
