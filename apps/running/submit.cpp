#include "apps/running/submit.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "apps/frame/output.h"
#include "apps/running/fleet.h"
#include "graph/plan/select.h"
#include "graph/store/leftovers.h"
#include "graph/view/show.h"
#include "io/error.h"
#include "io/file.h"
#include "io/spawn.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr int kBeforeTheEnd_s = 60;  // of the time limit: steps stop, save points stay

/// A line that sbatch reads. It splits it as a shell would, hence the quotes.
std::string Directive(const std::string& word) {
  return "#SBATCH " + ShellWord(word) + '\n';
}

/// A path in the pattern of a file name, where "%j" is the number of the job.
std::string AsPattern(const std::string& path) {
  std::string pattern;
  for (const char c : path) pattern += c == '%' ? "%%" : std::string(1, c);
  return pattern;
}

/// "-N 4 --time=1:00" as words that belong together: "-N 4", "--time=1:00".
std::string UserDirectives(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string line = ShellWord(words[i]);
    const bool takes_next = words[i].find('=') == std::string::npos && i + 1 < words.size() &&
                            !words[i + 1].starts_with('-');
    if (takes_next) line += ' ' + ShellWord(words[++i]);
    text += "#SBATCH " + line + '\n';
  }
  return text;
}

/// "8" of "--gpus-per-node=8" or "--gpus-per-node a100:8"; "" where tasks are counted by the
/// user. A task per device needs a core per device, which sbatch has to know.
std::string TasksPerNode(const std::vector<std::string>& words) {
  std::string gpus;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string name = words[i].substr(0, words[i].find('='));
    if (name.starts_with("--ntasks") || name.starts_with("-n")) return {};
    if (name != "--gpus-per-node") continue;
    gpus = name.size() < words[i].size() ? words[i].substr(name.size() + 1)
           : i + 1 < words.size()        ? words[i + 1]
                                         : "";
    gpus = gpus.substr(gpus.rfind(':') + 1);
  }
  return gpus.find_first_not_of("0123456789") == std::string::npos ? gpus : "";
}

std::vector<std::string> RunArguments(const SubmitOptions& options) {
  std::vector<std::string> words = options.graph.Arguments();
  const auto add = [&](const char* option, const std::vector<std::string>& values) {
    for (const std::string& value : values) {
      words.emplace_back(option);
      words.push_back(value);
    }
  };
  add("--until", options.selection.until);
  add("--from", options.selection.from);
  add("--only", options.selection.only);
  add("--accept", options.selection.accept);
  if (!options.lanes.devices.empty()) add("--devices", {options.lanes.devices});
  if (options.lanes.jobs > 0) add("--jobs", {std::to_string(options.lanes.jobs)});
  if (options.keep_going) words.emplace_back("--keep-going");
  words.emplace_back("--on");
  words.emplace_back("slurm");
  return words;
}

std::string Trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

void CheckWords(const SubmitOptions& options) {
  for (const std::string& word : options.sbatch_arguments) {
    if (word.find_first_of("\n\r") != std::string::npos) {
      throw Error("an option of sbatch with a line break");
    }
  }
  if (const std::string word = OptionOfOurs(options.sbatch_arguments); !word.empty()) {
    throw Error(
        fmt::format("\"{}\": submit names the job and its output, which is how `puzzle jobs` finds "
                    "them again",
                    word));
  }
  // sbatch reads lines; in the command below them a line break is a character like any other.
  if (fs::absolute(options.graph.store).string().find_first_of("\n\r") != std::string::npos) {
    throw Error("--store: sbatch cannot be told of a folder with a line break in its path");
  }
  if (options.selection.force_all || !options.selection.force.empty()) {
    throw Error("--force means one process: in a job every worker would run those steps");
  }
  NeedGraphFile(options.graph, "a job");
}

}  // namespace

