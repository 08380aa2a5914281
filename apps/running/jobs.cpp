#include "apps/running/jobs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <sstream>
#include <tuple>

#include "apps/frame/output.h"
#include "graph/store/leftovers.h"
#include "io/error.h"
#include "io/file.h"
#include "io/process.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr char kTokenBegin[] = "puzzle-";
constexpr off_t kTail = 4096;  // bytes of an output that are looked at

/// The last line of a file that holds anything.
std::string LastLineOf(const std::string& path) {
  const Descriptor file = OpenPlainFile(path, O_RDONLY);
  const off_t size = file.get() < 0 ? 0 : ::lseek(file.get(), 0, SEEK_END);
  std::string text(static_cast<size_t>(std::clamp<off_t>(size, 0, kTail)), '\0');
  const ssize_t n =
      ::pread(file.get(), text.data(), text.size(), size - static_cast<off_t>(text.size()));
  text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  const size_t end = text.find_last_not_of("\n ");
  if (end == std::string::npos) return {};
  text.resize(end + 1);
  return text.substr(text.rfind('\n') + 1);  // npos + 1 is 0
}

/// "puzzle-0123456789abcdef", as submit names jobs. A store may hold what others put there.
bool IsToken(const std::string& name) {
  constexpr size_t kBegin = std::size(kTokenBegin) - 1;
  return name.starts_with(kTokenBegin) && name.size() > kBegin &&
         name.find_first_not_of("0123456789abcdef", kBegin) == std::string::npos;
}

/// "41 steps: ...", which a run prints when it ends.
bool IsSummary(const std::string& line) {
  const size_t digits = line.find_first_not_of("0123456789");
  return digits != std::string::npos && digits > 0 && line.compare(digits, 5, " step") == 0;
}

std::string AskSlurm(const std::vector<SentJob>& jobs) {
  std::string names;
  for (const SentJob& job : jobs) names += (names.empty() ? "" : ",") + job.token;
  ProcessSpec spec;
  spec.arguments = {"squeue", "--noheader", "--states=all", "--format=%j|%i|%T|%r",
                    "--name=" + names};
  spec.keep_out = 4 << 20;
  const ProcessResult result = RunProcess(spec);
  if (result.exit_status != 0) {
    throw Error("squeue does not answer, so nothing is known about jobs; ask again: " +
                result.err.Text(1000));
  }
  return result.out.Text();
}

int JobsCommand(const std::string& store) {
  const std::vector<SentJob> jobs = SentJobs(store);
  if (jobs.empty()) {
    Print("no job was submitted with the store \"{}\"\n", store);
    return kExitDone;
  }
  PrintText(JobsText(jobs, ParseQueue(AskSlurm(jobs))));
  return kExitDone;
}

}  // namespace

std::vector<SentJob> SentJobs(const std::string& store) {
  const std::string folder = store + "/jobs";
  std::vector<std::pair<fs::file_time_type, SentJob>> found;
  if (!IsPlainFolder(folder)) return {};
  std::error_code failure;
  for (fs::directory_iterator it(folder, failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string token = it->path().stem().string();
    if (it->path().extension() != ".sh" || !IsToken(token)) continue;
    std::error_code ignored;
    found.emplace_back(fs::last_write_time(it->path(), ignored),
                       SentJob{token, LastLineOf(fmt::format("{}/{}.out", folder, token))});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.token) < std::tie(b.first, b.second.token);
  });
  std::vector<SentJob> jobs;
  for (auto& [time, job] : found) jobs.push_back(std::move(job));
  return jobs;
}

std::map<std::string, std::string> ParseQueue(const std::string& lines) {
  std::map<std::string, std::string> queue;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    std::istringstream parts(line);
    std::string token, number, state, reason;
    if (!std::getline(parts, token, '|') || !std::getline(parts, number, '|') ||
        !std::getline(parts, state, '|')) {
      continue;
    }
    std::getline(parts, reason);
    const bool tells = !reason.empty() && reason != "None";
    queue[token] = fmt::format("{} {}{}", number, state, tells ? " (" + reason + ")" : "");
  }
  return queue;
}

std::string JobsText(const std::vector<SentJob>& jobs,
                     const std::map<std::string, std::string>& queue) {
  std::string text;
  for (const SentJob& job : jobs) {
    const auto known = queue.find(job.token);
    std::string state = "LOST";
    if (known != queue.end()) {
      state = known->second;
    } else if (IsSummary(job.last_line)) {
      state = "ended";
    }
    text += fmt::format("{}  {}\n", job.token, state);
    if (!job.last_line.empty()) text += "    " + job.last_line + '\n';
    if (state == "LOST") {
      text +=
          "    Slurm does not know it and its run left no summary; what it had finished is in "
          "the store: submit it again\n";
    }
  }
  return text;
}

void AddJobsVerb(Verbs& verbs) {
  auto store = std::make_shared<std::string>("store");
  CLI::App& verb =
      verbs.Add("jobs", "List the jobs that `puzzle submit` sent to Slurm.",
                "  puzzle jobs --store /shared/store", [store] { return JobsCommand(*store); });
  verb.add_option("--store", *store, "folder of finished results")->capture_default_str();
}

}  // namespace puzzle
