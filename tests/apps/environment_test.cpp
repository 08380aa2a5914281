#include "apps/machine/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <string>
#include <thread>

#include "graph/run/machine.h"

namespace puzzle {
namespace {

using ::testing::ElementsAre;
using ::testing::Key;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

const GpuFacts kTwoCards = {
    {{"NVIDIA H100 80GB HBM3", "9.0"}, {"NVIDIA L4", "8.9"}}, "550.54.15", "12.4", "12.1"};

TEST(EnvironmentTest, ACardIsKnownByNameCapabilityDriverAndRuntime) {
  EXPECT_THAT(WithGpus({{"cpu", "some"}}, kTwoCards),
              ElementsAre(Pair("cpu", "some"), Pair("cuda_runtime", "12.1"),
                          Pair("gpu",
                               "NVIDIA H100 80GB HBM3 (compute capability 9.0), NVIDIA L4 (compute "
                               "capability 8.9)"),
                          Pair("gpu_driver", "550.54.15, CUDA 12.4")));
}

TEST(EnvironmentTest, EachOfThemMakesAnotherEnvironmentAndTheNumberOfCardsDoesNot) {
  const auto facts = WithGpus({}, kTwoCards);
  for (const auto change : {+[](GpuFacts& gpus) { gpus.cards[0].name = "NVIDIA H200"; },
                            +[](GpuFacts& gpus) { gpus.cards[1].capability = "9.0"; },
                            +[](GpuFacts& gpus) { gpus.driver = "550.54.16"; },
                            +[](GpuFacts& gpus) { gpus.driver_cuda = "12.5"; },
                            +[](GpuFacts& gpus) { gpus.built_for_cuda = "12.4"; },
                            +[](GpuFacts& gpus) { gpus.cards.pop_back(); },
                            +[](GpuFacts& gpus) { gpus.cards.clear(); }}) {
    GpuFacts other = kTwoCards;
    change(other);
    EXPECT_NE(WithGpus({}, other), facts);
  }
  GpuFacts four = kTwoCards;
  four.cards = {kTwoCards.cards[1], kTwoCards.cards[0], kTwoCards.cards[0], kTwoCards.cards[1]};
  EXPECT_EQ(WithGpus({}, four), facts);
}

TEST(EnvironmentTest, MeasurementsOnTheCpuDoNotDependOnCards) {
  EXPECT_EQ(MachineFacts("cpu").count("gpu"), 0u);
  EXPECT_EQ(MachineFacts("").count("gpu"), 0u);
  EXPECT_EQ(MachineFacts("cuda").count("gpu"), 1u);
  EXPECT_EQ(MachineFacts("cpu").count("cpu"), 1u);
}

// A store keeps its measurements when the program is bound to a core, as tasks of Slurm are.
TEST(EnvironmentTest, CoresAreThoseOfTheMachineWhateverTheAffinity) {
  const auto facts = MachineFacts("cpu");
  EXPECT_EQ(facts.at("cores"),
            std::to_string(WithinQuota(static_cast<int>(std::thread::hardware_concurrency()),
                                       ReadGroupLimits())));
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  const auto bound = MachineFacts("cpu");
  ::sched_setaffinity(0, sizeof before, &before);
  EXPECT_EQ(bound, facts);
}

// Which of them there are, by the compiler's own test.
TEST(EnvironmentTest, NumericalFactsNameWhatKernelsChooseTheirCodeBy) {
  const auto facts = NumericalFacts();
  EXPECT_THAT(facts,
              UnorderedElementsAre(Key("blas_kernel"), Key("cpu_features"), Key("libtorch")));
#if defined(__x86_64__)
  std::string expected;
  const auto add = [&](bool has, const char* name) {
    if (has) expected += (expected.empty() ? "" : " ") + std::string(name);
  };
  add(__builtin_cpu_supports("avx2") != 0, "avx2");
  add(__builtin_cpu_supports("fma") != 0, "fma");
  add(__builtin_cpu_supports("avx512f") != 0, "avx512f");
  add(__builtin_cpu_supports("avx512dq") != 0, "avx512dq");
  add(__builtin_cpu_supports("avx512bw") != 0, "avx512bw");
  add(__builtin_cpu_supports("avx512vl") != 0, "avx512vl");
  add(__builtin_cpu_supports("avx512bf16") != 0, "avx512_bf16");
  EXPECT_EQ(facts.at("cpu_features"), expected);
#endif
}

}  // namespace
}  // namespace puzzle
