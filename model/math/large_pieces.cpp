#include "model/math/large_pieces.h"

#include <malloc.h>

namespace puzzle {

LargePiecesApart::LargePiecesApart() {
  ::mallopt(M_MMAP_THRESHOLD, 8 << 20);
  ::mallopt(M_MMAP_MAX, 1 << 16);
  ::malloc_trim(0);
}

LargePiecesApart::~LargePiecesApart() {
  ::mallopt(M_MMAP_MAX, 0);
}

}  // namespace puzzle
