// What the choice of OpenBLAS kernels is worth: matrix products and a training step of an FFN
// block, with every kernel in a process of its own (the choice is made when the library loads).
//
//   build/blas_kernel_bench [threads]
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "apps/blas_kernel.h"
#include "model/pch.h"
#include "model/runtime.h"

namespace puzzle {
namespace {

struct Shape {
  int64_t tokens;
  int64_t hidden;
  int64_t intermediate;
};
constexpr Shape kShapes[] = {{4096, 192, 512}, {2048, 1024, 2816}};
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
  std::string asked;
  std::string loaded;
  std::vector<double> gigaflops;
};

Row MeasureWith(const std::string& kernel, const std::string& self, int threads) {
  Row row{kernel, "", {}};
  const std::string command =
      fmt::format("PUZZLE_BLAS_KERNEL={} '{}' --measure {}", kernel, self, threads);
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return row;
  char name[64] = "";
  if (std::fscanf(pipe, "%63s", name) == 1) row.loaded = name;
  for (double value = 0; std::fscanf(pipe, "%lf", &value) == 1;) row.gigaflops.push_back(value);
  ::pclose(pipe);
  return row;
}

int Compare(const std::string& self, int threads) {
  const std::string wanted = WantedBlasKernel(DetectCpu()).value_or("");
  std::vector<std::string> kernels = {"", "Prescott", "Haswell", "SkylakeX", "Cooperlake"};
  if (std::find(kernels.begin(), kernels.end(), wanted) == kernels.end()) {
    kernels.push_back(wanted);
  }
  fmt::print("GFLOP/s, {} thread(s); in brackets: times Prescott\n\n", threads);
  fmt::print("| kernel | loaded |");
  for (const char* what : {"product", "FFN training step"}) {
    for (const Shape& shape : kShapes) fmt::print(" {} {} |", what, shape.hidden);
  }
  fmt::print("\n|---|---|---|---|---|---|\n");
  std::vector<Row> rows;
  for (const std::string& kernel : kernels) rows.push_back(MeasureWith(kernel, self, threads));
  for (const Row& row : rows) {
    std::string label = row.asked.empty() ? "OpenBLAS's choice" : row.asked;
    if (row.asked == wanted) label = "**" + label + "** (ours)";
    fmt::print("| {} | {} |", label, row.loaded);
    for (size_t i = 0; i < row.gigaflops.size(); ++i) {
      fmt::print(" {:.0f} ({:.1f}) |", row.gigaflops[i],
                 row.gigaflops[i] / rows[1].gigaflops.at(i));
    }
    fmt::print("{}\n", row.gigaflops.empty() ? " does not run here | | | |" : "");
  }
  return 0;
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);
  const bool measure = argc > 1 && std::string(argv[1]) == "--measure";
  const char* threads = argc > (measure ? 2 : 1) ? argv[measure ? 2 : 1] : "1";
  return measure ? puzzle::Measure(std::atoi(threads))
                 : puzzle::Compare(argv[0], std::atoi(threads));
}
