#include "apps/machine/blas_kernel.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "io/error.h"

namespace puzzle {
namespace {

using ::testing::HasSubstr;
using ::testing::StrEq;

CpuInfo Avx2(const std::string& vendor) {
  CpuInfo cpu;
  cpu.vendor = vendor;
  cpu.avx2 = cpu.fma = cpu.os_saves_ymm = true;
  return cpu;
}

CpuInfo Avx512(const std::string& vendor) {
  CpuInfo cpu = Avx2(vendor);
  cpu.avx512f = cpu.avx512dq = cpu.avx512bw = cpu.avx512vl = cpu.os_saves_zmm = true;
  return cpu;
}

TEST(BlasKernelTest, FollowsWhatTheCpuCanDo) {
  EXPECT_EQ(WantedBlasKernel({}), std::nullopt);
  EXPECT_EQ(WantedBlasKernel(Avx2("GenuineIntel")), "Haswell");
  EXPECT_EQ(WantedBlasKernel(Avx2("AuthenticAMD")), "Zen");
  EXPECT_EQ(WantedBlasKernel(Avx2("HygonGenuine")), "Zen");
  EXPECT_EQ(WantedBlasKernel(Avx2("SomebodyElse")), "Haswell");
  EXPECT_EQ(WantedBlasKernel(Avx512("GenuineIntel")), "SkylakeX");
  EXPECT_EQ(WantedBlasKernel(Avx512("AuthenticAMD")), "SkylakeX");

  CpuInfo bf16 = Avx512("GenuineIntel");
  bf16.avx512_bf16 = true;
  EXPECT_EQ(WantedBlasKernel(bf16), "Cooperlake");
}

TEST(BlasKernelTest, NeedsEveryPartOfAvx512) {
  for (bool CpuInfo::*part : {&CpuInfo::avx512f, &CpuInfo::avx512dq, &CpuInfo::avx512bw,
                              &CpuInfo::avx512vl, &CpuInfo::os_saves_zmm}) {
    CpuInfo cpu = Avx512("GenuineIntel");
    cpu.avx512_bf16 = true;
    cpu.*part = false;
    EXPECT_EQ(WantedBlasKernel(cpu), "Haswell");
  }
}

TEST(BlasKernelTest, NeedsEveryPartOfAvx2) {
  for (bool CpuInfo::*part : {&CpuInfo::avx2, &CpuInfo::fma, &CpuInfo::os_saves_ymm}) {
    CpuInfo cpu = Avx2("AuthenticAMD");
    cpu.*part = false;
    EXPECT_EQ(WantedBlasKernel(cpu), std::nullopt);
  }
}

TEST(BlasKernelTest, DetectionAgreesWithTheCompiler) {
  const CpuInfo cpu = DetectCpu();
#if defined(__x86_64__)
  EXPECT_EQ(cpu.vendor.size(), 12u);
  EXPECT_EQ(cpu.avx2 && cpu.os_saves_ymm, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(cpu.fma && cpu.os_saves_ymm, __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(cpu.avx512f && cpu.os_saves_zmm, __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(cpu.avx512vl && cpu.os_saves_zmm, __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ(cpu.avx512_bf16 && cpu.os_saves_zmm, __builtin_cpu_supports("avx512bf16") != 0);
#else
  EXPECT_EQ(WantedBlasKernel(cpu), std::nullopt);
#endif
}

#if defined(__x86_64__)
TEST(BlasKernelTest, DetectionOfBytesAndWordsAgreesWithTheCompiler) {
  const CpuInfo cpu = DetectCpu();
  EXPECT_EQ(cpu.avx512dq && cpu.os_saves_zmm, __builtin_cpu_supports("avx512dq") != 0);
  EXPECT_EQ(cpu.avx512bw && cpu.os_saves_zmm, __builtin_cpu_supports("avx512bw") != 0);
}
#endif

// Every test is a process of its own under CTest; run together they leave each other a clean slate.
class BlasEnvironmentTest : public ::testing::Test {
 protected:
  BlasEnvironmentTest() { Clear(); }
  ~BlasEnvironmentTest() override { Clear(); }

  static void Clear() {
    for (const char* name : {"OPENBLAS_CORETYPE", "PUZZLE_BLAS_KERNEL", "OMP_WAIT_POLICY"}) {
      ::unsetenv(name);
    }
  }
  static std::string CoreType() {
    const char* value = std::getenv("OPENBLAS_CORETYPE");
    return value == nullptr ? "(unset)" : value;
  }
  const std::string wanted_ = WantedBlasKernel(DetectCpu()).value_or("(unset)");
};

TEST_F(BlasEnvironmentTest, PreparesOnce) {
  EXPECT_TRUE(PrepareBlasEnvironment());
  EXPECT_EQ(CoreType(), wanted_);
  EXPECT_THAT(std::getenv("OMP_WAIT_POLICY"), StrEq("passive"));
  EXPECT_FALSE(PrepareBlasEnvironment());
}

TEST_F(BlasEnvironmentTest, CorrectsTheShellsKernelButKeepsItsWaitPolicy) {
  ::setenv("OPENBLAS_CORETYPE", "Prescott", 1);
  ::setenv("OMP_WAIT_POLICY", "active", 1);
  EXPECT_TRUE(PrepareBlasEnvironment());
  EXPECT_EQ(CoreType(), wanted_);
  EXPECT_THAT(std::getenv("OMP_WAIT_POLICY"), StrEq("active"));
}

TEST_F(BlasEnvironmentTest, ObeysAnExplicitKernel) {
  ::setenv("PUZZLE_BLAS_KERNEL", "Nehalem", 1);
  EXPECT_TRUE(PrepareBlasEnvironment());
  EXPECT_EQ(CoreType(), "Nehalem");
  ::setenv("PUZZLE_BLAS_KERNEL", "", 1);
  EXPECT_TRUE(PrepareBlasEnvironment());
  EXPECT_EQ(CoreType(), "(unset)");
  EXPECT_FALSE(PrepareBlasEnvironment());
}

TEST(ExecSiblingTest, NamesTheProgramThatIsMissing) {
  char name[] = "puzzle";
  char* argv[] = {name, nullptr};
  try {
    ExecSibling("no-such-program", argv);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("/no-such-program: No such file or directory"));
  }
}

}  // namespace
}  // namespace puzzle
