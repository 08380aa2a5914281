#include "model/math/large_pieces.h"

#include <malloc.h>

#include <mutex>

namespace puzzle {

namespace {

// The allocator is one for the whole process, and so is who wants what of it.
struct Wanting {
  std::mutex mutex;
  int living = 0;
};
Wanting& OfProcess() {
  static Wanting wanting;
  return wanting;
}

}  // namespace

LargePiecesApart::LargePiecesApart() {
  const std::scoped_lock lock(OfProcess().mutex);
  if (++OfProcess().living > 1) return;
  ::mallopt(M_MMAP_THRESHOLD, 8 << 20);
  ::mallopt(M_MMAP_MAX, 1 << 16);
  ::malloc_trim(0);
}

LargePiecesApart::~LargePiecesApart() {
  const std::scoped_lock lock(OfProcess().mutex);
  if (--OfProcess().living == 0) ::mallopt(M_MMAP_MAX, 0);
}

}  // namespace puzzle
