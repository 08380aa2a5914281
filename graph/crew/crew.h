// The workers of one run, as their front sees them: takes their lines, tells an observer what
// happens, and makes one report. Used by one thread; starts nothing.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/crew/worker_line.h"
#include "graph/run/announcer.h"
#include "graph/run/report.h"
#include "graph/store/store.h"

namespace puzzle {

class Crew {
 public:
  struct Options {
    bool keep_going = false;
    std::string tool;  // version of this program
    size_t hosts = 1;  // on which workers are expected
  };
  /// Plan, forecast and observer (which may be nullptr) outlive it.
  Crew(const Plan& plan, const Forecast& forecast, Observer* observer, Options options);

  /// Announces the run. `lanes`: as many as are expected, of all workers.
  void Begin(size_t lanes);
  /// A line that a worker wrote; `worker` is its name, such as "local#1". What is no line of a
  /// worker is ignored.
  void TakeLine(const std::string& worker, std::string_view line);
  /// A worker is gone; `how`, such as "killed by signal 9". When it was not done yet it is lost:
  /// that is said, and what it was at is open again, unless that has cost too many workers.
  void Leave(const std::string& worker, const std::string& how);
  /// To be called a few times a second: announces results that nobody here claims to have made.
  void Tick();
  /// A message about the run, said once however often it comes.
  void Warn(const std::string& message);

  /// Has said everything that it has to say.
  [[nodiscard]] bool IsDone(const std::string& worker) const;
  /// Is of no use, and why; "" otherwise.
  [[nodiscard]] std::string RefusalOf(const std::string& worker) const;
  /// Was lost at a step that has cost so many workers that it has failed for good: another start
  /// would end there as well.
  [[nodiscard]] bool IsHopeless(const std::string& worker) const;
  /// "local#1 on host".
  [[nodiscard]] std::string NameOf(const std::string& worker) const;
  /// Every step has a result.
  [[nodiscard]] bool Complete() const { return open_ == 0; }
  /// A step failed for good, and the user does not want to go on.
  [[nodiscard]] bool Failed() const { return failed_ && !options_.keep_going; }
  /// Names of workers that have come and not gone.
  [[nodiscard]] std::vector<std::string> Present() const;

  /// The end: what became of each step. Results are looked up in `store`; what may show up late
  /// there is waited for.
  [[nodiscard]] Report Finish(Store& store, bool interrupted);

 private:
  struct Worker {
    std::string host, process;
    bool done = false, gone = false, hopeless = false;
    std::string refusal;
    std::set<StepId> running;
  };
  struct StepState {
    bool started = false;                   // somebody is at it now
    bool settled = false;                   // its outcome was announced
    Outcome outcome = Outcome::kCancelled;  // kOk or kCached: there is a result
    std::string worker, key;
    size_t losses = 0;  // of workers that were at it, since one last went on from further
    double begun = 0;   // the furthest that somebody went on from
    double wall_s = 0, memory_mib = 0;
    double found_s = -1;  // when somebody found a result that nobody here said to have made
    std::map<std::string, std::string> failures;  // host -> message
  };

  void TakeHello(const std::string& name, const WorkerHello& hello);
  void TakeEvent(const std::string& name, Worker& worker, const WorkerEvent& event, StepId id);
  void TakeOutcome(const std::string& name, Worker& worker, const WorkerEvent& event, StepId id);
  void TakeFailure(const std::string& name, Worker& worker, const WorkerEvent& event, StepId id);
  void Settle(StepId id, Outcome outcome, const std::string& message);
  void Lose(const std::string& name, Worker& worker, StepId id, const std::string& how);
  void Reopen(StepId id, const std::string& message, const std::string& next);
  [[nodiscard]] bool IsOneOfUs(const std::string& holder) const;

  const Plan& plan_;
  const Forecast& forecast_;
  const Options options_;
  Announcer announcer_;
  std::unordered_map<std::string_view, StepId> ids_;
  std::map<std::string, Worker> workers_;
  std::vector<StepState> steps_;
  std::set<StepId> found_;      // steps with found_s
  std::set<std::string> said_;  // warnings
  size_t open_ = 0;
  bool failed_ = false;
};

}  // namespace puzzle
