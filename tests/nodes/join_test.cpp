// Whole blocks: joined from parts, taken from choices, trained further, put into a child.
#include "nodes/train/join.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/error.h"
#include "model/surgery.h"
#include "nodes/data/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/train/artifacts.h"
#include "nodes/train/assemble.h"
#include "nodes/train/bld.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

Block Made(const std::string& name, int64_t layer = 0, double marked = 0) {
  const ModelWeights parent = TinyModel();
  Block block;
  block.layer = layer;
  block.variant = name;
  block.spec = ResolveVariant(name, parent.config, layer);
  block.trained = InitVariant(parent, layer, block.spec);
  for (const auto& [name, slot] : Slots(block.trained, block.spec)) slot->add_(marked);
  return block;
}

Checkpoint JoinParent() {
  Checkpoint checkpoint;
  checkpoint.model = TinyModel();
  return checkpoint;
}

// One pick per part of `names`, by layer.
Choice Chosen(const std::vector<std::vector<std::string>>& names) {
  Choice choice;
  for (size_t layer = 0; layer < names.size(); ++layer)
    for (const std::string& name : names[layer])
      choice.picks.push_back({static_cast<int64_t>(layer), name,
                              ResolveVariant(name, TinyConfig(), static_cast<int64_t>(layer))});
  return choice;
}

FakeInputs WithBlocks(const std::vector<Block>& blocks) {
  FakeInputs inputs;
  inputs.Add("parent", "parent", JoinParent());
  for (size_t i = 0; i < blocks.size(); ++i)
    inputs.Add("blocks", "block " + std::to_string(i), blocks[i]);
  return inputs;
}

