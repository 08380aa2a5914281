#include "graph/view/run_log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "graph/store/leftovers.h"
#include "io/error.h"
#include "io/file.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kLogFormat = 1;
constexpr size_t kMaxInputs = 100;  // names of inputs kept for a failed step

std::string Folder(const std::string& store) {
  return store + "/runs";
}

ordered_json HeaderJson(const RunLog& log) {
  return {{"puzzle_run", kLogFormat}, {"id", log.id},           {"started", log.started},
          {"graph", log.graph},       {"command", log.command}, {"again", log.again},
          {"tool", log.tool},         {"wall_s", log.wall_s},   {"exit", log.exit},
          {"counts", log.counts}};
}

std::string Dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

/// By hand, since there may be a hundred thousand of them.
std::string StepLine(const RunStep& step) {
  std::string line = fmt::format(R"({{"step":{},"outcome":"{}")", Dump(step.step), step.outcome);
  if (!step.key.empty()) line += fmt::format(R"(,"key":"{}")", step.key);
  if (step.wall_s > 0) line += fmt::format(R"(,"wall_s":{:.6g})", step.wall_s);
  if (!step.message.empty()) line += ",\"message\":" + Dump(step.message);
  if (!step.inputs.empty()) line += ",\"inputs\":" + Dump(step.inputs);
  if (!step.worker.empty()) line += ",\"worker\":" + Dump(step.worker);
  return line + "}\n";
}

/// Throws json::exception when a member is missing or of another type.
RunLog ParseHeader(const std::string& line) {
  const json header = json::parse(line);
  if (header.at("puzzle_run") != kLogFormat) throw Error("another format");
  RunLog log;
  header.at("id").get_to(log.id);
  header.at("started").get_to(log.started);
  header.at("graph").get_to(log.graph);
  header.at("command").get_to(log.command);
  header.at("again").get_to(log.again);
  header.at("tool").get_to(log.tool);
  header.at("wall_s").get_to(log.wall_s);
  header.at("exit").get_to(log.exit);
  header.at("counts").get_to(log.counts);
  return log;
}

RunStep ParseStep(const std::string& line) {
  const json value = json::parse(line);
  RunStep step;
  value.at("step").get_to(step.step);
  value.at("outcome").get_to(step.outcome);
  step.key = value.value("key", "");
  step.wall_s = value.value("wall_s", 0.0);
  step.message = value.value("message", "");
  step.inputs = value.value("inputs", std::vector<std::string>{});
  step.worker = value.value("worker", "");
  return step;
}

