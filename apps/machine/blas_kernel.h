// Makes OpenBLAS use the kernels that this CPU deserves. OpenBLAS chooses when it is loaded, and an
// older one (0.3.21 in Debian 12) takes CPUs newer than itself for a "Prescott" with SSE3, four
// times slower than need be. The remedy is an environment variable, so it has to be set by the
// program that starts the one that loads the library. Links neither BLAS nor libtorch.
//
// DetectCpu and WantedBlasKernel are thread-safe; the others belong to the start of main.
#pragma once

#include <optional>
#include <string>

namespace puzzle {

/// What a CPU and its operating system offer.
struct CpuInfo {
  std::string vendor;  // "GenuineIntel", "AuthenticAMD"; empty when unknown
  bool avx2 = false;
  bool fma = false;
  bool avx512f = false;
  bool avx512dq = false;
  bool avx512bw = false;
  bool avx512vl = false;
  bool avx512_bf16 = false;
  bool os_saves_ymm = false;  // 256-bit registers survive a context switch
  bool os_saves_zmm = false;  // 512-bit registers and masks, too
};

/// This machine. All false on architectures other than x86-64.
[[nodiscard]] CpuInfo DetectCpu();

/// The OPENBLAS_CORETYPE for a CPU; nothing when OpenBLAS is to choose by itself.
[[nodiscard]] std::optional<std::string> WantedBlasKernel(const CpuInfo& cpu);

/// Prepares the environment of a program that loads BLAS. OPENBLAS_CORETYPE becomes what
/// WantedBlasKernel says, whatever the shell holds, for a wrong value there is the very trap;
/// PUZZLE_BLAS_KERNEL names another kernel, or leaves it to OpenBLAS when empty. OMP_WAIT_POLICY
/// becomes passive unless the shell has an opinion. True when anything had to change: libraries
/// that are already loaded have read other values then.
bool PrepareBlasEnvironment();

/// Replaces this program by `name` from the same folder, e.g. "puzzle-engine", with the same
/// arguments. `argv` ends with nullptr. Throws Error when that program cannot be started.
[[noreturn]] void ExecSibling(const std::string& name, char** argv);

/// For programs that load BLAS when they start: unless the environment is prepared, prepares it and
/// starts this program over. Throws Error.
void RestartUnlessBlasPrepared(char** argv);

}  // namespace puzzle
