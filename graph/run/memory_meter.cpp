#include "graph/run/memory_meter.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

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

struct Pages {
  uint64_t own;       // bytes
  uint64_t of_files;  // which the system may take back
};
Pages ResidentPages() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0, resident = 0, shared = 0;
  file >> size >> resident >> shared;
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return {Gain(resident, shared) * page, shared * page};
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

MemoryMeter::MemoryMeter(AllocatedBytes& allocated)
    : allocated_(allocated),
      in_use_(allocated.Get()),
      resident_(ResidentPages().own),
      high_water_(PeakResidentBytes()) {}

void MemoryMeter::Sample() {
  peak_ = std::max(peak_, Gain(allocated_.Get(), in_use_));
}

uint64_t MemoryMeter::peak_bytes() {
  Sample();
  // A new high-water mark was reached by this step (or its neighbours).
  const uint64_t high_water = PeakResidentBytes();
  if (high_water > high_water_)
    peak_ = std::max(peak_, Gain(Gain(high_water, ResidentPages().of_files), resident_));
  return peak_;
}

}  // namespace puzzle
