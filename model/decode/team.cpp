#include "model/decode/team.h"

#include "io/error.h"

namespace puzzle::decode {

namespace {

// About 20 us: longer than the shares of a step differ, shorter than a time slice.
constexpr int kSpins = 1000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Team::Team(int members) : size_(members) {
  PUZZLE_CHECK(members > 0, "a team of nobody");
  for (int i = 1; i < members; ++i) others_.emplace_back([this, i] { Serve(i); });
}

Team::~Team() {
  work_ = nullptr;
  start_.fetch_add(1, std::memory_order_release);
  start_.notify_all();
  for (std::thread& other : others_) other.join();
}

void Team::Await(const std::atomic<uint32_t>& turn, uint32_t before) {
  for (int i = 0; i < kSpins; ++i) {
    if (turn.load(std::memory_order_acquire) != before) return;
    Pause();
  }
  while (turn.load(std::memory_order_acquire) == before) turn.wait(before);
}

void Team::Run(const std::function<void(int)>& work) {
  work_ = &work;
  start_.fetch_add(1, std::memory_order_release);
  start_.notify_all();
  work(0);
  Barrier();
}

void Team::Serve(int member) {
  for (uint32_t seen = 0;; ++seen) {
    Await(start_, seen);
    if (work_ == nullptr) return;
    (*work_)(member);
    Barrier();
  }
}

void Team::Barrier() {
  if (size_ == 1) return;
  const uint32_t turn = turn_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    arrived_.store(0, std::memory_order_relaxed);
    turn_.fetch_add(1, std::memory_order_release);
    turn_.notify_all();
  } else {
    Await(turn_, turn);
  }
}

}  // namespace puzzle::decode
