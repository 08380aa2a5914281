// What the verbs on one model share: the thread they compute on, and how they show that they do.
#pragma once

#include <cstddef>
#include <string>

namespace puzzle {

/// Prepares the calling thread to compute on `device` with so many threads (0: all cores), and says
/// under -v with what. Returns the number.
int PrepareThread(const std::string& device, int threads);

/// Gives back to the system what was freed and PrepareTensorRuntime makes the allocator keep:
/// before memory is taken that does not come from it, such as a Decoder's.
void ReturnFreedMemory();

/// A percentage on the terminal while something is done; nothing where nobody watches.
class Percentage {
 public:
  Percentage();
  ~Percentage();
  Percentage(const Percentage&) = delete;
  Percentage& operator=(const Percentage&) = delete;
  void Show(double fraction, const std::string& what = {});

 private:
  bool show_;
  size_t width_ = 0;
};

}  // namespace puzzle
