#include "graph/view/show.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "graph/kind/params.h"
#include "io/error.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kShortKey = 12;
constexpr size_t kMinPrefix = 6;
constexpr size_t kMaxSiblings = 4;  // inputs of one list port that are drawn
constexpr int kMaxDepth = 100;

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// Keys of records that begin with `prefix`.
std::vector<std::string> KeysWith(const Store& store, const std::string& prefix) {
  std::vector<std::string> keys;
  std::error_code failure;
  for (fs::directory_iterator it(store.folder() + '/' + prefix.substr(0, 2), failure), end;
       !failure && it != end; it.increment(failure)) {
    const std::string key = it->path().stem().string();
    if (it->path().extension() == ".json" && key.starts_with(prefix)) keys.push_back(key);
  }
  return keys;
}

std::string MebibytesText(double bytes) {
  return bytes < 1024 * 1024 ? fmt::format("{:.1f} KiB", bytes / 1024)
                             : fmt::format("{:.1f} MiB", bytes / (1024 * 1024));
}

/// Draws the inputs of a result, their inputs, and so on; what was drawn already is only named.
class Tree {
 public:
  explicit Tree(Store& store) : store_(store) {}

  std::string Draw(const Record& record) {
    Add(RecordJson(record), 1);
    return std::move(text_);
  }

 private:
  void Add(const json& record, int depth) {
    const json inputs = record.value("inputs", json::object());
    const json parents = record.value("parents", json::object());
    for (const auto& [port, names] : inputs.items()) {
      const json keys = parents.value(port, json::array());
      for (size_t i = 0; i < names.size(); ++i) {
        if (i == kMaxSiblings && names.size() > kMaxSiblings + 1) {
          Line(depth, port, fmt::format("... and {} more", names.size() - i), "");
          break;
        }
        const std::string key = i < keys.size() ? keys[i].get<std::string>() : "";
        AddInput(depth, port, names[i].get<std::string>(), key);
      }
    }
  }

  void AddInput(int depth, const std::string& port, const std::string& name,
                const std::string& key) {
    const auto record = key.empty() ? std::nullopt : store_.FindRecord(key);
    if (!record) {
      Line(depth, port, name, key.empty() ? "" : key.substr(0, kShortKey) + "  not in the store");
      return;
    }
    const bool seen = !drawn_.insert(key).second;
    Line(depth, port, name,
         fmt::format("{}  {}{}", key.substr(0, kShortKey), DurationText(record->wall_s),
                     seen ? "  (see above)" : ""));
    if (!seen && depth < kMaxDepth) Add(RecordJson(*record), depth + 1);
  }

  void Line(int depth, const std::string& port, const std::string& name, const std::string& rest) {
    text_ +=
        fmt::format("{:{}}{}: {}{}{}\n", "", 2 * depth, port, name, rest.empty() ? "" : "  ", rest);
  }

  Store& store_;
  std::string text_;
  std::set<std::string> drawn_;
};

/// What was measured is shown to six digits, what was asked for as it is.
enum class Digits { kSix, kAll };

std::string PairsText(const json& object, Digits digits) {
  std::string text;
  for (const auto& [name, value] : object.items()) {
    std::string shown = value.is_number_float() && digits == Digits::kSix
                            ? fmt::format("{:.6g}", value.get<double>())
                            : CanonicalText(value);
    if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, shown);
  }
  return text;
}

/// The figures of a record as lines "name  value".
std::vector<std::pair<std::string, std::string>> Figures(const json& record, Presence presence) {
  std::vector<std::pair<std::string, std::string>> lines;
  const auto number = [&](const char* name) { return record.value(name, 0.0); };
  const auto text = [&](const char* name) { return record.value(name, std::string()); };
  const json recipe = record.value("recipe", json::object());
  lines.emplace_back("kind", fmt::format("{} version {}, makes {}", text("kind"),
                                         recipe.value("version", 0), text("type")));
  lines.emplace_back("key", text("key"));
  lines.emplace_back("digest", text("digest"));
  lines.emplace_back("state", presence == Presence::kWhole
                                  ? "in the store, " + MebibytesText(number("bytes"))
                                  : PresenceText(presence));
  lines.emplace_back("made", fmt::format("{} on {}, {}, {} thread{}, puzzle {}", text("finished"),
                                         text("host"), text("device"), record.value("threads", 0),
                                         record.value("threads", 0) == 1 ? "" : "s", text("tool")));
  lines.emplace_back("took",
                     fmt::format("{} (cpu {}, saving {}), memory of the process at most {:.0f} MiB",
                                 DurationText(number("wall_s")), DurationText(number("cpu_s")),
                                 DurationText(number("save_s")), number("peak_rss_mib")));
  if (record.contains("environment")) {
    lines.emplace_back("computed", PairsText(record["environment"], Digits::kAll));
  }
  if (record.contains("accepted")) {
    const json& accepted = record["accepted"];
    lines.emplace_back("accepted", fmt::format("kept from {} in spite of {}",
                                               accepted.value("key", "").substr(0, kShortKey),
                                               accepted.value("change", "")));
  }
  for (const char* name : {"params", "environment"}) {
    if (recipe.contains(name) && !recipe[name].empty()) {
      lines.emplace_back(name, PairsText(recipe[name], Digits::kAll));
    }
  }
  if (!record.value("paths", json::object()).empty()) {
    lines.emplace_back("paths", PairsText(record["paths"], Digits::kAll));
  }
  if (!record.value("scalars", json::object()).empty()) {
    lines.emplace_back("result", PairsText(record["scalars"], Digits::kSix));
  }
  for (const json& warning : record.value("warnings", json::array())) {
    lines.emplace_back("warning", warning.get<std::string>());
  }
  return lines;
}

}  // namespace

