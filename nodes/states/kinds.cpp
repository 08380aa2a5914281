#include "nodes/states/kinds.h"

namespace puzzle {

namespace {

NodeKind ActivationsKind() {
  return Kind<ActivationsParams>("activations", 1,
                                 "The parent's hidden state at every layer input, captured once.")
      .In("parent", "checkpoint", "the model to run")
      .In("tokens", "tokens", "what to run it on")
      .Param("dtype", &ActivationsParams::dtype, {OneOf({"bf16", "fp32"})},
             "bf16 is half the size; fp32 for scores")
      .Param("compute", &ActivationsParams::compute, {OneOf({"fp32", "bf16"})},
             "type of the products; bf16 only where the device is faster at it")
      .Param("keep", &ActivationsParams::keep, {OneOf({"all", "online"})},
             "online stores nothing but the tokens: what is needed is computed when it is needed")
      .Param("max_mib", &ActivationsParams::max_mib, {Between(0, 1 << 30)},
             "keep only every k-th state, so that they fit into this; 0: no limit")
      .Param("batch", &ActivationsParams::batch, {Between(1, 1 << 20), Unkeyed()},
             "sequences at a time")
      .Out("activations")
      .On(Needs::kDevice);
}

NodeKind ImportanceKind() {
  return Kind<ImportanceParams>("importance", 1,
                                "Which FFN channels and kv heads of the parent matter.")
      .In("parent", "checkpoint", "the model")
      .In("activations", "activations", "its hidden states")
      .Param("method", &ImportanceParams::method,
             {OneOf({"iterative", "independent", "l2_norm", "truncate", "random"})},
             "of ranking FFN channels: iterative or independent contribution, l2 norm of activity; "
             "the first ones or any, to compare with")
      .Param("batches", &ImportanceParams::batches, {Between(1, 1 << 20)},
             "batches, and rounds of the iterative method")
      .Param("batch", &ImportanceParams::batch, {Between(1, 1 << 20)}, "sequences in a batch")
      .Param("seed", &ImportanceParams::seed, {Between(0, 1 << 30)}, "of method random")
      .Out("importance")
      .On(Needs::kDevice);
}

}  // namespace

std::vector<NodeKind> StatesKinds() {
  return {ActivationsKind(), ImportanceKind()};
}

}  // namespace puzzle