template <class Run>
std::string JoinFailure(const Run& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

Block Shortlisted(const FakeInputs& inputs, int64_t layer, int64_t rank) {
  FakeContext context;
  return RunShortlist({layer, rank}, inputs, context);
}

TEST(JoinTest, AWholeBlockHasTheTrainedPartsAndTheParentsOwn) {
  const FakeInputs inputs =
      WithBlocks({Made("ffn:24", 1, 0.5), Made("ffn:24", 0), Made("attn:kv1")});
  FakeContext context;
  const Block joined = RunJoin({{8}, 1, "attn:kv2+ffn:50%"}, inputs, context);
  EXPECT_EQ(joined.variant, "attn:kv2+ffn:24");
  EXPECT_FALSE(joined.parents_own);
  const auto weights = std::get<BlockWeights>(joined.Weights());
  EXPECT_TRUE(weights.attention.q.equal(TinyModel().blocks[1].attention.q));
  EXPECT_TRUE(weights.ffn.down.equal(std::get<FfnWeights>(Made("ffn:24", 1, 0.5).trained).down));
  EXPECT_EQ(JoinFailure([&] {
              (void)RunJoin({{8}, 1, "attn:kv1+ffn:24"}, inputs, context);
            }),
            "layer 1: no block at port `blocks` is attn:kv1");
}

TEST(JoinTest, BlocksThatMoreChoicesTakeAreLikedMore) {
  const std::vector<Choice> choices = {Chosen({{"attn:kv1", "ffn:24"}, {"attn:kv2", "ffn:48"}}),
                                       Chosen({{"attn:kv2", "ffn:24"}, {"attn:kv2", "ffn:48"}}),
                                       Chosen({{"attn:kv2", "ffn:24"}, {"attn:none", "ffn:none"}}),
                                       Chosen({{"attn:kv2", "ffn:48"}, {"none"}})};
  const auto names = [&](int64_t layer) {
    std::vector<std::string> all;
    for (const BlockSpec& spec : LikedBlocks(choices, TinyConfig(), layer))
      all.push_back(VariantName(spec));
    return all;
  };
  EXPECT_THAT(names(0), testing::ElementsAre("attn:kv2+ffn:24", "attn:kv1+ffn:24"));
  EXPECT_THAT(names(1), testing::ElementsAre("none"));
}

TEST(JoinTest, BeyondTheShortlistIsTheParentsOwnBlock) {
  FakeInputs inputs = WithBlocks({Made("attn:kv1"), Made("ffn:24"), Made("attn:none")});
  inputs.Add("choices", "1", Chosen({{"attn:kv1", "ffn:24"}, {"attn:kv2", "ffn:48"}}));
  EXPECT_EQ(Shortlisted(inputs, 0, 1).variant, "attn:kv1+ffn:24");
  const Block surplus = Shortlisted(inputs, 0, 2);
  EXPECT_TRUE(surplus.parents_own);
  EXPECT_EQ(surplus.variant, "attn:kv2+ffn:48");
  EXPECT_THAT(JoinFailure([&] { (void)Shortlisted(inputs, 2, 1); }),
              HasSubstr("the parent has layers 0 to 1"));
  FakeInputs child;
  child.Add("parent", "parent", JoinParent());
  child.Add("blocks", "surplus", surplus);
  child.Add("choice", "choice", Chosen({{"attn:kv2+ffn:48"}}));
  FakeContext context;
  EXPECT_EQ(RunAssemble({}, child, context).model.config, TinyConfig());
}

// Whatever is picked behind it, and nothing is left of how the parent's own training ended.
TEST(JoinTest, AssemblePassesOverWhatIsTheParentsOwn) {
  FakeInputs inputs;
  Checkpoint parent = JoinParent();
  parent.figures = {{"loss", 0.5}};
  inputs.Add("parent", "parent", parent).Add("blocks", "1", Made("ffn:24", 1, 0.25));
  inputs.Add("choice", "choice", Chosen({{"attn:kv2", "ffn:48"}, {"attn:kv2", "ffn:24"}}));
  FakeContext context;
  const Checkpoint child = RunAssemble({}, inputs, context);
  EXPECT_TRUE(child.figures.empty());
  EXPECT_EQ(child.model.config.blocks[0], TinyConfig().blocks[0]);
  EXPECT_EQ(child.model.config.blocks[1].ffn.size, 24);
  EXPECT_TRUE(child.model.blocks[1].ffn.down.equal(
      std::get<FfnWeights>(Made("ffn:24", 1, 0.25).trained).down));
  EXPECT_TRUE(child.model.blocks[1].attention.q.equal(parent.model.blocks[1].attention.q));
}

TEST(JoinTest, AssembleTakesAWholeBlockAsOnePick) {
  FakeInputs inputs = WithBlocks(
      {Made("attn:kv1+ffn:24", 0, 0.25), Made("attn:kv1"), Made("ffn:24"), Made("none", 1)});
  inputs.Add("choice", "choice", Chosen({{"attn:kv1+ffn:24"}, {"none"}}));
  FakeContext context;
  const Checkpoint child = RunAssemble({}, inputs, context);
  EXPECT_EQ(child.model.config.blocks[0],
            (BlockSpec{{SubBlockForm::kFull, 1}, {SubBlockForm::kFull, 24}}));
  EXPECT_TRUE(IsNone(child.model.config.blocks[1]));
  EXPECT_TRUE(child.model.blocks[0].ffn.down.equal(
      std::get<BlockWeights>(Made("attn:kv1+ffn:24", 0, 0.25).trained).ffn.down));
  EXPECT_FALSE(child.model.blocks[1].attention.q.defined());
  inputs.Add("blocks", "again", Made("attn:kv1+ffn:24"));
  EXPECT_EQ(JoinFailure([&] { (void)RunAssemble({}, inputs, context); }),
            "layer 0: the choice takes attn:kv1+ffn:24, which two blocks provide");
}

TEST(JoinTest, AssembleNamesALayerThatTheParentHasNot) {
  Choice choice = Chosen({{"attn:kv1"}, {"ffn:24"}});
  for (Choice::Pick& pick : choice.picks) ++pick.layer;  // as of a deeper model
  FakeInputs inputs = WithBlocks({Made("attn:kv1", 1)});
  inputs.Add("choice", "choice", choice);
  FakeContext context;
  EXPECT_EQ(JoinFailure([&] { (void)RunAssemble({}, inputs, context); }),
            "layer 2: the parent has layers 0 to 1");
}

TEST(JoinTest, BldRefusesAStartThatIsSomethingElse) {
  FakeContext context;
  const auto failure = [&](int64_t layer, const char* variant) {
    FakeInputs inputs;
    inputs.Add("parent", "parent", JoinParent());
    inputs.Add("start", "start", Made("attn:kv1+ffn:24"));
    BldParams params;
    params.layer = layer;
    params.variant = variant;
    return JoinFailure([&] { (void)RunBld(params, inputs, context); });
  };
  EXPECT_EQ(failure(1, "start"),
            "layer 1 is to be trained, but the start is attn:kv1+ffn:24 of layer 0");
  EXPECT_EQ(failure(0, "attn:kv1+ffn:16"),
            "layer 0: attn:kv1+ffn:16 is to be trained, but the start is attn:kv1+ffn:24");
}

TEST(JoinTest, WhatNeedsNoTrainingGetsNone) {
  FakeContext context;
  FakeInputs inputs;
  inputs.Add("parent", "parent", JoinParent());
  BldParams params;
  params.variant = "none";
  EXPECT_EQ(RunBld(params, inputs, context).loss, 1);
  Block own = Made("attn:kv2+ffn:48");
  own.parents_own = true;
  inputs.Add("start", "start", own);
  params.variant = "start";
  EXPECT_TRUE(RunBld(params, inputs, context).parents_own);
}

}  // namespace
}  // namespace puzzle
