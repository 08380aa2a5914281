// What the choice of OpenBLAS kernels is worth: matrix products and a training step of an FFN
// block, with every kernel in a process of its own (the choice is made when the library loads);
// and what idle threads cost that spin.
//
//   build/blas_kernel_bench
#include <dlfcn.h>
#include <fmt/format.h>
#include <torch/optim/adamw.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "apps/machine/blas_kernel.h"
#include "model/math/runtime.h"
#include "model/pch.h"

namespace puzzle {
namespace {

struct Shape {
  int64_t tokens;
  int64_t hidden;
  int64_t intermediate;
};
constexpr Shape kShapes[] = {{1024, 192, 512}, {2048, 1024, 2816}};
constexpr double kSecondsPerFigure = 1.5;

// Median rate of `run`, which does `flop` operations, after a warm-up.
double GigaflopsOf(double flop, const std::function<void()>& run) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  run();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (seconds(Clock::now() - begin) < kSecondsPerFigure || times.size() < 3) {
    const auto start = Clock::now();
    run();
    times.push_back(seconds(Clock::now() - start));
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return flop / times[times.size() / 2] / 1e9;
}

double ProductGigaflops(const Shape& shape) {
  const at::Tensor x = at::randn({shape.tokens, shape.hidden});
  const at::Tensor w = at::randn({shape.hidden, shape.hidden});
  at::Tensor y = at::empty({shape.tokens, shape.hidden});
  return GigaflopsOf(2.0 * shape.tokens * shape.hidden * shape.hidden,
                     [&] { at::mm_out(y, x, w); });
}

// SwiGLU forward and backward, the way blockwise distillation trains one.
double TrainingGigaflops(const Shape& shape) {
  const auto weight = [](int64_t rows, int64_t columns) {
    return (at::randn({rows, columns}) * 0.05).requires_grad_();
  };
  const at::Tensor x = at::randn({shape.tokens, shape.hidden});
  const at::Tensor target = at::randn({shape.tokens, shape.hidden});
  std::vector<at::Tensor> weights = {weight(shape.intermediate, shape.hidden),
                                     weight(shape.intermediate, shape.hidden),
                                     weight(shape.hidden, shape.intermediate)};
  torch::optim::AdamW optimizer(weights, torch::optim::AdamWOptions(1e-4));
  const double products = 3.0 * 2 * shape.tokens * shape.hidden * shape.intermediate;
  // Backward: a product per weight, and one per input except x.
  return GigaflopsOf(products * (1 + 1 + 1.0 / 3), [&] {
    optimizer.zero_grad();
    const at::Tensor gate = at::silu(at::linear(x, weights[0])) * at::linear(x, weights[1]);
    at::mse_loss(at::linear(gate, weights[2]), target).backward();
    optimizer.step();
  });
}

// In a process with the right environment: prints what the parent reads.
int Measure(int threads) {
  PrepareTensorRuntime();
  SetThreads(threads);
  at::manual_seed(1);
  auto* corename = reinterpret_cast<char* (*)()>(::dlsym(RTLD_DEFAULT, "openblas_get_corename"));
  fmt::print("{}", corename != nullptr ? corename() : "none");
  for (const Shape& shape : kShapes) fmt::print(" {:.2f}", ProductGigaflops(shape));
  for (const Shape& shape : kShapes) fmt::print(" {:.2f}", TrainingGigaflops(shape));
  fmt::print("\n");
  return 0;
}

struct Row {
  std::string label;
  std::string environment;  // "NAME=value ..." of the process that measures
  int threads = 1;
  std::string loaded;
  std::vector<double> gigaflops;
};

void MeasureElsewhere(const std::string& self, Row& row) {
  const std::string command =
      fmt::format("{} '{}' --measure {}", row.environment, self, row.threads);
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return;
  char name[64] = "";
  if (std::fscanf(pipe, "%63s", name) == 1) row.loaded = name;
  for (double value = 0; std::fscanf(pipe, "%lf", &value) == 1;) row.gigaflops.push_back(value);
  ::pclose(pipe);
}

// Measures the rows and prints them, in brackets how often the first one's rate. Whether one runs.
bool PrintTable(const std::string& self, std::vector<Row> rows) {
  fmt::print("| GFLOP/s (ratio to the first row) | kernel | threads |");
  for (const char* what : {"product", "FFN training step"}) {
    for (const Shape& shape : kShapes) fmt::print(" {} {} |", what, shape.hidden);
  }
  fmt::print("\n|---|---|---|---|---|---|---|\n");
  for (Row& row : rows) {
    MeasureElsewhere(self, row);
    fmt::print("| {} | {} | {} |", row.label, row.loaded, row.threads);
    for (size_t i = 0; i < row.gigaflops.size(); ++i) {
      const std::vector<double>& first = rows[0].gigaflops;
      const double ratio = i < first.size() ? row.gigaflops[i] / first[i] : 0;
      fmt::print(" {:.0f} ({:.1f}) |", row.gigaflops[i], ratio);
    }
    fmt::print("{}\n", row.gigaflops.empty() ? " does not run here | | | |" : "");
  }
  fmt::print("\n");
  return std::any_of(rows.begin(), rows.end(),
                     [](const Row& row) { return !row.gigaflops.empty(); });
}

int Compare(const std::string& self) {
  fmt::print("{}\n\n", RuntimeDescription());
  const std::string ours = WantedBlasKernel(DetectCpu()).value_or("");
  std::vector<Row> kernels;
  for (const char* kernel : {"Prescott", "Haswell", "Zen", "SkylakeX", "Cooperlake", ""}) {
    std::string label = *kernel == '\0' ? "OpenBLAS's choice" : kernel;
    if (kernel == ours) label += " (ours)";
    kernels.push_back({label, fmt::format("PUZZLE_BLAS_KERNEL={}", kernel), 1, "", {}});
  }
  const bool any_kernel = PrintTable(self, kernels);

  // GOMP_SPINCOUNT outdoes OMP_WAIT_POLICY; 300,000 is what libgomp does when nothing is set.
  const bool any_threads = PrintTable(
      self, {{"one thread", "", 1, "", {}},
             {"idle threads spin (OpenMP's default)", "GOMP_SPINCOUNT=300000", 2, "", {}},
             {"idle threads sleep (ours)", "", 2, "", {}}});
  return any_kernel && any_threads ? 0 : 1;
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);
  if (argc == 3 && std::string(argv[1]) == "--measure") return puzzle::Measure(std::atoi(argv[2]));
  if (argc > 1) {
    fmt::print(stderr, "blas_kernel_bench takes no arguments\n");
    return 2;
  }
  return puzzle::Compare(argv[0]);
}
