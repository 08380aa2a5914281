#include "apps/models/model_session.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "graph/run/machine.h"
#include "model/math/runtime.h"

namespace puzzle {

int PrepareThread(const std::string& device, int threads) {
  const int count = threads > 0 ? threads : AvailableCores();
  BindThreadToDevice(device);
  SetThreads(count);
  spdlog::info("{}", RuntimeDescription());
  return count;
}

void ReturnFreedMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

Percentage::Percentage() : show_(isatty(STDERR_FILENO) != 0) {}

Percentage::~Percentage() {
  if (show_) fmt::print(stderr, "\r{:{}}\r", "", width_);
}

void Percentage::Show(double fraction, const std::string& what) {
  if (!show_) return;
  const std::string text = fmt::format("{:3.0f} % {}", 100 * fraction, what);
  fmt::print(stderr, "\r{:<{}}", text, width_);
  width_ = std::max(width_, text.size());
}

}  // namespace puzzle
