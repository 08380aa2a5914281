#include "graph/run/lane_team.h"

#include <algorithm>

namespace puzzle {

void LaneTeam::Try(const Work& work, size_t number) {
  try {
    work(number);
  } catch (...) {
    failures_[number] = std::current_exception();
  }
}

void LaneTeam::OnEach(const Work& work) {
  {
    const std::scoped_lock lock(mutex_);
    work_ = &work;
    running_ = failures_.size() - 1;
    ++rounds_;
  }
  called_.notify_all();
  Try(work, 0);
  {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return running_ == 0; });
    work_ = nullptr;
  }
  const auto first = std::find_if(failures_.begin(), failures_.end(),
                                  [](const std::exception_ptr& failure) { return failure; });
  if (first == failures_.end()) return;
  failed_ = static_cast<size_t>(first - failures_.begin());
  const std::exception_ptr failure = *first;
  failures_.assign(failures_.size(), nullptr);
  std::rethrow_exception(failure);
}

void LaneTeam::Dismiss() {
  {
    const std::scoped_lock lock(mutex_);
    is_dismissed_ = true;
  }
  called_.notify_all();
}

void LaneTeam::Serve(size_t number) {
  std::unique_lock lock(mutex_);
  for (uint64_t done = 0;; ++done) {  // a round ends when all have done it: none is missed
    called_.wait(lock, [&] { return rounds_ > done || is_dismissed_; });
    if (rounds_ == done) return;
    const Work& work = *work_;
    lock.unlock();
    Try(work, number);
    lock.lock();
    if (--running_ == 0) ended_.notify_one();
  }
}

}  // namespace puzzle
