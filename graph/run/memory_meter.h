// How much memory steps add to this process. Thread-safe.
#pragma once

#include <cstdint>

namespace puzzle {

/// Follows one step. What the process gains while the step runs is taken for the step's own: with
/// neighbours it is an upper bound. Memory that a library keeps for reuse after an earlier step is
/// not seen by the growth of the process but by the allocator's own count, between the peaks; the
/// larger one counts, and the largest step of a node speaks for its neighbours (demand.h). Pages of
/// files, which the system may take back, do not count.
class MemoryMeter {
 public:
  MemoryMeter();
  /// Looks at what is in use now. Cheap enough for ten times a second.
  void Sample();
  /// The most that was gained so far, in bytes.
  [[nodiscard]] uint64_t peak_bytes();

 private:
  uint64_t in_use_;    // by the allocator, at the beginning
  uint64_t resident_;  // pages that are no file's, at the beginning
  uint64_t high_water_;
  uint64_t peak_ = 0;
};

/// High-water mark of the whole process, in bytes.
[[nodiscard]] uint64_t PeakResidentBytes();

}  // namespace puzzle
