// `puzzle`, the front program. It serves everything that needs no tensors itself, at once, and
// becomes `puzzle-engine` (apps/engine_main.cpp) when there is something to compute: loading
// libtorch costs 0.4 s, and the BLAS behind it has to be told the right kernel before it loads.
#include "apps/cli.h"
#include "apps/machine/blas_kernel.h"
#include "apps/machine/environment.h"
#include "apps/models/analyze.h"
#include "apps/models/model_verbs.h"
#include "apps/models/search.h"
#include "apps/report/report.h"
#include "apps/start/init.h"
#include "model/files/checkpoint_config.h"
#include "nodes/catalogue.h"
#include "nodes/workloads.h"

namespace {

[[noreturn]] void BecomeEngine(char** argv) {
  puzzle::PrepareBlasEnvironment();
  puzzle::ExecSibling("puzzle-engine", argv);
}

}  // namespace

int main(int argc, char** argv) {
  const puzzle::Registry registry(puzzle::PuzzleKinds());
  puzzle::Hooks hooks;
  hooks.add_verbs = [argv, &registry, &hooks](puzzle::Verbs& verbs) {
    puzzle::AddAnalyzeVerb(verbs);
    puzzle::AddInitVerb(verbs, registry, hooks);
    puzzle::AddReportVerb(verbs, registry, hooks);
    puzzle::AddSearchVerb(verbs);
    const auto become_engine = [argv](const auto&) -> int { BecomeEngine(argv); };
    puzzle::AddModelVerbs(verbs, {become_engine, become_engine, become_engine, become_engine});
  };
  hooks.before_execute = [argv] { BecomeEngine(argv); };
  hooks.environment = puzzle::MachineFacts;
  hooks.layers_of = puzzle::CountLayers;
  hooks.workload = puzzle::WorkloadOf;
  hooks.numerics = puzzle::NumericalFacts;
  return puzzle::PuzzleMain(argc, argv, registry, hooks);
}
