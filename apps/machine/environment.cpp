#include "apps/machine/environment.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>

#include "apps/machine/blas_kernel.h"
#include "graph/run/machine.h"

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

// Those of the machine, or what the quota of a container leaves of them. Affinity does not count:
// it differs among the workers of one run in a job of Slurm.
int Cores() {
  return WithinQuota(static_cast<int>(std::thread::hardware_concurrency()), ReadGroupLimits());
}

// The kernel that PrepareBlasEnvironment arranges for.
std::string BlasKernel() {
  if (const char* wish = std::getenv("PUZZLE_BLAS_KERNEL")) return wish;
  return WantedBlasKernel(DetectCpu()).value_or("");
}

// The few functions of NVML that are needed. It is not linked: most machines have none.
class Nvml {
 public:
  Nvml() : library_(::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    ready_ = library_ != nullptr && Call<int()>("nvmlInit_v2") == 0;
  }
  ~Nvml() {
    if (ready_) Call<int()>("nvmlShutdown");
    if (library_ != nullptr) ::dlclose(library_);
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  [[nodiscard]] bool ready() const { return ready_; }

  // The status of a call; -1 where this NVML has no such function.
  template <class F, class... Args>
  int Call(const char* name, Args... args) const {
    auto* function = reinterpret_cast<F*>(::dlsym(library_, name));
    return function == nullptr ? -1 : function(args...);
  }

 private:
  void* library_ = nullptr;
  bool ready_ = false;
};

using NvmlDevice = void*;

GpuFacts::Card CardOf(const Nvml& nvml, unsigned index) {
  GpuFacts::Card card{"unknown", "unknown"};
  NvmlDevice device = nullptr;
  if (nvml.Call<int(unsigned, NvmlDevice*)>("nvmlDeviceGetHandleByIndex_v2", index, &device) != 0)
    return card;
  std::array<char, 96> name{};
  if (nvml.Call<int(NvmlDevice, char*, unsigned)>("nvmlDeviceGetName", device, name.data(),
                                                  unsigned{name.size()}) == 0)
    card.name = name.data();
  int major = 0, minor = 0;
  if (nvml.Call<int(NvmlDevice, int*, int*)>("nvmlDeviceGetCudaComputeCapability", device, &major,
                                             &minor) == 0)
    card.capability = fmt::format("{}.{}", major, minor);
  return card;
}

// What kernels choose their code by.
std::string CpuFeatures() {
  const CpuInfo cpu = DetectCpu();
  std::string text;
  const auto add = [&](bool has, const char* name) {
    if (has) text.append(text.empty() ? "" : " ").append(name);
  };
  add(cpu.avx2 && cpu.os_saves_ymm, "avx2");
  add(cpu.fma && cpu.os_saves_ymm, "fma");
  add(cpu.avx512f && cpu.os_saves_zmm, "avx512f");
  add(cpu.avx512dq && cpu.os_saves_zmm, "avx512dq");
  add(cpu.avx512bw && cpu.os_saves_zmm, "avx512bw");
  add(cpu.avx512vl && cpu.os_saves_zmm, "avx512vl");
  add(cpu.avx512_bf16 && cpu.os_saves_zmm, "avx512_bf16");
  return text;
}

}  // namespace

GpuFacts DetectGpus() {
  GpuFacts facts;
  facts.built_for_cuda = PUZZLE_CUDA_VERSION;
  const Nvml nvml;
  if (!nvml.ready()) return facts;
  unsigned count = 0;
  nvml.Call<int(unsigned*)>("nvmlDeviceGetCount_v2", &count);
  for (unsigned i = 0; i < count; ++i) facts.cards.push_back(CardOf(nvml, i));
  std::array<char, 96> driver{};
  if (nvml.Call<int(char*, unsigned)>("nvmlSystemGetDriverVersion", driver.data(),
                                      unsigned{driver.size()}) == 0)
    facts.driver = driver.data();
  int cuda = 0;
  if (nvml.Call<int(int*)>("nvmlSystemGetCudaDriverVersion_v2", &cuda) == 0)
    facts.driver_cuda = fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10);
  return facts;
}

std::map<std::string, std::string> WithGpus(std::map<std::string, std::string> machine,
                                            const GpuFacts& gpus) {
  std::set<std::string> cards;
  for (const GpuFacts::Card& card : gpus.cards)
    cards.insert(fmt::format("{} (compute capability {})", card.name, card.capability));
  std::string& text = machine["gpu"];
  for (const std::string& card : cards) text += (text.empty() ? "" : ", ") + card;
  if (text.empty()) text = "none";
  machine["gpu_driver"] = fmt::format("{}, CUDA {}", gpus.driver, gpus.driver_cuda);
  machine["cuda_runtime"] = gpus.built_for_cuda;
  return machine;
}

std::map<std::string, std::string> NumericalFacts() {
  return {{"blas_kernel", BlasKernel()},
          {"cpu_features", CpuFeatures()},
          {"libtorch", PUZZLE_TORCH_VERSION}};
}

std::map<std::string, std::string> MachineFacts(const std::string& device_type) {
  std::map<std::string, std::string> facts = {{"blas_kernel", BlasKernel()},
                                              {"cores", std::to_string(Cores())},
                                              {"cpu", CpuModel()},
                                              {"libtorch", PUZZLE_TORCH_VERSION}};
  return device_type == "cuda" ? WithGpus(std::move(facts), DetectGpus()) : facts;
}

}  // namespace puzzle
