#include "nodes/bodies.h"

#include "io/error.h"
#include "model/pch.h"
#include "nodes/cost/cost.h"
#include "nodes/cost/latency.h"
#include "nodes/data/export_model.h"
#include "nodes/data/load_model.h"
#include "nodes/data/synthetic_text.h"
#include "nodes/data/tokenize.h"
#include "nodes/measure/additivity.h"
#include "nodes/measure/best.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/report.h"
#include "nodes/measure/score.h"
#include "nodes/search/export_library.h"
#include "nodes/search/search.h"
#include "nodes/search/sweep.h"
#include "nodes/states/activations.h"
#include "nodes/states/importance.h"
#include "nodes/train/assemble.h"
#include "nodes/train/bld.h"
#include "nodes/train/gkd.h"
#include "nodes/train/join.h"
#include "nodes/train/pretrain.h"

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
