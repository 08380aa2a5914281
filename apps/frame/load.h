// What all verbs that take a graph share: its options and the way to a plan.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "graph/kind/registry.h"
#include "graph/plan/plan.h"
#include "graph/plan/select.h"
#include "graph/plan/workload.h"
#include "graph/run/lanes.h"
#include "graph/store/store.h"

namespace puzzle {

/// Options of every verb that takes a graph.
struct GraphOptions {
  std::string graph;
  std::vector<std::string> settings;  // --set
  std::string store = "store";
  std::vector<std::string> shared_stores;  // read after the store, never written
  bool strict_environment = false;         // the numerical environment enters the keys

  void Declare(CLI::App& verb, bool with_store);
  /// "run", GRAPH, "--set", ..., "--store", ...: what follows the name of the program.
  [[nodiscard]] std::vector<std::string> Arguments() const;
  /// "puzzle run GRAPH --set ... --store ...", as it can be typed.
  [[nodiscard]] std::string Command() const;
};

/// Which steps a run is about.
struct SelectionOptions : Selection {
  void Declare(CLI::App& verb);
};

/// Options about lanes.
struct LaneOptions {
  std::string devices;  // "cpu,cpu,cuda:0"; "": the default
  int jobs = 0;         // that many cpu lanes

  void Declare(CLI::App& verb);
  [[nodiscard]] std::vector<Device> Devices() const;
};

/// The text of a graph: of a file, of standard input ("-"), or of a pipe such as "<(script)".
/// Throws Error.
[[nodiscard]] JsonText ReadGraph(const std::string& path);

/// Throws Error when the graph cannot be read by several programs; `why` is what needs that.
void NeedGraphFile(const GraphOptions& options, const std::string& why);

/// The store of a command line.
[[nodiscard]] std::unique_ptr<Store> OpenStore(const GraphOptions& options);

/// Where digests of external files are remembered.
struct Memo {
  std::string path;          // "": nowhere
  bool make_folder = false;  // also when its folder does not exist yet
  /// An input that is larger and not remembered is not read, with a warning: it counts as new.
  uint64_t most_bytes = std::numeric_limits<uint64_t>::max();
  bool warns = true;  // false: nothing depends on what is new
};

/// Of such an input, for verbs that run nothing: about a second's work.
inline constexpr uint64_t kMostReadAtOnce = uint64_t{1} << 30;
/// For a graph by itself, whose results nobody looks for.
inline const Memo kNoMemo = {"", false, kMostReadAtOnce, false};

/// A file, or the folder or file of a checkpoint, that was read to make a plan.
struct ReadPath {
  std::string path;
  bool is_folder = false;
};

/// Reads, checks and plans a graph. Prints every diagnostic to stderr and returns nullopt when
/// something is wrong with it. `read` gets what was read besides the inputs of steps.
[[nodiscard]] std::optional<Plan> LoadPlan(const GraphOptions& options, const Registry& registry,
                                           const Hooks& hooks, const Memo& memo,
                                           std::vector<ReadPath>* read = nullptr);

/// A plan and what the store knows about it: everything that a run decides before it begins.
struct Prepared {
  Plan plan;
  Forecast forecast;
};

/// What a run will need, from sizes; replaces guesses of the forecast. Nothing when the program
/// knows no sizes, or nothing has to run.
[[nodiscard]] std::optional<Outlook> Foresee(const Hooks& hooks, size_t lanes, Store& store,
                                             Prepared& prepared);

/// LoadPlan, then the selection and the store. Prints and returns nullopt likewise. `for_run`
/// announces the run in the store and remembers digests there, which makes its folder;
/// `most_bytes` is that of a Memo.
[[nodiscard]] std::optional<Prepared> Prepare(
    const GraphOptions& options, const Selection& selection, const Registry& registry,
    const Hooks& hooks, Store& store, bool for_run, std::vector<ReadPath>* read = nullptr,
    uint64_t most_bytes = std::numeric_limits<uint64_t>::max());

}  // namespace puzzle
