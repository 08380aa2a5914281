#include "graph/run/executor.h"

#include <fmt/format.h>
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "graph/run/claim_watch.h"
#include "graph/run/flow.h"
#include "graph/run/step_runner.h"

namespace puzzle {
namespace {

namespace flow = oneapi::tbb::flow;

/// The thread that runs a host step, seen as a lane. It does not set thread counts: some of them
/// belong to the whole process, and the lanes decide about those.
class HostLane final : public Lane {
 public:
  const Device& device() const override { return device_; }
  const std::string& name() const override { return name_; }
  void Adapt() override {}
  int threads() const override { return 1; }
  void Retire() override {}

 private:
  Device device_;
  std::string name_ = "host";
};

/// Bounds the results that wait in memory for being saved.
class SaveQueue {
 public:
  explicit SaveQueue(size_t limit) : limit_(limit) {}
  void Add() {
    std::unique_lock lock(mutex_);
    free_.wait(lock, [&] { return waiting_ < limit_; });
    ++waiting_;
  }
  void Remove() {
    {
      const std::scoped_lock lock(mutex_);
      --waiting_;
    }
    free_.notify_one();
  }

 private:
  const size_t limit_;
  size_t waiting_ = 0;
  std::mutex mutex_;
  std::condition_variable free_;
};

/// Per node the longest path from one of its steps to the end. Steps of a node are as urgent as
/// each other, and so come in the order of the plan: they are many and alike, and neighbours share
/// what would be made again if all long ones came first (the targets of a layer, for the variants
/// of `bld`).
std::vector<double> UrgencyOfNodes(const Plan& plan, const Forecast& forecast) {
  std::vector<double> urgency(plan.nodes.size(), 0);
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    double& of_node = urgency[plan.steps[id].node];
    of_node = std::max(of_node, forecast.remaining_s[id]);
  }
  return urgency;
}

/// The flow graph of one run. Each step that may run has a node that counts its inputs; steps on a
/// device leave the graph through `to_lane_` and come back to `finish_`, where a TBB thread saves
/// the result while the lane goes on. Messages carry no data but the step's number.
class FlowRun {
 public:
  FlowRun(const Plan& plan, const Forecast& forecast, StepWork& work, Lanes& lanes,
          const std::stop_token& stop)
      : plan_(plan),
        urgency_(UrgencyOfNodes(plan, forecast)),
        work_(work),
        lanes_(lanes),
        saves_(2 * lanes.size() + 2),
        held_bytes_(plan.steps.size()),
        to_lane_(graph_, flow::unlimited,
                 [this](StepId id, LaneNode::gateway_type& gateway) { Post(id, gateway); }),
        finish_(graph_, flow::unlimited,
                [this](StepId id) {
                  Save(id);
                  saves_.Remove();
                  return flow::continue_msg();
                }),
        again_(graph_, flow::unlimited,
               [this](StepId id) {
                 Ready(id);
                 return flow::continue_msg();
               }),
        watch_([&work](StepId id) { return work.Waits(id); },
               [this](StepId id) {
                 again_.try_put(id);
                 graph_.release_wait();
               },
               stop) {
    flow::make_edge(to_lane_, finish_);
    ready_.resize(plan.steps.size());
    for (StepId id = 0; id < plan.steps.size(); ++id) {
      if (forecast.steps[id].fate == Fate::kHit) continue;
      int waits_for = 0;
      for (const StepId input : plan.predecessors(id)) {
        if (forecast.steps[input].fate != Fate::kHit) ++waits_for;
      }
      ready_[id] = &nodes_.emplace_back(graph_, waits_for,
                                        [this, id](const flow::continue_msg&) { Ready(id); });
      if (waits_for == 0) roots_.push_back(id);
    }
  }

  void Run() {
    for (const StepId id : roots_) ready_[id]->try_put(flow::continue_msg());
    graph_.wait_for_all();
  }

 private:
  using LaneNode = flow::async_node<StepId, StepId>;
  using StepNode = flow::continue_node<flow::continue_msg>;

  void Ready(StepId id) {
    switch (work_.Prepare(id)) {
      case StepWork::Next::kDone:
        Release(id);
        break;
      case StepWork::Next::kDevice:
        to_lane_.try_put(id);
        break;
      case StepWork::Next::kHost: {
        auto verdict = StepWork::Verdict::kFinish;  // on a host either this or kWait
        // Isolated: a body that waits inside TBB must not pick up another step meanwhile.
        oneapi::tbb::this_task_arena::isolate([&] {
          const QuietGuard guard(lanes_.gate(), QuietGate::Pass::kHost);
          verdict = work_.Compute(id, host_);
          if (verdict == StepWork::Verdict::kFinish) work_.Finish(id);
        });
        verdict == StepWork::Verdict::kFinish ? Release(id) : Wait(id);
        break;
      }
    }
  }

