#include "model/decode/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "io/error.h"

namespace puzzle::decode {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// ln of 8, 4, 2, 1, 1: shares .5, .25, .125, .0625, .0625.
std::vector<float> Shares() {
  return {0.0F, std::log(4.0F), std::log(8.0F), 0.0F, std::log(2.0F)};
}

std::map<int32_t, int> Counts(const SamplingOptions& options, int draws) {
  Sampler sampler(options, 5);
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.Pick(Shares())];
  return counts;
}

std::vector<int32_t> Drawn(const SamplingOptions& options) {
  std::vector<int32_t> ids;
  for (const auto& [id, count] : Counts(options, 3000)) ids.push_back(id);
  return ids;
}

TEST(SamplerTest, WithoutTemperatureTheLikeliestIsPickedTheFirstAmongEquals) {
  Sampler sampler({}, 4);
  EXPECT_EQ(sampler.Pick(std::vector<float>{1, 3, 3, 2}), 1);
  EXPECT_EQ(sampler.Pick(std::vector<float>{-4, -3, -5, -3}), 1);
}

// Vocabularies are looked through in pieces.
TEST(SamplerTest, TheLikeliestOfManyIsFoundWhereverItIs) {
  Sampler sampler({}, 5001);
  for (const size_t at : {0, 2047, 2048, 4095, 4100, 5000}) {
    std::vector<float> logits(5001, -7);
    logits[at] = -6.5F;
    EXPECT_EQ(sampler.Pick(logits), static_cast<int32_t>(at));
    logits[5000] = -6.5F;
    EXPECT_EQ(sampler.Pick(logits), static_cast<int32_t>(at));  // the first of both
    logits[1234] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_THROW((void)sampler.Pick(logits), Error);
  }
}

TEST(SamplerTest, DrawsFollowTheProbabilities) {
  const auto counts = Counts({.temperature = 1}, 20000);
  const double expected[] = {.0625, .25, .5, .0625, .125};
  for (int32_t id = 0; id < 5; ++id)
    EXPECT_NEAR(counts.at(id) / 20000.0, expected[id], 0.015) << id;
}

// exp(ln p / T): squares of the shares at T = 1/2.
TEST(SamplerTest, TemperatureSharpens) {
  const auto counts = Counts({.temperature = 0.5}, 20000);
  const double squares = 64 + 16 + 4 + 1 + 1;
  EXPECT_NEAR(counts.at(2) / 20000.0, 64 / squares, 0.015);
  EXPECT_NEAR(counts.at(1) / 20000.0, 16 / squares, 0.015);
}

TEST(SamplerTest, TopKKeepsTheLikeliestAndTheirEquals) {
  EXPECT_THAT(Drawn({.temperature = 1, .top_k = 2}), ElementsAre(1, 2));
  EXPECT_THAT(Drawn({.temperature = 1, .top_k = 3}), ElementsAre(1, 2, 4));
  EXPECT_THAT(Drawn({.temperature = 1, .top_k = 4}), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(Drawn({.temperature = 1, .top_k = 1}), ElementsAre(2));
}

TEST(SamplerTest, TopPKeepsTheFewestThatReachIt) {
  EXPECT_THAT(Drawn({.temperature = 1, .top_p = 0.45}), ElementsAre(2));
  EXPECT_THAT(Drawn({.temperature = 1, .top_p = 0.7}), ElementsAre(1, 2));
  EXPECT_THAT(Drawn({.temperature = 1, .top_p = 0.8}), ElementsAre(1, 2, 4));
  // Of what top-k left: .5 of .75 is not .7 yet.
  EXPECT_THAT(Drawn({.temperature = 1, .top_k = 2, .top_p = 0.6}), ElementsAre(2));
}

TEST(SamplerTest, MinPKeepsThoseThatComeNearTheLikeliest) {
  EXPECT_THAT(Drawn({.temperature = 1, .min_p = 0.4}), ElementsAre(1, 2));
  EXPECT_THAT(Drawn({.temperature = 1, .min_p = 0.2}), ElementsAre(1, 2, 4));
  EXPECT_THAT(Drawn({.temperature = 1, .min_p = 1}), ElementsAre(2));
}

TEST(SamplerTest, WhatIsThereAlreadyBecomesLessLikely) {
  Sampler sampler({.repetition_penalty = 2}, 3);
  const std::vector<float> logits = {3, 2, -1};
  EXPECT_EQ(sampler.Pick(logits), 0);  // 3 becomes 1.5
  EXPECT_EQ(sampler.Pick(logits), 1);  // 2 becomes 1
  EXPECT_EQ(sampler.Pick(logits), 0);
  Sampler negative({.repetition_penalty = 2}, 2);
  negative.Saw(0);
  EXPECT_EQ(negative.Pick(std::vector<float>{-1, -1.5}), 1);  // -1 becomes -2
}

TEST(SamplerTest, SeedsDecide) {
  const auto drawn = [](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed}, 5);
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.Pick(Shares()));
    return ids;
  };
  EXPECT_EQ(drawn(1), drawn(1));
  EXPECT_NE(drawn(1), drawn(2));
}

std::string ComplaintOf(const SamplingOptions& options) {
  try {
    CheckSampling(options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(SamplerTest, OptionsOutOfRangeAreNamed) {
  EXPECT_EQ(ComplaintOf({}), "");
  EXPECT_THAT(ComplaintOf({.temperature = -1}), HasSubstr("temperature -1"));
  EXPECT_THAT(ComplaintOf({.temperature = std::nan("")}), HasSubstr("temperature nan"));
  EXPECT_THAT(ComplaintOf({.top_p = 0}), HasSubstr("top-p 0"));
  EXPECT_THAT(ComplaintOf({.top_p = 1.5}), HasSubstr("top-p 1.5"));
  EXPECT_THAT(ComplaintOf({.min_p = -0.1}), HasSubstr("min-p -0.1"));
  EXPECT_THAT(ComplaintOf({.repetition_penalty = 0}), HasSubstr("repetition penalty 0"));
  EXPECT_THAT(ComplaintOf({.top_k = -1}), HasSubstr("top-k -1"));
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_THAT(ComplaintOf({.temperature = infinity}), HasSubstr("temperature inf"));
  EXPECT_THAT(ComplaintOf({.repetition_penalty = infinity}), HasSubstr("repetition penalty inf"));
  EXPECT_THAT(ComplaintOf({.top_p = std::nan("")}), HasSubstr("top-p nan"));
  EXPECT_THAT(ComplaintOf({.min_p = 1.5}), HasSubstr("min-p 1.5"));
  EXPECT_THAT(ComplaintOf({.min_p = std::nan("")}), HasSubstr("min-p nan"));
  EXPECT_EQ(ComplaintOf({.temperature = 0, .top_k = 0, .top_p = 1, .min_p = 0}), "");
  EXPECT_EQ(ComplaintOf({.repetition_penalty = 1e-9, .top_p = 1e-9, .min_p = 1}), "");
}

TEST(SamplerTest, LogitsThatAreNoNumbersAreAnError) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature}, 3);
    EXPECT_THROW((void)sampler.Pick(std::vector<float>{0, nan, 1}), Error);
    EXPECT_THROW((void)sampler.Pick(std::vector<float>{0, infinity, 1}), Error);
    EXPECT_THROW((void)sampler.Pick(std::vector<float>{-infinity, -infinity, -infinity}), Error);
    EXPECT_EQ(sampler.Pick(std::vector<float>{-infinity, 2, -infinity}), 1);
  }
}

}  // namespace
}  // namespace puzzle::decode
