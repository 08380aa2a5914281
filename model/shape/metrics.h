// What is measured on text: sums over tokens, and from them means with standard errors, by the
// names that results and objectives use. No libtorch. Values; thread-compatible.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace puzzle {

enum class Metric {
  kKl,          // KL(parent || child), nats
  kNll,         // nats
  kCosine,      // 1 - cos(final hidden states)
  kNmse,        // |difference of the final hidden states|^2 / |the parent's|^2, token by token
  kNmseTensor,  // the same of all tokens at once: the sum of the one over the sum of the other
  kTop1,        // whether the token is the likeliest, among the 5, the 10 likeliest
  kTop5,
  kTop10,
};

struct MetricInfo {
  Metric metric;
  std::string_view name;       // in results: "nll"
  std::string_view objective;  // what a search says: "lm_loss"
  bool needs_parent = false;   // else it is 0 without one
};

/// All of them, in the order of the enumeration.
[[nodiscard]] std::span<const MetricInfo> AllMetrics();

/// The rows of a table of figures with a column per token. Row i holds metric i, but that of
/// kNmseTensor its numerator, and one row more the denominator: |the parent's final state|^2.
inline constexpr size_t kParentEnergyRow = 8;
inline constexpr size_t kTokenRows = kParentEnergyRow + 1;

/// Sums over the columns of such a table; add up over batches, then ask for means.
struct TokenMetrics {
  int64_t tokens = 0;
  std::array<double, kTokenRows> sum = {};
  std::array<double, kTokenRows> squares = {};  // of the values
  double nmse_products = 0;                     // numerator times denominator of kNmseTensor

  TokenMetrics& operator+=(const TokenMetrics& other);
  /// REQUIRES: there are tokens.
  [[nodiscard]] double Mean(Metric metric) const;
  /// Standard error of that mean, tokens taken as independent.
  [[nodiscard]] double Error(Metric metric) const;

  bool operator==(const TokenMetrics&) const = default;
};

}  // namespace puzzle
