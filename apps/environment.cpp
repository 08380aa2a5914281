#include "apps/environment.h"

#include <cstdlib>
#include <fstream>
#include <thread>

#include "apps/blas_kernel.h"

namespace puzzle {
namespace {

std::string CpuModel() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

// The kernel that PrepareBlasEnvironment arranges for.
std::string BlasKernel() {
  if (const char* wish = std::getenv("PUZZLE_BLAS_KERNEL")) return wish;
  return WantedBlasKernel(DetectCpu()).value_or("");
}

}  // namespace

std::map<std::string, std::string> MachineFacts() {
  return {{"blas_kernel", BlasKernel()},
          {"cores", std::to_string(std::thread::hardware_concurrency())},
          {"cpu", CpuModel()},
          {"libtorch", PUZZLE_TORCH_VERSION}};
}

}  // namespace puzzle
