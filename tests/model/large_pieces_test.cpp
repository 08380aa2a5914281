// What the allocator does with large pieces, as it says itself.
#include "model/math/large_pieces.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <memory>

namespace puzzle {
namespace {

// Whether a piece larger than any hole of the heap comes from the system, and goes back to it.
bool IsApart() {
  const size_t before = ::mallinfo2().hblks;
  void* volatile piece = std::malloc(size_t{1} << 30);  // else compilers leave it out
  const bool is_apart = ::mallinfo2().hblks > before;
  std::free(piece);
  EXPECT_EQ(::mallinfo2().hblks, before);
  return is_apart;
}

TEST(LargePiecesTest, OfSeveralTheLastOneEndsIt) {
  auto first = std::make_unique<const LargePiecesApart>();
  auto second = std::make_unique<const LargePiecesApart>();
  EXPECT_TRUE(IsApart());
  first.reset();
  EXPECT_TRUE(IsApart());
  second.reset();
  EXPECT_FALSE(IsApart()) << "from here on the heap keeps them";
  first = std::make_unique<const LargePiecesApart>();
  EXPECT_TRUE(IsApart());
  first.reset();
  ::mallopt(M_MMAP_MAX, 65536);  // as it was, for other tests
}

}  // namespace
}  // namespace puzzle
