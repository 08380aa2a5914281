#include "apps/machine/machine_speed.h"

#include <algorithm>
#include <chrono>

#include "graph/run/machine.h"

namespace puzzle {
namespace {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PUZZLE_EVERY_CPU __attribute__((target_clones("avx512f", "arch=haswell", "default")))
#else
#define PUZZLE_EVERY_CPU
#endif

constexpr int kRounds = 20'000;
constexpr int kChains = 10;  // more than the latency of an operation times their number per cycle
constexpr int kWidth = 16;

// Independent chains x = x * a + b, each of 16 numbers.
PUZZLE_EVERY_CPU float Multiply(float a, float b) {
  typedef float Numbers __attribute__((vector_size(kWidth * sizeof(float))));
  Numbers x0 = {}, x1 = x0 + 1, x2 = x0 + 2, x3 = x0 + 3, x4 = x0 + 4, x5 = x0 + 5, x6 = x0 + 6,
          x7 = x0 + 7, x8 = x0 + 8, x9 = x0 + 9;
  for (int i = 0; i < kRounds; ++i) {
    x0 = x0 * a + b;
    x1 = x1 * a + b;
    x2 = x2 * a + b;
    x3 = x3 * a + b;
    x4 = x4 * a + b;
    x5 = x5 * a + b;
    x6 = x6 * a + b;
    x7 = x7 * a + b;
    x8 = x8 * a + b;
    x9 = x9 * a + b;
  }
  const Numbers sum = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9;
  float total = 0;
  for (int i = 0; i < kWidth; ++i) total += sum[i];
  return total;
}

bool HasBf16Products() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

}  // namespace

MachineSpeed MeasureMachineSpeed() {
  constexpr int kTries = 12;
  constexpr double kReached = 0.6;   // of the peak, by large products
  constexpr double kBf16Gain = 2.5;  // of what is reached, where the CPU multiplies bf16
  using Clock = std::chrono::steady_clock;
  double best_s = 1e9;
  volatile float factor = 0.999F;  // not known while this is compiled
  volatile float sink = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto begin = Clock::now();
    sink = Multiply(factor, 1 - factor);
    best_s = std::min(best_s, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  (void)sink;
  MachineSpeed speed;
  speed.flops =
      kReached * 2 * kRounds * kChains * kWidth / std::max(best_s, 1e-9) * AvailableCores();
  speed.bf16_flops = speed.flops * (HasBf16Products() ? kBf16Gain : 1);
  return speed;
}

}  // namespace puzzle
