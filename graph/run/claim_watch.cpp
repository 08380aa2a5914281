#include "graph/run/claim_watch.h"

#include <algorithm>
#include <chrono>

#include "io/error.h"

namespace puzzle {
namespace {

using std::chrono::milliseconds;

// The first look comes soon, since most steps are short; a long wait costs ten looks a second.
constexpr milliseconds kShortest{2};
constexpr milliseconds kLongest{100};

}  // namespace

ClaimWatch::ClaimWatch(std::function<bool(StepId)> waits, std::function<void(StepId)> resume,
                       std::stop_token stop)
    : waits_(std::move(waits)), resume_(std::move(resume)), stop_(std::move(stop)) {}

ClaimWatch::~ClaimWatch() {
  {
    const std::scoped_lock lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ClaimWatch::Add(StepId id) {
  {
    const std::scoped_lock lock(mutex_);
    PUZZLE_CHECK(!closing_, "a step waits for a run that is over");
    added_.push_back(id);
    if (!thread_.joinable()) thread_ = std::thread([this] { Serve(); });
  }
  changed_.notify_all();
}

void ClaimWatch::Serve() {
  std::vector<StepId> waiting;
  milliseconds pause = kShortest;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      const auto changed = [&] { return closing_ || !added_.empty(); };
      if (waiting.empty()) {
        changed_.wait(lock, changed);
      } else {
        changed_.wait_for(lock, stop_, pause, changed);
      }
      if (closing_) return;
      pause = added_.empty() ? std::min(2 * pause, kLongest) : kShortest;
      waiting.insert(waiting.end(), added_.begin(), added_.end());
      added_.clear();
    }
    const auto over = std::stable_partition(waiting.begin(), waiting.end(), waits_);
    const std::vector<StepId> ready(over, waiting.end());
    waiting.erase(over, waiting.end());
    for (const StepId id : ready) resume_(id);
  }
}

}  // namespace puzzle
