// What kinds say that a step of theirs takes: counted by hand. The scheduler plans with it; results
// and keys know nothing of it.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <typeinfo>

#include "nodes/catalogue.h"
#include "nodes/cost/kinds.h"
#include "nodes/data/kinds.h"
#include "nodes/train/kinds.h"

namespace puzzle {
namespace {

class SomeFacts final : public InputFacts {
 public:
  uint64_t Bytes(std::string_view port) const override {
    const auto found = bytes.find(std::string(port));
    return found == bytes.end() ? 0 : found->second;
  }
  double Number(std::string_view port, std::string_view name) const override {
    const auto found = numbers.find(std::string(port) + '.' + std::string(name));
    return found == numbers.end() ? 0 : found->second;
  }
  std::map<std::string, uint64_t> bytes;
  std::map<std::string, double> numbers;
};

template <class P>
Resources TakenBy(const std::string& name, const P& params, const SomeFacts& facts = {}) {
  for (const NodeKind& kind : PuzzleKinds()) {
    if (kind.name != name) continue;
    EXPECT_TRUE(kind.params_type == typeid(P)) << name;
    return kind.resources(&params, facts);
  }
  ADD_FAILURE() << name;
  return {};
}

// Matrices in fp32: themselves, gradients, two moments, the result.
TEST(ResourcesTest, APretrainingHoldsFiveCopiesOfWhatItTrains) {
  PretrainParams params;
  params.layers = 3;
  params.hidden = 128;
  params.heads = 4;
  params.kv_heads = 2;
  params.ffn = 384;
  constexpr uint64_t kMatrices = 2 * 128 * 128 + 2 * 64 * 128 + 3 * 128 * 384;  // q, o; k, v; FFN
  EXPECT_EQ(TakenBy("pretrain", params).memory_bytes, 5 * 4 * 3 * kMatrices);
  SomeFacts facts;
  facts.bytes = {{"like", 10}};  // most of it lies in the user's files
  facts.numbers = {{"like.parameters", 1000}};
  EXPECT_EQ(TakenBy("pretrain", params, facts).memory_bytes, 5 * 4 * 1000u) << "another's shape";
}

TEST(ResourcesTest, AVariantIsTrainedInFiveCopiesOfALayer) {
  SomeFacts facts;
  facts.numbers = {{"parent.parameters", 1000}};
  EXPECT_EQ(TakenBy("bld", BldParams(), facts).memory_bytes, 5 * 4 * 1000u);
  facts.numbers["activations.states"] = 10;
  EXPECT_EQ(TakenBy("bld", BldParams(), facts).memory_bytes, 5 * 4 * 100u);
}

TEST(ResourcesTest, AChildIsRepairedInFourCopiesOrInItsWeightsAloneOnAllItsLanes) {
  SomeFacts facts;
  facts.numbers = {{"student.parameters", 1000}};
  GkdParams params;
  EXPECT_EQ(TakenBy("gkd", params, facts).memory_bytes, 4 * 4 * 1000u);
  EXPECT_EQ(TakenBy("gkd", params, facts).lanes, 1);
  params.train = "norms";
  params.devices = 3;
  EXPECT_EQ(TakenBy("gkd", params, facts).memory_bytes, 4 * 1000u);
  EXPECT_EQ(TakenBy("gkd", params, facts).lanes, 3);
}

TEST(ResourcesTest, WhatMeasuresTimeOrRunsAProgramAsksForItsDevice) {
  LatencyParams latency;
  latency.device = "cuda";
  EXPECT_EQ(TakenBy("latency", latency).device_type, "cuda");
  ModelLatencyParams model;
  EXPECT_EQ(TakenBy("model_latency", model).device_type, "cpu");
  EXPECT_EQ(TakenBy("bench", BenchParams()).device_type, "cpu");
  CommandParams command;
  command.device = "cuda";
  command.threads = 3;
  command.memory_mib = 5;
  for (const char* name : {"command", "timed_command"}) {
    const Resources taken = TakenBy(name, command);
    EXPECT_EQ(taken.device_type, "cuda");
    EXPECT_EQ(taken.threads, 3);
    EXPECT_EQ(taken.memory_bytes, 5u << 20);
  }
}

}  // namespace
}  // namespace puzzle
