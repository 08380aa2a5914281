#include "graph/plan/each_step.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <span>
#include <thread>
#include <vector>

namespace puzzle {
namespace {

using Steps = std::span<const StepId>;

/// The steps by the length of the longest way to them: none of a level needs another one of it.
std::vector<Steps> Levels(const Plan& plan) {
  std::vector<size_t> level_of(plan.steps.size(), 0);
  std::vector<size_t> begins;
  for (size_t i = 0; i < plan.order.size(); ++i) {  // which is sorted by level
    const StepId id = plan.order[i];
    for (const StepId input : plan.predecessors(id)) {
      level_of[id] = std::max(level_of[id], level_of[input] + 1);
    }
    if (level_of[id] == begins.size()) begins.push_back(i);
  }
  begins.push_back(plan.order.size());
  std::vector<Steps> levels;
  for (size_t l = 0; l + 1 < begins.size(); ++l) {
    levels.push_back(Steps(plan.order).subspan(begins[l], begins[l + 1] - begins[l]));
  }
  return levels;
}

void VisitLevel(Steps level, const std::function<void(StepId)>& visit) {
  constexpr size_t kPiece = 64;         // steps that a thread takes at a time
  constexpr size_t kWorthThread = 256;  // steps that outweigh the start of a thread
  constexpr size_t kMaxThreads = 8;
  const size_t cores = std::max(std::thread::hardware_concurrency(), 1u);
  const size_t threads = std::min({level.size() / kWorthThread, cores, kMaxThreads});
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t begin; (begin = next.fetch_add(kPiece)) < level.size();) {
      for (const StepId id : level.subspan(begin, std::min(kPiece, level.size() - begin))) {
        visit(id);
      }
    }
  };
  std::vector<std::future<void>> others;
  for (size_t t = 1; t < threads; ++t) others.push_back(std::async(std::launch::async, work));
  work();
  for (std::future<void>& other : others) other.get();
}

}  // namespace

void ForEachStep(const Plan& plan, const std::function<void(StepId)>& visit) {
  for (const Steps level : Levels(plan)) VisitLevel(level, visit);
}

}  // namespace puzzle
