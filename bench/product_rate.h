// What the machine's products of a model's shapes reach, beside which a step is counted: measured
// in the same process, right before and behind it, since it differs by the minute.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

#include "bench/clock.h"
#include "model/shape/config.h"

namespace puzzle {

/// Operations, and what they took.
struct Rate {
  double flop = 0;
  Spent spent;

  [[nodiscard]] double GflopPerSecond() const { return flop / spent.wall / 1e9; }
  [[nodiscard]] double GflopPerProcessorSecond() const { return flop / spent.processor / 1e9; }
  Rate& operator+=(const Rate& more) {
    flop += more.flop;
    spent += more.spent;
    return *this;
  }
};

/// `tokens` rows times a matrix [out, in]^T.
struct ProductShape {
  int64_t tokens = 0, in = 0, out = 0;
  double times = 1;  // how often a model does that for a token

  [[nodiscard]] double FlopPerToken() const {
    return 2 * static_cast<double>(in) * static_cast<double>(out);
  }
};

/// Every matrix of a model's blocks with 4,096 tokens, and with the head that one too, with as many
/// as its tiles have.
[[nodiscard]] std::vector<ProductShape> ProductShapes(const ModelConfig& config, bool with_head);

/// The rate of all of them in a model's proportions, with operands of `type` and results in fp32,
/// on `threads` threads that each do the whole of it. Takes about .1 s a shape.
[[nodiscard]] Rate RateOfProducts(const std::vector<ProductShape>& shapes, at::ScalarType type,
                                  int threads);

}  // namespace puzzle