std::string ShellWord(const std::string& word) {
  const auto plain = [](char c) {  // to every shell; a line break, say, would begin a command
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-./:=,@%+^").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + '\'';
}

std::string ShellCommand(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + ShellWord(word);
  return text;
}

Shown FindShown(Store& store, const std::string& name) {
  Shown shown;
  std::string key;
  if (const auto last = store.LastKey(name)) {
    key = *last;
    shown.step = name;
  } else if (name.size() == 64 && IsHex(name)) {
    key = name;
  } else if (name.size() >= kMinPrefix && IsHex(name)) {
    const std::vector<std::string> keys = KeysWith(store, name);
    if (keys.size() > 1) {
      throw Error(fmt::format("{} keys begin with {}; write more of it", keys.size(), name));
    }
    if (keys.size() == 1) key = keys.front();
  }
  if (!key.empty()) shown.record = store.FindRecord(key);
  if (shown.record) {
    shown.presence = store.Find(key).presence;
    if (shown.step.empty()) shown.step = shown.record->step;
  } else {
    shown.step = name;
  }
  shown.failure = LastFailure(store.folder(), shown.step);
  if (!shown.record && !shown.failure) {
    throw Error(
        fmt::format("the store \"{}\" knows no step and no key \"{}\"; `puzzle plan GRAPH "
                    "--all` lists the steps of a graph",
                    store.folder(), name));
  }
  return shown;
}

std::string Reproducer(const Shown& shown) {
  if (shown.failure && !shown.failure->first.again.empty()) {
    return shown.failure->first.again + " --only " + ShellWord(shown.step);
  }
  if (!shown.record) return {};
  const std::string command = RecordJson(*shown.record).value("command", "");
  const std::string step = ShellWord(shown.step);
  return command.empty() ? "" : fmt::format("{} --only {} --force {}", command, step, step);
}

std::string ShownText(const Shown& shown, Store& store) {
  std::string text = shown.step + '\n';
  const auto line = [&](const std::string& name, const std::string& value) {
    text += fmt::format("  {:<12}{}\n", name, value);
  };
  if (shown.failure) {
    const auto& [run, step] = *shown.failure;
    line("failed", fmt::format("in run {} after {}", run.id, DurationText(step.wall_s)));
    line("", step.message);
    if (!step.inputs.empty()) line("inputs", fmt::format("{}", fmt::join(step.inputs, ", ")));
  }
  if (shown.record) {
    for (const auto& [name, value] : Figures(RecordJson(*shown.record), shown.presence)) {
      line(name, value);
    }
    const std::string tree = Tree(store).Draw(*shown.record);
    if (!tree.empty()) text += "made from\n" + tree;
  }
  const std::string command = Reproducer(shown);
  if (!command.empty()) text += "to make it again, alone\n  " + command + '\n';
  return text;
}

std::string ShownJson(const Shown& shown) {
  ordered_json document = {{"step", shown.step}, {"state", PresenceText(shown.presence)}};
  if (shown.record) document["record"] = ordered_json(RecordJson(*shown.record));
  if (shown.failure) {
    document["failure"] = {{"run", shown.failure->first.id},
                           {"message", shown.failure->second.message},
                           {"wall_s", shown.failure->second.wall_s},
                           {"inputs", shown.failure->second.inputs}};
  }
  document["command"] = Reproducer(shown);
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

std::string ShownPicture(const Shown& shown, const Store& store) {
  if (!shown.record || shown.presence != Presence::kWhole)
    throw Error(fmt::format("{}: its result is not there", shown.step));
  const auto archive = store.Open(*shown.record);
  if (!archive->HasAttribute("picture_svg"))
    throw Error(fmt::format("{}: its result brings no picture", shown.step));
  return archive->Attribute("picture_svg").get<std::string>();
}

}  // namespace puzzle
