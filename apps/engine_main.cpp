// `puzzle-engine`: the same command line with the functions that compute. Started by `puzzle`.
#include <spdlog/spdlog.h>

#include "apps/cli.h"
#include "apps/machine/blas_kernel.h"
#include "apps/machine/environment.h"
#include "apps/models/analyze.h"
#include "apps/models/model_commands.h"
#include "apps/models/search.h"
#include "apps/report/report.h"
#include "apps/start/init.h"
#include "model/files/checkpoint_config.h"
#include "model/math/runtime.h"
#include "nodes/catalogue.h"
#include "nodes/workloads.h"

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);  // started by hand
  puzzle::PrepareTensorRuntime();
  const puzzle::Registry registry(puzzle::PuzzleKinds(), puzzle::PuzzleBodies());
  puzzle::Hooks hooks;
  hooks.add_verbs = [&registry, &hooks](puzzle::Verbs& verbs) {
    puzzle::AddAnalyzeVerb(verbs);
    puzzle::AddInitVerb(verbs, registry, hooks);
    puzzle::AddReportVerb(verbs, registry, hooks);
    puzzle::AddSearchVerb(verbs);
    puzzle::AddModelVerbs(verbs,
                          {puzzle::EvalCommand, puzzle::GenerateCommand, puzzle::BenchCommand,
                           [&registry, &hooks](const puzzle::ExportOptions& options) {
                             return puzzle::ExportCommand(options, registry, hooks);
                           }});
  };
  hooks.before_execute = [] { spdlog::debug("{}", puzzle::RuntimeDescription()); };
  hooks.on_lane_start = [](const puzzle::Device& device, int) {
    puzzle::BindThreadToDevice(device.name());
  };
  hooks.set_threads = puzzle::SetThreads;
  hooks.environment = puzzle::MachineFacts;
  hooks.layers_of = puzzle::CountLayers;
  hooks.workload = puzzle::WorkloadOf;
  hooks.numerics = puzzle::NumericalFacts;
  hooks.classify_failure = [](const std::exception& error) {
    switch (puzzle::ClassifyDeviceFailure(error)) {
      case puzzle::DeviceFailure::kOutOfMemory:
        return puzzle::FailureKind::kOutOfMemory;
      case puzzle::DeviceFailure::kLost:
        return puzzle::FailureKind::kDeviceLost;
      case puzzle::DeviceFailure::kNone:
        break;
    }
    return puzzle::FailureKind::kOrdinary;
  };
  return puzzle::PuzzleMain(argc, argv, registry, hooks);
}
