#include "io/error.h"
#include "model/pch.h"
#include "nodes/catalogue.h"
#include "nodes/cost/kinds.h"
#include "nodes/data/kinds.h"
#include "nodes/measure/kinds.h"
#include "nodes/precision/kinds.h"
#include "nodes/search/kinds.h"
#include "nodes/states/kinds.h"
#include "nodes/train/kinds.h"

namespace puzzle {

namespace {

// libtorch's errors carry a stack trace, which helps nobody who reads a run's report.
Body Plainly(Body body) {
  body.run = [run = std::move(body.run)](const void* params, const Inputs& inputs,
                                         RunContext& context, ArchiveWriter& out) {
    try {
      return run(params, inputs, context, out);
    } catch (const c10::OutOfMemoryError&) {
      throw;  // its type says what ClassifyDeviceFailure asks for, its words differ by version
    } catch (const c10::Error& error) {
      throw Error(error.what_without_backtrace());
    }
  };
  return body;
}

}  // namespace

std::map<std::string, Body> PuzzleBodies() {
  std::map<std::string, Body> all;
  for (auto room : {CostBodies, DataBodies, MeasureBodies, PrecisionBodies, SearchBodies,
                    StatesBodies, TrainBodies})
    all.merge(room());
  for (auto& [kind, body] : all) body = Plainly(std::move(body));
  return all;
}

}  // namespace puzzle