/// Files of logs, oldest first: their names begin with the time.
std::vector<fs::path> LogFiles(const std::string& store) {
  std::vector<fs::path> files;
  if (!IsPlainFolder(Folder(store))) return files;
  std::error_code failure;
  for (fs::directory_iterator it(Folder(store), failure), end; !failure && it != end;
       it.increment(failure)) {
    if (it->path().extension() == ".jsonl") files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// "" of what is no regular file.
std::string TextOf(const fs::path& path) {
  constexpr uint64_t kMaxBytes = uint64_t{2} << 30;  // a million steps need 0.2 GB
  return ReadPlainFile(path.string(), kMaxBytes).value_or("");
}

/// Its first line, without reading the steps.
std::string HeaderOf(const fs::path& path) {
  constexpr size_t kMaxHeader = 1 << 20;
  const Descriptor file = OpenPlainFile(path.string(), O_RDONLY);
  std::string text(kMaxHeader, '\0');
  const ssize_t n = file.get() < 0 ? 0 : ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  return text.substr(0, text.find('\n'));
}

/// A run as `runs` lists it, without its steps; nullopt when it is damaged.
std::optional<RunLog> HeadOf(const fs::path& path) {
  try {
    return ParseHeader(HeaderOf(path));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

RunLog ReadLog(const fs::path& path) {
  std::istringstream file(TextOf(path));
  std::string line;
  try {
    if (!std::getline(file, line)) throw Error("empty");
    RunLog log = ParseHeader(line);
    while (std::getline(file, line)) log.steps.push_back(ParseStep(line));
    return log;
  } catch (const std::exception& error) {
    throw Error(fmt::format("the log of a run \"{}\" is damaged: {}", path.string(), error.what()));
  }
}

fs::path FindLog(const std::string& store, const std::string& name) {
  const std::vector<fs::path> files = LogFiles(store);
  size_t number = 0;
  const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (failure == std::errc() && end == name.data() + name.size() && number <= files.size() &&
      number > 0) {
    for (size_t i = files.size(); i-- > 0;) {
      if (HeadOf(files[i]) && --number == 0) return files[i];
    }
  }
  constexpr size_t kDate = 8;  // shorter ones are numbers
  std::vector<fs::path> matches;
  for (const fs::path& file : files) {
    if (name.size() >= kDate && file.stem().string().starts_with(name)) matches.push_back(file);
  }
  if (matches.size() == 1) return matches.front();
  throw Error(fmt::format("{} \"{}\" in {}; `puzzle runs` lists the {} that there are",
                          matches.empty() ? "no run" : "more than one run begins with", name,
                          Folder(store), files.size()));
}

}  // namespace

RunLog MakeRunLog(const Plan& plan, const Report& report) {
  RunLog log;
  log.wall_s = report.wall_s;
  log.exit = report.ExitCode();
  log.steps.reserve(plan.steps.size());
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    const StepResult& result = report.steps[id];
    RunStep step{plan.steps[id].name,
                 std::string(OutcomeName(result.outcome)),
                 std::string(result.record.key),
                 result.wall_s,
                 result.message,
                 {},
                 result.worker};
    ++log.counts[step.outcome];
    if (result.outcome == Outcome::kFailed) {
      for (const StepId input : plan.predecessors(id)) {
        if (step.inputs.size() < kMaxInputs) step.inputs.push_back(plan.steps[input].name);
      }
    }
    log.steps.push_back(std::move(step));
  }
  return log;
}

void SaveRunLog(const std::string& store, RunLog& log) {
  using std::chrono::milliseconds;
  auto now = std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now());
  log.started =
      fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(now) -
                                                       static_cast<std::time_t>(log.wall_s)));
  const std::string temporary = NewTemporaryPath(store);
  std::string path;
  std::error_code failure;
  try {
    fs::create_directories(store, failure);  // the store itself may be a link
    MakeStoreFolder(store + "/tmp");
    MakeStoreFolder(Folder(store));
    OutputFile file(CreateNewFile(temporary), temporary);
    std::string text;
    do {  // one process may run twice in a millisecond, and another one may have its number
      log.id = fmt::format("{:%Y%m%dT%H%M%S}.{:03}Z-{}",
                           fmt::gmtime(std::chrono::system_clock::to_time_t(now)),
                           now.time_since_epoch().count() % 1000, ::getpid());
      path = fmt::format("{}/{}.jsonl", Folder(store), log.id);
      text = Dump(HeaderJson(log)) + '\n';
      for (const RunStep& step : log.steps) text += StepLine(step);
      file.WriteAt(0, text.data(), text.size());
      now += milliseconds(1);
    } while (!MoveToNewName(temporary, path));
    file.Close();
  } catch (const std::exception& error) {
    ::unlink(temporary.c_str());
    throw WithContext("cannot write the log of this run", error);
  }
  const std::vector<fs::path> files = LogFiles(store);
  for (size_t i = 0; i + kMaxRunLogs < files.size(); ++i) fs::remove(files[i], failure);
}

std::vector<RunLog> ListRuns(const std::string& store) {
  std::vector<RunLog> runs;
  for (const fs::path& path : LogFiles(store)) {
    if (auto run = HeadOf(path)) runs.push_back(std::move(*run));
  }
  return runs;
}

RunLog LoadRun(const std::string& store, const std::string& name) {
  return ReadLog(FindLog(store, name));
}

std::optional<std::pair<RunLog, RunStep>> LastFailure(const std::string& store,
                                                      const std::string& step) {
  std::vector<fs::path> files = LogFiles(store);
  for (size_t i = files.size(); i-- > 0;) {
    RunLog log;
    try {
      log = ReadLog(files[i]);
    } catch (const Error&) {
      continue;
    }
    for (RunStep& entry : log.steps) {
      if (entry.step != step) continue;
      if (!entry.key.empty()) return std::nullopt;  // it was fine since
      if (entry.outcome == OutcomeName(Outcome::kFailed)) {
        return std::pair(std::move(log), std::move(entry));
      }
    }
  }
  return std::nullopt;
}

std::string RunListText(const std::vector<RunLog>& runs) {
  if (runs.empty()) return "no runs yet (a run that has nothing to compute leaves no log)\n";
  std::string text;
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunLog& run = runs[i];
    std::string counts;
    for (const auto& [outcome, n] : run.counts) counts += fmt::format(" {} {}", n, outcome);
    text += fmt::format("{:>3}  {:<24}  exit {}  {:>6} {}\n     {}\n", runs.size() - i, run.id,
                        run.exit, DurationText(run.wall_s), counts, run.command);
  }
  return text;
}

std::string RunListJson(const std::vector<RunLog>& runs) {
  ordered_json list = ordered_json::array();
  for (const RunLog& run : runs) list.push_back(HeaderJson(run));
  return list.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace puzzle