  void Post(StepId id, LaneNode::gateway_type& gateway) {
    gateway.reserve_wait();
    LaneWork work;
    work.remaining_s = urgency_[plan_.steps[id].node];
    work.order = id;
    work.quiet = plan_.kind(id).needs == Needs::kQuietDevice;
    Resources demand = work_.Demand(id);
    work.device_type = std::move(demand.device_type);
    work.memory_bytes = demand.memory_bytes;
    work.shared_bytes = demand.shared_bytes;
    work.threads = demand.threads;
    work.lanes = demand.lanes;
    work.inputs = work_.InputNumbers(id);
    Offer(std::move(work), gateway);
  }

  /// Hands a step to the lanes, and again when it has to begin anew.
  void Offer(LaneWork work, LaneNode::gateway_type& gateway) {
    const auto id = static_cast<StepId>(work.order);
    LaneWork again = work;  // without the two calls
    work.run = [this, id, again, &gateway](Lane& lane) mutable {
      switch (work_.Compute(id, lane)) {
        case StepWork::Verdict::kTryAlone:
          again.alone = true;
          return Offer(std::move(again), gateway);
        case StepWork::Verdict::kTryAnotherLane:
          again.device_type = lane.device().type;
          return Offer(std::move(again), gateway);
        case StepWork::Verdict::kWait:
          Wait(id);
          gateway.release_wait();
          return;
        case StepWork::Verdict::kFinish:
          break;
      }
      saves_.Add();
      held_bytes_[id] = work_.ResultBytes(id);
      lanes_.Hold(held_bytes_[id]);
      lanes_.gate().Stay();  // until it is saved
      gateway.try_put(id);
      gateway.release_wait();
    };
    work.refuse = [this, id, &gateway](const std::string& why) {
      work_.Refuse(id, why);
      Release(id);
      gateway.release_wait();
    };
    lanes_.Post(std::move(work));
  }

  /// Another run computes this step; neither lane nor thread is kept busy until it is done.
  void Wait(StepId id) {
    graph_.reserve_wait();
    watch_.Add(id);
  }

  void Save(StepId id) {
    oneapi::tbb::this_task_arena::isolate([&] { work_.Finish(id); });
    lanes_.LetGo(held_bytes_[id]);
    lanes_.gate().Leave(QuietGate::Pass::kHost);
    Release(id);
  }

  void Release(StepId id) {
    for (const StepId next : plan_.successors(id)) {
      ready_[next]->try_put(flow::continue_msg());
    }
  }

  const Plan& plan_;
  const std::vector<double> urgency_;  // of each node
  StepWork& work_;
  Lanes& lanes_;
  HostLane host_;
  SaveQueue saves_;
  std::vector<uint64_t> held_bytes_;  // of each step's result, while it waits to be saved
  flow::graph graph_;
  LaneNode to_lane_;
  flow::function_node<StepId> finish_;
  std::deque<StepNode> nodes_;
  std::vector<StepNode*> ready_;
  std::vector<StepId> roots_;
  flow::function_node<StepId> again_;
  ClaimWatch watch_;
};

}  // namespace

void RunFlow(const Plan& plan, const Forecast& forecast, StepWork& work, Lanes& lanes,
             const std::stop_token& stop) {
  FlowRun(plan, forecast, work, lanes, stop).Run();
}

Report ReportHits(const Plan& plan, const Forecast& forecast, Store& store, Observer* observer,
                  const std::string& command) {
  ExecuteOptions options;
  options.command = command;
  store.RemoveLeftovers();
  StepRunner runner(plan, forecast, store, observer, options);
  runner.Start(0);
  return runner.TakeReport();
}

Report Execute(const Plan& plan, const Forecast& forecast, Store& store, Lanes& lanes,
               Observer* observer, const ExecuteOptions& options) {
  StepRunner runner(plan, forecast, store, observer, options);
  runner.Start(lanes.size());
  if (forecast.hits < plan.steps.size()) {
    std::optional<oneapi::tbb::global_control> limit;
    if (options.host_threads > 0) {
      limit.emplace(oneapi::tbb::global_control::max_allowed_parallelism,
                    static_cast<size_t>(options.host_threads));
    }
    store.AnnounceRun();
    if (store.locks().unsupported()) {
      runner.Warn(
          fmt::format("the file system of {} has no locks: steps are claimed by files with "
                      "heartbeats, and what "
                      "a run that dies was at begins anew after {:.3g} s",
                      store.folder(), store.locks().leases()->times().lost_s));
    }
    store.TidyUp();
    runner.RecallMemory();
    MachineGate machine(store.folder() + "/locks");
    lanes.gate().SetMachine(
        &machine, [&](const std::string& why) { runner.Warn(why); },
        [&] { return runner.Stopping(); });
    RunFlow(plan, forecast, runner, lanes, options.stop);
    lanes.gate().SetMachine(nullptr);
  }
  return runner.TakeReport();
}

}  // namespace puzzle
