#include "apps/machine/blas_kernel.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "io/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace puzzle {
namespace {

constexpr char kSelf[] = "/proc/self/exe";

#if defined(__x86_64__)
struct CpuidRegisters {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

// All zero for a leaf that the CPU does not have.
CpuidRegisters Cpuid(unsigned leaf, unsigned subleaf) {
  CpuidRegisters r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

// XCR0: which registers the operating system saves. REQUIRES: CPUID says OSXSAVE.
unsigned SavedState() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}
#endif

std::optional<std::string> Getenv(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return value;
}

// True when the variable was different. No value: it must not be set.
bool SetVariable(const char* name, const std::optional<std::string>& value) {
  if (Getenv(name) == value) return false;
  if (value) {
    ::setenv(name, value->c_str(), /*overwrite=*/1);
  } else {
    ::unsetenv(name);
  }
  return true;
}

[[noreturn]] void Exec(const std::filesystem::path& program, char** argv) {
  ::execv(program.c_str(), argv);
  throw Error(fmt::format("cannot start {}: {}", program.string(), std::strerror(errno)));
}

}  // namespace

CpuInfo DetectCpu() {
  CpuInfo cpu;
#if defined(__x86_64__)
  const CpuidRegisters vendor = Cpuid(0, 0);
  for (unsigned part : {vendor.b, vendor.d, vendor.c}) {
    cpu.vendor.append(reinterpret_cast<const char*>(&part), sizeof part);
  }
  const CpuidRegisters basic = Cpuid(1, 0);
  const CpuidRegisters extended = Cpuid(7, 0);
  cpu.fma = (basic.c & bit_FMA) != 0;
  cpu.avx2 = (extended.b & bit_AVX2) != 0;
  cpu.avx512f = (extended.b & bit_AVX512F) != 0;
  cpu.avx512dq = (extended.b & bit_AVX512DQ) != 0;
  cpu.avx512bw = (extended.b & bit_AVX512BW) != 0;
  cpu.avx512vl = (extended.b & bit_AVX512VL) != 0;
  cpu.avx512_bf16 = (Cpuid(7, 1).a & bit_AVX512BF16) != 0;
  if ((basic.c & bit_OSXSAVE) != 0) {
    constexpr unsigned kYmm = 0x06;  // SSE and AVX state
    constexpr unsigned kZmm = 0xe6;  // ... and masks, upper halves, upper registers
    const unsigned saved = SavedState();
    cpu.os_saves_ymm = (saved & kYmm) == kYmm;
    cpu.os_saves_zmm = (saved & kZmm) == kZmm;
  }
#endif
  return cpu;
}

std::optional<std::string> WantedBlasKernel(const CpuInfo& cpu) {
  const bool avx512 =
      cpu.os_saves_zmm && cpu.avx512f && cpu.avx512dq && cpu.avx512bw && cpu.avx512vl;
  if (avx512) return cpu.avx512_bf16 ? "Cooperlake" : "SkylakeX";
  if (cpu.os_saves_ymm && cpu.avx2 && cpu.fma) {
    return cpu.vendor == "AuthenticAMD" || cpu.vendor == "HygonGenuine" ? "Zen" : "Haswell";
  }
  return std::nullopt;
}

bool PrepareBlasEnvironment() {
  std::optional<std::string> kernel = Getenv("PUZZLE_BLAS_KERNEL");
  if (!kernel) kernel = WantedBlasKernel(DetectCpu());
  if (kernel && kernel->empty()) kernel.reset();
  bool changed = SetVariable("OPENBLAS_CORETYPE", kernel);
  // Every thread that enters OpenMP has a pool of its own (autograd's thread, too), and a pool that
  // spins while idle takes the cores from the others: up to eight times slower (bench/README.md).
  if (!Getenv("OMP_WAIT_POLICY")) changed |= SetVariable("OMP_WAIT_POLICY", "passive");
  return changed;
}

void ExecSibling(const std::string& name, char** argv) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink(kSelf, error);
  if (error) throw Error(fmt::format("cannot read {}: {}", kSelf, error.message()));
  Exec(self.parent_path() / name, argv);
}

void RestartUnlessBlasPrepared(char** argv) {
  if (PrepareBlasEnvironment()) Exec(kSelf, argv);
}

}  // namespace puzzle
