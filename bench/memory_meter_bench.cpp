// What it costs to follow the memory of a step when a million steps have gone before: each leaves a
// record behind and a hole beside it, and the allocator walks all holes whenever it is asked what
// it has handed out. A step must cost the same in such a heap as in a young one, in processor time,
// which other programs hardly change.
#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "graph/run/memory_meter.h"

namespace puzzle {
namespace {

constexpr int kSteps = 1'000'000;
constexpr int kWindow = 10'000;  // steps that are timed together
// What a step works with lies before its label, is freed, and its record takes most of that place:
// what is left of it is too small for the next label and stays a hole.
constexpr size_t kWorkingBytes = 1100;
constexpr size_t kRecordBytes = 800;
constexpr size_t kLabelBytes = 320;

double ProcessorSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

int Run() {
  AllocatedBytes allocated;
  PageWatch pages;
  std::vector<std::string> labels, records;
  labels.reserve(kSteps);
  records.reserve(kSteps);
  fmt::print("| after steps | a step, us | asking the allocator once, us |\n|---|---|---|\n");
  double begin = ProcessorSeconds();
  uint64_t seen = 0;
  for (int step = 1; step <= kSteps; ++step) {
    MemoryMeter meter(allocated, pages);
    {
      const std::string working(kWorkingBytes, 'x');
      labels.emplace_back(kLabelBytes, working[0]);
    }
    records.emplace_back(kRecordBytes, 'x');
    seen += meter.peak_bytes();
    if (step % kWindow != 0) continue;
    const double took = ProcessorSeconds() - begin;
    if (step == kWindow || step == kSteps / 10 || step == kSteps) {
      AllocatedBytes question;  // a new one asks at once
      const double asked = ProcessorSeconds();
      seen += question.Get();
      fmt::print("| {} | {:.1f} | {:.1f} |\n", step, 1e6 * took / kWindow,
                 1e6 * (ProcessorSeconds() - asked));
      std::fflush(stdout);
    }
    begin = ProcessorSeconds();
  }
  return seen == 0 ? 1 : 0;
}

}  // namespace
}  // namespace puzzle

int main() {
  return puzzle::Run();
}
