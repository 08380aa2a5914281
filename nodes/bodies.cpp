#include "nodes/bodies.h"

#include "io/error.h"
#include "model/pch.h"
#include "nodes/additivity.h"
#include "nodes/assemble.h"
#include "nodes/best.h"
#include "nodes/bld.h"
#include "nodes/capture.h"
#include "nodes/cost.h"
#include "nodes/evaluate.h"
#include "nodes/export_library.h"
#include "nodes/export_model.h"
#include "nodes/gkd.h"
#include "nodes/importance.h"
#include "nodes/join.h"
#include "nodes/latency.h"
#include "nodes/load_model.h"
#include "nodes/pretrain.h"
#include "nodes/report.h"
#include "nodes/score.h"
#include "nodes/search.h"
#include "nodes/sweep.h"
#include "nodes/synthetic_text.h"
#include "nodes/tokenize.h"

namespace puzzle {

namespace {

// libtorch's errors carry a stack trace, which helps nobody who reads a run's report.
Body Plainly(Body body) {
  return [body = std::move(body)](const void* params, const Inputs& inputs, RunContext& context,
                                  ArchiveWriter& out) {
    try {
      return body(params, inputs, context, out);
    } catch (const c10::Error& error) {
      throw Error(error.what_without_backtrace());
    }
  };
}

}  // namespace

std::map<std::string, Body> PuzzleBodies() {
  std::map<std::string, Body> bodies = {{"activations", MakeStreamingBody(RunActivations)},
                                        {"additivity", MakeBody(RunAdditivity)},
                                        {"assemble", MakeBody(RunAssemble)},
                                        {"best", MakeBody(RunBest)},
                                        {"bld", MakeBody(RunBld)},
                                        {"block_library", MakeBody(RunBlockLibrary)},
                                        {"cost", MakeBody(RunCost)},
                                        {"evaluate", MakeBody(RunEvaluate)},
                                        {"export", MakeBody(RunExport)},
                                        {"gkd", MakeBody(RunGkd)},
                                        {"importance", MakeBody(RunImportance)},
                                        {"join", MakeBody(RunJoin)},
                                        {"latency", MakeBody(RunLatency)},
                                        {"load_model", MakeBody(RunLoadModel)},
                                        {"model_latency", MakeBody(RunModelLatency)},
                                        {"pretrain", MakeBody(RunPretrain)},
                                        {"report", MakeBody(RunReport)},
                                        {"score", MakeBody(RunScore)},
                                        {"search", MakeBody(RunSearch)},
                                        {"shortlist", MakeBody(RunShortlist)},
                                        {"sweep", MakeBody(RunSweep)},
                                        {"synthetic_text", MakeBody(RunSyntheticText)},
                                        {"tokenize", MakeBody(RunTokenize)}};
  for (auto& [kind, body] : bodies) body = Plainly(std::move(body));
  return bodies;
}

}  // namespace puzzle
