// The language in which tests of the engine are written: load a graph, change it, run it, ask what
// ran.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/select.h"
#include "graph/plan/stale.h"
#include "graph/run/executor.h"
#include "graph/store/store.h"
#include "tests/graph/toy_kinds.h"

namespace puzzle::testing {

/// Keeps every event as a line: "start a", "ok a", "cached b", "failed c: message", ...
class RecordingObserver : public Observer {
 public:
  void OnEvent(const RunEvent& event) override;

  std::vector<std::string> lines;
  std::vector<std::string> warnings;
  std::map<std::string, std::string> reasons;  // of steps that started
  std::map<std::string, std::string> lanes;    // where they started last
  /// Called with each event, for tests that react.
  std::function<void(const RunEvent& event)> also;
};

/// A folder that disappears with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Archives as small text files: quick, and easy to damage. Whatever `fail` returns true for
/// (a call such as "write", "close") throws as a full disk would.
[[nodiscard]] ArchiveFormat JsonFormat(std::function<bool(const std::string& call)> fail = {});

class GraphTest : public ::testing::Test {
 protected:
  GraphTest();

  /// Takes the text of a graph; `--set` arguments stay in force until ClearSettings.
  void Load(const std::string& graph);
  void Set(const std::string& setting) { settings_.push_back(setting); }
  void ClearSettings() { settings_.clear(); }
  /// Writes a file that the graph can name or include.
  void WriteFile(const std::string& name, const std::string& text) const;

  /// Plans, applies selection_ and returns the diagnostics, one per line.
  std::string Problems(bool for_run = false);
  /// Plans and looks into the store; the graph must be good.
  void Plan();
  /// What a run would do: "HIT a", "RUN b: missing", "WAIT c: waits for b".
  std::vector<std::string> Forecasts();
  /// Runs; results are in report() and below.
  void Run();

  /// Names of the steps that ran and succeeded in the last run.
  [[nodiscard]] std::set<std::string> ran() const { return With(Outcome::kOk); }
  [[nodiscard]] std::set<std::string> cached() const { return With(Outcome::kCached); }
  [[nodiscard]] std::set<std::string> failed() const { return With(Outcome::kFailed); }
  [[nodiscard]] std::set<std::string> skipped() const { return With(Outcome::kSkipped); }
  [[nodiscard]] std::set<std::string> cancelled() const { return With(Outcome::kCancelled); }
  [[nodiscard]] std::set<std::string> With(Outcome outcome) const;
  /// The text that a step made.
  [[nodiscard]] std::string TextOf(const std::string& step);
  [[nodiscard]] std::string KeyOfStep(const std::string& step);
  [[nodiscard]] std::string DigestOfStep(const std::string& step);
  /// The artifact file of a step of the last run.
  [[nodiscard]] std::string FileOf(const std::string& step);
  [[nodiscard]] StepId Find(const std::string& step) const;
  [[nodiscard]] const Report& report() const { return report_; }
  [[nodiscard]] std::string folder() const { return folder_.path(); }
  /// A fresh look at the store, as a new process would have.
  void ReopenStore();

  Playground playground_;
  Selection selection_;
  ExecuteOptions options_;
  std::vector<Device> devices_{Device{}, Device{}};
  std::map<std::string, uint64_t> memory_bytes_;        // of the lanes, by device
  std::function<std::unique_ptr<Lanes>()> make_lanes_;  // in place of threads for devices_
  std::map<std::string, std::map<std::string, std::string>> environments_;  // by device type
  ArchiveFormat format_;
  std::vector<std::string> shared_stores_;  // below the store
  RecordingObserver observer_;
  std::unique_ptr<Store> store_;
  std::optional<puzzle::Plan> plan_;
  StepOrders orders_;                  // what selection_ asks for
  Forecast forecast_;                  // of plan_
  std::string source_ = "graph.json";  // where the graph stands, for messages and includes
  std::unique_ptr<Registry> registry_;
  TemporaryFolder folder_;

 private:
  std::vector<std::unique_ptr<Store>>
      closed_stores_;  // records of earlier reports are views of them
  std::string graph_;
  std::vector<std::string> settings_;
  Diagnostics diagnostics_;
  Report report_;
};

inline std::set<std::string> Steps() {
  return {};
}
template <class... T>
std::set<std::string> Steps(T... names) {
  return {names...};
}

}  // namespace puzzle::testing
