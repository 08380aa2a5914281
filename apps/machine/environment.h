// What machine, build and device a measurement belongs to: it enters the keys of kinds that measure
// time, and of no others. The two programs agree on it, though only one of them loads libtorch.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace puzzle {

/// What the driver of NVIDIA's GPUs says about itself.
struct GpuFacts {
  struct Card {
    std::string name;        // "NVIDIA H100 80GB HBM3"
    std::string capability;  // "9.0"
  };
  std::vector<Card> cards;
  std::string driver;          // "550.54.15"
  std::string driver_cuda;     // the newest CUDA it can run: "12.4"
  std::string built_for_cuda;  // the runtime of this build's libtorch; empty: it has none
};

/// Asks the driver's management library (NVML), which is loaded for it. No cards where there is no
/// driver. Thread-safe.
[[nodiscard]] GpuFacts DetectGpus();

/// CPU model, cores (of the machine, within a container's quota), libtorch version and BLAS kernel;
/// for measurements on "cuda" also the cards, without repetition, and the versions of driver and
/// runtime. Pure.
[[nodiscard]] std::map<std::string, std::string> WithGpus(
    std::map<std::string, std::string> machine, const GpuFacts& gpus);

/// The facts for measurements on a type of device ("cpu", "cuda", "": any). Thread-safe.
[[nodiscard]] std::map<std::string, std::string> MachineFacts(const std::string& device_type);

/// What decides the last bits of a computation on this machine: another libtorch, BLAS kernel or
/// kind of CPU may round differently.
[[nodiscard]] std::map<std::string, std::string> NumericalFacts();

}  // namespace puzzle
