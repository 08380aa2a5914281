// How much memory steps add to this process. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>

namespace puzzle {

/// What the allocator has handed out in the whole process. To be asked is dear for it: glibc walks
/// every free piece, of which a long run leaves many, while threads that allocate wait. So it is
/// asked for a fiftieth of the time at most, and the last answer serves in between: at once again
/// in a young heap, seldom in an old one. A step costs the same in both. Thread-safe.
class AllocatedBytes {
 public:
  AllocatedBytes();
  /// For tests: the question, and seconds since some moment.
  AllocatedBytes(std::function<uint64_t()> ask, std::function<double()> clock);
  [[nodiscard]] uint64_t Get();

 private:
  const std::function<uint64_t()> ask_;
  const std::function<double()> clock_;
  std::mutex mutex_;
  uint64_t last_ = 0;
  double next_s_;  // when it may be asked again
};

/// Follows one step. What the process gains while the step runs is taken for the step's own: with
/// neighbours it is an upper bound. Memory that a library keeps for reuse after an earlier step is
/// not seen by the growth of the process but by the allocator's own count, between the peaks; the
/// larger one counts, and the largest step of a node speaks for its neighbours (demand.h). Pages of
/// files, which the system may take back, do not count.
class MemoryMeter {
 public:
  /// REQUIRES: `allocated` outlives the meter.
  explicit MemoryMeter(AllocatedBytes& allocated);
  /// Looks at what is in use now. Cheap enough for ten times a second.
  void Sample();
  /// The most that was gained so far, in bytes.
  [[nodiscard]] uint64_t peak_bytes();

 private:
  AllocatedBytes& allocated_;
  uint64_t in_use_;    // by the allocator, at the beginning
  uint64_t resident_;  // pages that are no file's, at the beginning
  uint64_t high_water_;
  uint64_t peak_ = 0;
};

/// Has the allocator give back to the system what it keeps for reuse: of large values that were
/// dropped, the next one of another size may find no use.
void ReturnFreeMemory();

/// High-water mark of the whole process, in bytes.
[[nodiscard]] uint64_t PeakResidentBytes();

}  // namespace puzzle
