// Whole steps of a library on a real model: capturing, ranking, and blockwise training of one
// layer's variants by the kinds' own functions, with all that a run of them does but keys and
// records: reading the layer, the parent's answers, the closed-form start, held-out losses.
#pragma once

#include <cstdint>
#include <string>

namespace puzzle {

struct ModelSteps {
  std::string model, text;
  int64_t sequences = 64;  // of 512 tokens
  int64_t layers = 0;      // the first ones, of which the middle one is trained; 0: all
  int threads = 1;         // of each step, as where it is alone on a machine with so many cores
};

/// Prints a table. Every step is counted beside the rate of bf16 products (bench/product_rate.h) on
/// as many threads, taken before and behind it. Variants are trained twice: with nothing there but
/// activations and importance, and with what their neighbours share.
void MeasureModelsSteps(const ModelSteps& what);

}  // namespace puzzle
