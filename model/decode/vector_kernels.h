// The kernels of panel_kernels.h and attention_kernels.h for every instruction set: those functions
// call the best of them. Thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "model/decode/attention_kernels.h"
#include "model/decode/panel_kernels.h"

namespace puzzle::decode {

/// One set's; each does what the function of that name does.
struct VectorKernels {
  const char* name;
  decltype(&MultiplyPanels) multiply;
  decltype(&RoundToken) round;
  decltype(&QuantizeToken) quantize;
  decltype(&SoftenScores) soften;
  decltype(&HighestOf) highest;
  decltype(&SumWords) sum;
};

/// Those that this CPU runs, the best first; there is always the one without any.
[[nodiscard]] std::span<const VectorKernels> RunnableKernels();

}  // namespace puzzle::decode
