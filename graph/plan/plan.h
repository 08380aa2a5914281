// What a graph means: steps, their order and their checked parameters. A plan is a plain value; it
// knows nothing of the store, of devices or of threads, and is immutable once made.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graph/kind/params.h"
#include "graph/kind/registry.h"
#include "graph/language/diagnostics.h"
#include "graph/language/spec.h"
#include "graph/language/substitute.h"
#include "graph/store/files.h"

namespace puzzle {

using StepId = uint32_t;

/// One execution of a node.
struct Step {
  std::string name;  // "bld[layer=3]"
  uint32_t node = 0;
  BoundParams params;
  std::vector<std::vector<StepId>> inputs;  // per port of the kind, in its order
};

/// An entry of the graph's "nodes"; its steps are [first, first + count).
struct PlanNode {
  std::string name;
  std::string doc;
  const NodeKind* kind = nullptr;
  StepId first = 0;
  uint32_t count = 0;
  int retries = 0;       // how often a step that fails is tried again
  double timeout_s = 0;  // after which a step is asked to stop, and fails; 0: never
};

/// Steps in the order of the graph file. REQUIRES: the registry it was made from outlives it.
struct Plan {
  std::vector<PlanNode> nodes;
  std::vector<Step> steps;
  /// Every step after its inputs; sorted by the length of the longest chain of inputs.
  std::vector<StepId> order;
  /// Facts about machine, build and device that enter the keys of kinds that measure
  /// (kQuietDevice), by the type of device they ask for ("" where they ask for none).
  std::map<std::string, std::map<std::string, std::string>> environments;
  /// What decides the last bits of computations on devices; enters their keys unless empty.
  std::map<std::string, std::string> numerics;

  [[nodiscard]] const NodeKind& kind(StepId step) const { return *nodes[steps[step].node].kind; }
  [[nodiscard]] const PlanNode& node(StepId step) const { return nodes[steps[step].node]; }
  [[nodiscard]] const std::string& node_name(StepId step) const {
    return nodes[steps[step].node].name;
  }
  /// The distinct steps whose results `step` receives, ascending.
  [[nodiscard]] std::span<const StepId> predecessors(StepId step) const {
    return {predecessors_.data() + predecessor_begin_[step],
            predecessors_.data() + predecessor_begin_[step + 1]};
  }
  /// The distinct steps that receive the result of `step`, ascending.
  [[nodiscard]] std::span<const StepId> successors(StepId step) const {
    return {successors_.data() + successor_begin_[step],
            successors_.data() + successor_begin_[step + 1]};
  }
  /// Fills the adjacency and `order` from the steps' inputs. Returns a cycle (first step = last
  /// step), or nothing when there is none.
  std::vector<StepId> Link();

 private:
  std::vector<uint32_t> predecessor_begin_, successor_begin_;
  std::vector<StepId> predecessors_, successors_;
};

/// What a plan depends on besides the graph.
struct PlanOptions {
  FileDigester* files = nullptr;  // nullptr: external files are not looked at
  /// The facts for kinds that measure on a type of device; asked for only where there are such.
  std::function<std::map<std::string, std::string>(const std::string& device_type)> environment;
  LayerCounter layers_of;  // empty: no model is known
  std::map<std::string, std::string> numerics;
  size_t max_steps = 10'000'000;  // a graph with more is refused
};

/// Expands, checks and orders. Every mistake goes to `diagnostics`; the plan is usable only if
/// there is none, including those that ParseSpec found. O(steps + edges).
[[nodiscard]] Plan MakePlan(const GraphSpec& spec, const Registry& registry,
                            const PlanOptions& options, Diagnostics& diagnostics);

}  // namespace puzzle
