#include "graph/run/memory_meter.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <utility>

#include "io/clock.h"

namespace puzzle {
namespace {

uint64_t Gain(uint64_t now, uint64_t before) {
  return now - std::min(now, before);
}

constexpr double kShare = 0.02;  // of the time, for asking

uint64_t AskAllocator() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

PageWatch::Pages PagesOfProcess() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0, resident = 0, shared = 0;
  file >> size >> resident >> shared;
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return {Gain(resident, shared) * page, shared * page, PeakResidentBytes()};
}

}  // namespace

void ReturnFreeMemory() {
  (void)::malloc_trim(0);
}

uint64_t PeakResidentBytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

AllocatedBytes::AllocatedBytes() : AllocatedBytes(AskAllocator, MonotonicSeconds) {}

AllocatedBytes::AllocatedBytes(std::function<uint64_t()> ask, std::function<double()> clock)
    : ask_(std::move(ask)), clock_(std::move(clock)), next_s_(clock_()) {}

uint64_t AllocatedBytes::Get() {
  const std::scoped_lock lock(mutex_);
  const double begin_s = clock_();
  if (begin_s < next_s_) return last_;
  last_ = ask_();
  const double end_s = clock_();
  next_s_ = end_s + (end_s - begin_s) * (1 / kShare - 1);
  return last_;
}

PageWatch::PageWatch() : PageWatch(PagesOfProcess) {}

PageWatch::PageWatch(std::function<Pages()> ask) : ask_(std::move(ask)) {}

PageWatch::~PageWatch() {
  {
    const std::scoped_lock lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void PageWatch::Look() {
  const std::scoped_lock lock(mutex_);
  LookLocked();
}

void PageWatch::LookLocked() {
  const Pages now = ask_();
  uint64_t own = now.own;
  // A new high-water mark was reached since the last look, with about as many pages of files.
  if (now.most > last_.most)
    own = std::max(own, Gain(now.most, std::max(now.of_files, last_.of_files)));
  last_ = now;
  for (Span* span : spans_) span->most_ = std::max(span->most_, own);
}

void PageWatch::Serve() {
  constexpr std::chrono::milliseconds kBetweenLooks{50};
  std::unique_lock lock(mutex_);
  while (!closing_) {
    sleeps_ = spans_.empty();
    if (sleeps_) {
      changed_.wait(lock, [&] { return closing_ || !spans_.empty(); });
    } else if (!changed_.wait_for(lock, kBetweenLooks, [&] { return closing_; })) {
      LookLocked();
    }
  }
}

PageWatch::Span::Span(PageWatch& watch) : watch_(watch) {
  const std::scoped_lock lock(watch_.mutex_);
  watch_.LookLocked();  // what was before is none of its own
  before_ = most_ = watch_.last_.own;
  if (!watch_.thread_.joinable()) watch_.thread_ = std::thread(&PageWatch::Serve, &watch_);
  watch_.spans_.push_back(this);
  if (watch_.sleeps_) watch_.changed_.notify_all();
}

PageWatch::Span::~Span() {
  const std::scoped_lock lock(watch_.mutex_);
  watch_.spans_.erase(std::find(watch_.spans_.begin(), watch_.spans_.end(), this));
}

uint64_t PageWatch::Span::gained() {
  const std::scoped_lock lock(watch_.mutex_);
  watch_.LookLocked();
  return Gain(most_, before_);
}

MemoryMeter::MemoryMeter(AllocatedBytes& allocated, PageWatch& pages)
    : allocated_(allocated), pages_(pages), in_use_(allocated.Get()), span_(pages) {}

void MemoryMeter::Sample() {
  peak_ = std::max(peak_, Gain(allocated_.Get(), in_use_));
  pages_.Look();
}

uint64_t MemoryMeter::peak_bytes() {
  peak_ = std::max(peak_, Gain(allocated_.Get(), in_use_));
  return std::max(peak_, span_.gained());
}

}  // namespace puzzle
