// What the C library's allocator does with large pieces of memory. Thread-safe.
#pragma once

namespace puzzle {

/// While one lives, pieces of megabytes come from the system and go back to it when they are let
/// go, in the whole process. Otherwise they are cut from one heap, which keeps them for reuse
/// (PrepareTensorRuntime): no page is made anew, but between pieces of several sizes holes stay
/// that nothing fits into. For steps that have little memory; of several the last one to end ends
/// it. No result depends on it.
class LargePiecesApart {
 public:
  LargePiecesApart();
  ~LargePiecesApart();
  LargePiecesApart(const LargePiecesApart&) = delete;
  LargePiecesApart& operator=(const LargePiecesApart&) = delete;
};

}  // namespace puzzle
