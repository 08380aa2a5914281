#include "apps/cli.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "apps/frame/output.h"
#include "apps/graphs/cache.h"
#include "apps/graphs/explain.h"
#include "apps/graphs/graph_verb.h"
#include "apps/graphs/kinds.h"
#include "apps/graphs/plan.h"
#include "apps/graphs/runs.h"
#include "apps/graphs/schema.h"
#include "apps/graphs/show.h"
#include "apps/graphs/validate.h"
#include "apps/running/jobs.h"
#include "apps/running/run.h"
#include "apps/running/submit.h"
#include "apps/shell/shell.h"
#include "graph/run/step_failure.h"
#include "graph/view/show.h"
#include "io/error.h"
#include "io/file.h"

namespace puzzle {
namespace {

void StartLog() {
  auto logger = spdlog::stderr_color_st("puzzle");
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

/// Where a shell closed standard output (>&-), the next file to be opened, of the store say, would
/// take its number and all that is printed.
void OpenStandardStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) (void)::open("/dev/null", O_RDWR);  // the lowest free number
  }
}

/// The command line as it could be typed again.
std::string CommandText(int argc, char** argv) {
  std::string text;
  for (int i = 0; i < argc; ++i) text += (i > 0 ? " " : "") + ShellWord(argv[i]);
  return text;
}

int Guarded(const std::function<int()>& run) {
  try {
    return run();
  } catch (const BugError& error) {
    Say("puzzle: internal error: {}\n", error.what());
  } catch (const Cancelled&) {
    Say("puzzle: interrupted\n");
    return kExitInterrupted;
  } catch (const std::exception& error) {
    Say("puzzle: {}\n", WithoutTrace(error.what()));
  }
  return kExitFailed;
}

}  // namespace

CLI::App& Verbs::Add(const std::string& name, const std::string& description,
                     const std::string& examples, std::function<int()> run) {
  CLI::App* verb = app_.add_subcommand(name, description);
  if (!examples.empty()) verb->footer("Examples:\n" + examples);
  verbs_.push_back({verb, std::move(run)});
  return *verb;
}

int Verbs::Run() const {
  for (const Verb& verb : verbs_) {
    if (verb.app->parsed()) return verb.run();
  }
  return kExitBadInput;
}

int PuzzleMain(int argc, char** argv, const Registry& registry, const Hooks& hooks) {
  OpenStandardStreams();
  StartLog();
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is a failed write like any other
  AllowManyOpenFiles();
  CLI::App app(
      "Compresses language models by the Puzzle method: runs JSON graphs of steps and "
      "computes only what is missing.",
      "puzzle");
  app.set_version_flag("--version", std::string("puzzle ") + PUZZLE_VERSION);
  app.require_subcommand(1);
  Verbs verbs(app, CommandText(argc, argv));
  AddRunVerb(verbs, registry, hooks);
  AddSubmitVerb(verbs, registry, hooks);
  AddJobsVerb(verbs);
  AddPlanVerb(verbs, registry, hooks);
  AddExplainVerb(verbs, registry, hooks);
  AddShowVerb(verbs);
  AddRunsVerb(verbs);
  AddDiffVerb(verbs);
  AddValidateVerb(verbs, registry, hooks);
  AddGraphVerb(verbs, registry, hooks);
  AddKindsVerb(verbs, registry);
  AddSchemaVerb(verbs, registry);
  AddCacheVerb(verbs);
  if (hooks.add_verbs) hooks.add_verbs(verbs);
  if (const auto answered = AnswerShell(argc, argv, app, registry, hooks))
    return AfterPrinting(*answered);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return AfterPrinting(app.exit(error) == 0 ? kExitDone : kExitBadInput);
  }
  return AfterPrinting(Guarded([&] { return verbs.Run(); }));
}

}  // namespace puzzle
