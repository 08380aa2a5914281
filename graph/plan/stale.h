// Which steps of a plan have their result in the store, which must run, and why. Reads the store,
// changes nothing. Thread-compatible.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/plan/key.h"
#include "graph/plan/plan.h"
#include "graph/store/store.h"

namespace puzzle {

/// What will become of a step.
enum class Fate {
  kHit,   // its result is in the store
  kRun,   // it must run
  kWait,  // an input runs first; whether the step runs depends on what comes out
};

struct StepForecast {
  Fate fate = Fate::kRun;
  bool key_closed = false;    // all inputs are known, hence the key is
  bool outputs_lost = false;  // runs although its artifact is in the store: see kOutputFolder
  bool forced = false;        // likewise: the user wants it
  bool accept = false;        // the user wants its last result to count
  bool accepts = false;       // ... and it does: a hit whose record has another key
  bool outside = false;       // not selected: it must not run, its result has to be there
  std::string key;            // empty while open
  Record record;              // of a hit
  std::string reason;         // "params.lr: 1e-4 -> 3e-4", "waits for bld[layer=3]", ...
  std::string group;          // the reason without the step's own particulars, to gather by
  std::string warning;        // a result was lost or damaged
  double expected_s = 0;      // from past runs, or a guess
  bool guessed = false;       // nothing of its kind ran before
  // By sizes (Foresee); 0: not known.
  uint64_t memory_bytes = 0;  // that it will take for itself
  uint64_t shared_bytes = 0;  // of inputs that steps hold together
};

/// HIT, KEEP (an accepted hit), RUN or WAIT.
[[nodiscard]] std::string_view FateName(const StepForecast& step);

struct Forecast {
  std::vector<StepForecast> steps;
  size_t hits = 0, runs = 0, waits = 0;
  double saved_s = 0;     // what the hits cost when they were made
  double expected_s = 0;  // of everything that may run
  /// Per step: the longest sum of expected seconds from its start to the end of the graph.
  std::vector<double> remaining_s;

  /// Seconds that `lanes` lanes will need at least: the critical path or the even share.
  [[nodiscard]] double Estimate(size_t lanes) const;
};

/// What the user asks for besides, per step. Empty lists ask for nothing and cost nothing.
struct StepOrders {
  std::vector<bool> forced;    // run it, even if its result is in the store
  std::vector<bool> accepted;  // let its last result count, although its recipe has changed
  std::vector<bool> outside;   // it must not run
};

/// Decides every step of `plan`. O(steps + edges).
[[nodiscard]] Forecast MarkStale(const Plan& plan, Store& store, const StepOrders& orders = {});

/// Sums of expected seconds: of the whole forecast, and from every step to the end. Again when the
/// steps' own have changed.
void AddUp(const Plan& plan, Forecast& forecast);

/// A file that a step wrote besides its artifact, as its record says.
struct RecordedOutput {
  std::string path;
  std::optional<int64_t> bytes;
};
/// Throws Error for a record that breaks a rule.
[[nodiscard]] std::vector<RecordedOutput> RecordedOutputs(const Step& step, const Record& record);

/// The hit test for a closed key: the record of a usable result, or why there is none.
struct HitTest {
  bool hit = false;
  Record record;
  Presence presence = Presence::kAbsent;
  bool outputs_lost = false;
  std::string reason;  // when not a hit
};
[[nodiscard]] HitTest TestHit(const Plan& plan, StepId step, const std::string& key, Store& store);

/// Names the first component in which the recipe differs from the one that this step name had
/// last time; "missing" when there was none. An empty `recipe` (open key) compares what is known.
[[nodiscard]] std::string ExplainMiss(const Plan& plan, StepId step, const std::string& recipe,
                                      Store& store);

/// What a step made last, whatever its recipe was, for estimates; nothing of another type: that was
/// another step of its name.
[[nodiscard]] std::optional<Record> PastOf(const Plan& plan, StepId step, Store& store);

/// The last result of a step, whatever its recipe was, if it is whole and of the right type.
[[nodiscard]] std::optional<Record> FindAcceptable(const Plan& plan, StepId step, Store& store);

/// Digests at the ports of a step from those of its inputs: sorted, without duplicates.
template <class DigestOf>
[[nodiscard]] PortDigests CollectDigests(const Step& step, const DigestOf& digest_of);
void SortUnique(std::vector<std::string_view>& digests);

template <class DigestOf>
PortDigests CollectDigests(const Step& step, const DigestOf& digest_of) {
  PortDigests digests(step.inputs.size());
  for (size_t p = 0; p < digests.size(); ++p) {
    for (const StepId input : step.inputs[p]) digests[p].push_back(digest_of(input));
    SortUnique(digests[p]);
  }
  return digests;
}

}  // namespace puzzle
