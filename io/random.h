// Random numbers that are the same on every platform and standard library; std:: distributions are
// not. For data and baselines, not for cryptography. An object belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace puzzle {

/// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  [[nodiscard]] uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, bound), without bias. REQUIRES: bound > 0.
  [[nodiscard]] uint64_t Below(uint64_t bound) {
    const uint64_t threshold = -bound % bound;  // 2^64 mod bound: draws below it would be unfair
    uint64_t draw = Next();
    while (draw < threshold) draw = Next();
    return draw % bound;
  }
  /// Uniform in [0, 1), 53 bits.
  [[nodiscard]] double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  /// True with probability numerator / denominator.
  [[nodiscard]] bool Chance(uint64_t numerator, uint64_t denominator) {
    return Below(denominator) < numerator;
  }
  /// One element. REQUIRES: not empty.
  template <class Container>
  [[nodiscard]] const auto& Pick(const Container& items) {
    return items[Below(std::size(items))];
  }
  template <class T>
  void Shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[Below(i)]);
  }

 private:
  uint64_t state_;
};

}  // namespace puzzle
