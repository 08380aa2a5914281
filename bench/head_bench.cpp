// What a word of the head costs, in processor time, for vocabularies of several sizes: measuring a
// child against a folded parent, its likelihoods of given tokens, and a step of KlLoss with both
// gradients. The cost per word and token is to stay flat.
//
//   build/head_bench [TOKENS [HIDDEN]]      default: 1,024 tokens, hidden size 576 (SmolLM2's)
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <vector>

#include "apps/machine/blas_kernel.h"
#include "bench/arguments.h"
#include "model/math/losses.h"
#include "model/math/product.h"
#include "model/math/runtime.h"
#include "model/pch.h"

namespace puzzle {
namespace {

using at::Tensor;

double ProcessorSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The median of three runs after one to warm up, in processor nanoseconds.
double Nanoseconds(const std::function<void()>& run) {
  run();
  std::vector<double> times;
  for (int i = 0; i < 3; ++i) {
    const double start = ProcessorSeconds();
    run();
    times.push_back(ProcessorSeconds() - start);
  }
  std::sort(times.begin(), times.end());
  return 1e9 * times[1];
}

struct Costs {
  double measure, likelihood, kl_step;  // processor ns per token and word
};

Costs Measure(int64_t tokens, int64_t hidden, int64_t vocabulary, at::ScalarType products) {
  at::manual_seed(1);
  HeadInput child{at::randn({tokens, hidden}), 0.04 * at::randn({vocabulary, hidden}), products};
  const HeadInput parent{child.hidden + 0.1 * at::randn({tokens, hidden}), child.matrix, products};
  const Tensor targets = at::randint(vocabulary, {tokens}, at::kLong);
  const FoldedParent folded = FoldParent(parent, child.matrix);
  const double pairs = static_cast<double>(tokens * vocabulary);
  Costs costs{};
  costs.measure = Nanoseconds([&] { (void)puzzle::Measure(child, targets, folded); }) / pairs;
  costs.likelihood = Nanoseconds([&] { (void)LikelihoodOf(child, targets); }) / pairs;
  child.hidden.requires_grad_(true);
  child.matrix.requires_grad_(true);
  costs.kl_step = Nanoseconds([&] { KlLoss(child, parent).backward(); }) / pairs;
  return costs;
}

void Run(int64_t tokens, int64_t hidden) {
  fmt::print(
      "{} tokens, hidden size {}, products through {}, one thread\n\n"
      "| processor ns per token and word | 4,096 | 49,152 | 128,256 | 262,144 |\n"
      "|---|---|---|---|---|\n",
      tokens, hidden, ProductLibrary());
  std::vector<at::ScalarType> types = {at::kFloat};
  if (HasFastBf16("cpu")) types.push_back(at::kBFloat16);
  for (const at::ScalarType type : types) {
    std::vector<Costs> all;
    for (const int64_t vocabulary : {4096, 49152, 128256, 262144})
      all.push_back(Measure(tokens, hidden, vocabulary, type));
    const auto row = [&](const char* what, double Costs::*cost) {
      fmt::print("| {}, {} |", what, type == at::kFloat ? "fp32" : "bf16");
      for (const Costs& costs : all) fmt::print(" {:.2f} |", costs.*cost);
      fmt::print("\n");
    };
    row("measure against a folded parent", &Costs::measure);
    row("likelihoods of given tokens", &Costs::likelihood);
    row("KlLoss and both gradients", &Costs::kl_step);
  }
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);
  puzzle::PrepareTensorRuntime();
  return puzzle::ExitStatusOf([&] {
    const puzzle::Arguments arguments{argc, argv};
    puzzle::Run(arguments.Number(1, 1024), arguments.Number(2, 576));
  });
}