std::string BatchScript(const SubmitOptions& options, const std::string& token,
                        const std::string& folder, const std::string& program,
                        const std::string& output) {
  std::string text = "#!/bin/bash\n";
  for (const std::string& word :
       {"--job-name=" + token, "--comment=" + token, "--output=" + AsPattern(output),
        std::string("--open-mode=append"), std::string("--no-requeue"), std::string("--no-kill"),
        fmt::format("--signal=B:TERM@{}", kBeforeTheEnd_s)}) {
    text += Directive(word);
  }
  text += UserDirectives(options.sbatch_arguments);
  const std::string tasks = TasksPerNode(options.sbatch_arguments);
  if (!tasks.empty()) text += Directive("--ntasks-per-node=" + tasks);
  text += fmt::format(
      "# The front runs here; srun starts a worker per device. What is done stays in the store:\n"
      "# when the time limit ends the job, submit the same again.\n"
      "cd {} || exit 2\n"
      "exec {} {}\n",
      ShellWord(folder), ShellWord(program), ShellCommand(RunArguments(options)));
  return text;
}

int SubmitCommand(const SubmitOptions& options, const Registry& registry, const Hooks& hooks) {
  try {
    CheckWords(options);
  } catch (const Error& error) {
    Say("{}\n", error.what());
    return kExitBadInput;
  }
  // What is wrong with graph and selection is said now, and not when the job's turn has come.
  std::optional<Plan> plan = LoadPlan(options.graph, registry, hooks, kNoMemo);
  if (!plan) return kExitBadInput;
  Diagnostics mistakes;
  (void)Select(std::move(*plan), options.selection, mistakes);
  if (!mistakes.empty()) {
    Say("{}", mistakes.Text());
    return kExitBadInput;
  }
  const std::string token = "puzzle-" + RandomName();
  const std::string jobs = fs::absolute(options.graph.store).lexically_normal() / "jobs";
  const std::string script_path = fmt::format("{}/{}.sh", jobs, token);
  const std::string output = fmt::format("{}/{}.out", jobs, token);
  const std::string script =
      BatchScript(options, token, fs::current_path().string(), OwnProgram(), output);
  if (options.dry_run) {
    Print("{}", script);
    return kExitDone;
  }
  std::error_code failure;
  fs::create_directories(fs::path(jobs).parent_path(), failure);
  MakeStoreFolder(jobs);
  WriteWholeFile(script_path, script);
  ProcessSpec spec;
  spec.arguments = {"sbatch", "--parsable", script_path};
  const ProcessResult result = RunProcess(spec);
  if (result.exit_status != 0) {
    fs::remove(script_path, failure);
    throw Error("sbatch refuses the job: " + Trimmed(result.err.Text()));
  }
  const std::string id = Trimmed(result.out.Text());
  Print(
      "job {} ({})\n  script  {}\n  output  {}\n  state   puzzle jobs{}\n"
      "  cancel  scancel --name={}\n",
      id.substr(0, id.find(';')), token, script_path, output,
      options.graph.store == GraphOptions().store ? ""
                                                  : " --store " + ShellWord(options.graph.store),
      token);
  return kExitDone;
}

void AddSubmitVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks) {
  auto options = std::make_shared<SubmitOptions>();
  CLI::App& verb = verbs.Add(
      "submit", "Run a graph in a job of Slurm, a worker per device; options of sbatch after --.",
      "  puzzle submit configs/demo.json -- -N 4 --gpus-per-node=8 -t 8:00:00\n"
      "  puzzle submit configs/demo.json --devices cuda:0 -- -N 1 --gpus-per-node=4\n"
      "  puzzle submit configs/demo.json --dry-run -- -N 2    # print the script and stop\n"
      "Submit the same again to go on where a time limit ended it. `puzzle run --on slurm` follows "
      "the job from here.",
      [options, &registry, &hooks] { return SubmitCommand(*options, registry, hooks); });
  options->graph.Declare(verb, /*with_store=*/true);
  options->lanes.Declare(verb);
  options->selection.Declare(verb);
  verb.add_flag("-k,--keep-going", options->keep_going,
                "after a failure, run whatever does not depend on it");
  verb.add_flag("-n,--dry-run", options->dry_run, "print the batch script and stop");
  verb.add_option("SBATCH", options->sbatch_arguments, "after --: options of sbatch");
}

}  // namespace puzzle
