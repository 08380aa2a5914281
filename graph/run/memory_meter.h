// How much memory steps add to this process. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

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

/// The pages of this process that are no file's, looked at twenty times a second while a step is
/// followed. The system keeps a high-water mark of all pages together: what of it were pages of
/// files, which it may take back, is known only if somebody looked while they were there. Between
/// two looks the higher of both counts of files' pages is taken for what there was. Thread-safe.
class PageWatch {
 public:
  struct Pages {  // bytes
    uint64_t own = 0;
    uint64_t of_files = 0;
    uint64_t most = 0;  // of both together, ever
  };
  PageWatch();
  /// For tests: the system's answer.
  explicit PageWatch(std::function<Pages()> ask);
  ~PageWatch();
  PageWatch(const PageWatch&) = delete;
  PageWatch& operator=(const PageWatch&) = delete;

  /// One look more than the regular ones.
  void Look();

  /// From its making on. REQUIRES: the watch outlives it.
  class Span {
   public:
    explicit Span(PageWatch& watch);
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;
    /// The most that the process had more than at the beginning, so far. Bytes.
    [[nodiscard]] uint64_t gained();

   private:
    friend class PageWatch;
    PageWatch& watch_;
    uint64_t before_ = 0;
    uint64_t most_ = 0;  // under the watch's mutex
  };

 private:
  void Serve();
  void LookLocked();  // REQUIRES: mutex_ held

  const std::function<Pages()> ask_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Pages last_;
  std::vector<Span*> spans_;
  bool sleeps_ = false;  // the thread, since nobody is followed
  bool closing_ = false;
  std::thread thread_;  // runs from the first span on
};

/// Follows one step. What the process gains while the step runs is taken for the step's own: with
/// neighbours it is an upper bound. Memory that a library keeps for reuse after an earlier step is
/// not seen by the growth of the process but by the allocator's own count, between the peaks; the
/// larger one counts, and the largest step of a node speaks for its neighbours (demand.h). Pages of
/// files, which the system may take back, do not count.
class MemoryMeter {
 public:
  /// REQUIRES: `allocated` and `pages` outlive the meter.
  MemoryMeter(AllocatedBytes& allocated, PageWatch& pages);
  /// Looks at what is in use now. Cheap enough for ten times a second.
  void Sample();
  /// The most that was gained so far, in bytes.
  [[nodiscard]] uint64_t peak_bytes();

 private:
  AllocatedBytes& allocated_;
  PageWatch& pages_;
  uint64_t in_use_;  // by the allocator, at the beginning
  uint64_t peak_ = 0;
  PageWatch::Span span_;
};

/// Has the allocator give back to the system what it keeps for reuse: of large values that were
/// dropped, the next one of another size may find no use.
void ReturnFreeMemory();

/// High-water mark of the whole process, in bytes.
[[nodiscard]] uint64_t PeakResidentBytes();

}  // namespace puzzle
