// A parent's answers in a store, and distillations that take them in its place.
#include "nodes/train/teacher_logits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/Parallel.h>
#include <cmath>
#include <functional>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/math/losses.h"
#include "model/math/runtime.h"
#include "model/surgery.h"
#include "nodes/states/activations.h"
#include "nodes/train/gkd.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/step_contexts.h"
#include "tests/nodes/tiny_tokens.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;

class TeacherLogitsTest : public testing::Test {
 protected:
  TeacherLogitsTest() : parent_(TinyModel()) {
    gkd_.steps = 40;
    gkd_.lr = 2e-3;
    gkd_.cosine_weight = 0;
  }

  // What `write` makes, closed and opened again.
  std::shared_ptr<const ArchiveReader> Written(const std::function<void(ArchiveWriter&)>& write) {
    const std::string path = folder_ / (std::to_string(++files_) + ".h5");
    const auto archive = Hdf5Format().create(path);
    write(*archive);
    archive->Close();
    return Hdf5Format().open(path);
  }
  FakeInputs Text() const {
    FakeInputs inputs;
    inputs.Add("parent", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("tokens", "tokens", tokens_);
    return inputs;
  }
  std::shared_ptr<const ArchiveReader> Stored(const TeacherLogitsParams& params,
                                              RunContext& context) {
    return Written([&](ArchiveWriter& out) { RunTeacherLogits(params, Text(), context, out); });
  }
  TeacherLogits Logits(int64_t k, const std::string& compute = "fp32") {
    TeacherLogitsParams params;
    params.k = k;
    params.compute = compute;
    FakeContext context;
    return TeacherLogits::Load(Stored(params, context));
  }
  // Of a sequence, computed as a whole.
  Tensor LogP(int64_t row) const {
    return parent_.Logits(tokens_.Rows({row}))
        .narrow(1, 0, tokens_.length - 1)
        .flatten(0, 1)
        .to(at::kDouble)
        .log_softmax(-1);
  }

  // The parent with a narrow FFN in one layer.
  ModelWeights Child(int64_t layer = 1) const {
    ModelWeights child = Clone(parent_.weights());
    const VariantSpec spec = ResolveVariant("ffn:25%", parent_.config(), layer);
    Replace(child, layer, spec, InitVariant(parent_.weights(), layer, spec));
    return Clone(child);
  }
  FakeInputs Pair(const ModelWeights& child) const {
    FakeInputs inputs;
    inputs.Add("teacher", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("student", "child", Checkpoint{child, {}, {}, {}})
        .Add("tokens", "tokens", tokens_);
    return inputs;
  }
  Checkpoint Distilled(const ModelWeights& child, const TeacherLogits& logits,
                       RunContext& context) const {
    return RunGkd(gkd_, Pair(child).Add("teacher_logits", "logits", logits), context);
  }
  Checkpoint Distilled(const TeacherLogits& logits) const {
    FakeContext context;
    return Distilled(Child(), logits, context);
  }

  Transformer parent_;
  TokenSet tokens_ = TinyTokens(40);
  GkdParams gkd_;
  TempFolder folder_;
  int files_ = 0;
};

TEST_F(TeacherLogitsTest, ComeBackAsTheParentsOwnToTheStoredDigits) {
  const at::NoGradGuard no_grad;
  TeacherLogitsParams params;
  params.k = 6;
  params.batch = 7;
  FakeContext context;
  const auto archive = Stored(params, context);
  const TeacherLogits logits = TeacherLogits::Load(archive);
  const TopWords words = logits.Read({11, 3, 39});
  ASSERT_EQ(words.ids.sizes().vec(), (std::vector<int64_t>{3 * 15, 6}));
  double kept = 0;
  for (int64_t row = 0; row < 40; ++row)
    kept += std::get<0>(LogP(row).topk(6)).exp().sum(1).mean().item<double>() / 40;
  const Tensor log_p = at::cat({LogP(11), LogP(3), LogP(39)});
  const Tensor expected = std::get<0>(log_p.topk(6));
  EXPECT_TENSORS_NEAR(log_p.gather(1, words.ids), expected, 1e-5);
  EXPECT_TRUE(
      (words.log_probability - expected).abs().le(1e-3 * expected.abs() + 1e-3).all().item<bool>());
  EXPECT_TENSORS_NEAR(words.log_rest.exp(), 1 - expected.exp().sum(1), 2e-3);
  EXPECT_TENSORS_NEAR(words.log_probability.exp().sum(1) + words.log_rest.exp(), at::ones({3 * 15}),
                      1e-6);
  EXPECT_NEAR(archive->Attribute("probability_kept").get<double>(), kept, 1e-5);
  EXPECT_EQ(archive->Info("ids").dtype, DType::kU16);
  EXPECT_EQ(archive->Info("log_probabilities").dtype, DType::kF16);
}

TEST_F(TeacherLogitsTest, AreTheSameBitsWithLittleMemory) {
  TeacherLogitsParams params;
  FakeContext roomy, tight;
  tight.resident = 1000;
  const std::string digest = DigestArchive(*Stored(params, roomy));
  EXPECT_EQ(DigestArchive(*Stored(params, tight)), digest);
  EXPECT_EQ(roomy.files, 0);
  EXPECT_EQ(tight.files, 1) << "the states between two layers";
}

TEST_F(TeacherLogitsTest, MoreWordsThanThereAreAreAll) {
  const TopWords words = Logits(1000).Read({5});
  EXPECT_EQ(words.ids.size(1), 40);
  EXPECT_TRUE(words.log_rest.isneginf().all().item<bool>());
}

TEST_F(TeacherLogitsTest, IdsOfLargeVocabulariesAndWordsThatAreNeverSaidSurvive) {
  for (const int64_t vocabulary : {65536, 65537}) {
    const Tensor ids =
        at::tensor({vocabulary - 1, int64_t{32768}, int64_t{0}, int64_t{40000}}, at::kLong)
            .view({2, 2});
    const Tensor log_p = at::tensor({0.5, 0.25, 0.125, 1.0}).view({2, 2}).log().to(at::kFloat);
    log_p[1][1] = -1e6;  // less than f16 holds
    const Tensor log_rest = at::tensor({0.25, 0.875}).log().to(at::kFloat);
    const auto archive = Written([&](ArchiveWriter& out) {
      TeacherLogits::Writer writer(out, {2, 2, vocabulary, 2}, {"p", "t"});
      writer.Append({ids, log_p, log_rest});
      writer.Finish();
    });
    const TopWords words = TeacherLogits::Load(archive).Read({1, 0});
    EXPECT_TRUE(words.ids.equal(ids.flip(0))) << vocabulary;
    EXPECT_TENSORS_NEAR(words.log_probability.exp(), log_p.flip(0).exp(), 1e-3);
    EXPECT_TRUE(words.log_probability.isfinite().all().item<bool>());
    EXPECT_TENSORS_NEAR(words.log_rest, log_rest.flip(0), 1e-3);
  }
}

TEST_F(TeacherLogitsTest, WhatIsNotFiniteIsNotStored) {
  ModelWeights broken = Clone(parent_.weights());
  broken.blocks[0].ffn.down[0][0] = std::nan("");
  parent_ = Transformer(broken);
  FakeContext context;
  EXPECT_THAT(ErrorOf([&] { (void)Stored({}, context); }), HasSubstr("the parent's logits"));
}

TEST_F(TeacherLogitsTest, RepairAChildAndTheKlHeldOutStaysTheWholeOne) {
  FakeContext context;
  const auto whole = RunGkd(gkd_, Pair(Child()), context).figures;
  for (const int64_t k : {8, 40}) {
    const auto figures = Distilled(Logits(k)).figures;
    EXPECT_EQ(figures.at("held_out_kl_before"), whole.at("held_out_kl_before")) << k;
    EXPECT_LT(figures.at("held_out_kl"), 0.9 * figures.at("held_out_kl_before")) << k;
    EXPECT_EQ(figures.at("teacher_words"), static_cast<double>(k));
    if (k == 40) {
      EXPECT_NEAR(figures.at("held_out_kl"), whole.at("held_out_kl"),
                  0.01 * whole.at("held_out_kl_before"));
      EXPECT_NEAR(figures.at("loss"), whole.at("loss"), 0.01 * whole.at("loss"));
    } else {
      EXPECT_LT(figures.at("loss"), whole.at("loss")) << "a part of the KL";
    }
  }
  EXPECT_FALSE(whole.contains("teacher_words"));
}

TEST_F(TeacherLogitsTest, SpareTheTeacherAllButWhatIsHeldOut) {
  const TeacherLogits logits = Logits(8);
  const TeacherStates states = StatesOf(parent_, tokens_);
  const TeacherOnDevice teacher{
      parent_,
      [&](const std::vector<int64_t>& rows) {
        if (rows.front() < 36) throw BugError("the teacher is run");
        return states(rows);
      },
      [&](const std::vector<int64_t>& rows) { return logits.Read(rows); }};
  FakeContext context;
  gkd_.steps = 2;
  EXPECT_NO_THROW(
      (void)DistillGlobally({teacher}, Transformer(Child()), tokens_, gkd_, 1, context));
  gkd_.kl_weight = 0;
  gkd_.lm_weight = 1;
  EXPECT_NO_THROW(
      (void)DistillGlobally({teacher}, Transformer(Child()), tokens_, gkd_, 1, context));
  gkd_.cosine_weight = 1;
  EXPECT_THROW((void)DistillGlobally({teacher}, Transformer(Child()), tokens_, gkd_, 1, context),
               BugError);
}

TEST_F(TeacherLogitsTest, ServeStepsInBf16) {
  gkd_.compute = "bf16";
  const auto figures = Distilled(Logits(8, "bf16")).figures;
  EXPECT_LT(figures.at("held_out_kl"), 0.9 * figures.at("held_out_kl_before"));
}

TEST_F(TeacherLogitsTest, OnAnswersOnlyTheirWordsCount) {
  for (int i = 0; i < 16 * 40; ++i)
    tokens_.mask.push_back(i / 16 % 5 != 2 && i % 16 > i / 16 % 7 && i % 16 < 3 + i / 16 % 9);
  gkd_.on = "answers";
  gkd_.steps = 10;
  FakeContext context;
  const auto whole = RunGkd(gkd_, Pair(Child()), context).figures;
  const auto figures = Distilled(Logits(40)).figures;
  EXPECT_NEAR(figures.at("loss"), whole.at("loss"), 0.01 * whole.at("loss"));
  EXPECT_NEAR(figures.at("held_out_kl"), whole.at("held_out_kl"),
              0.01 * whole.at("held_out_kl_before"));
}

TEST_F(TeacherLogitsTest, NeitherLanesNorRecomputedBlocksChangeABit) {
  const int threads = at::get_num_threads();
  SetThreads(1);
  gkd_.steps = 5;
  for (const char* compute : {"fp32", "bf16"}) {
    gkd_.compute = compute;
    const TeacherLogits logits = Logits(8, compute);
    for (const int64_t batch : {7, 8}) {
      gkd_.batch = batch;
      gkd_.recompute = "off";
      FakeContext one;
      Checkpoint expected = Distilled(Child(), logits, one);
      gkd_.recompute = batch == 8 ? "on" : "off";
      TeamContext two(2);
      Checkpoint student = Distilled(Child(), logits, two);
      ExpectSameBits(Slots(student.model), Slots(expected.model));
      EXPECT_EQ(student.figures, expected.figures);
    }
  }
  SetThreads(threads);
}

TEST_F(TeacherLogitsTest, ADistillationThatIsStoppedEndsWithTheBitsOfOneThatIsNot) {
  const TeacherLogits logits = Logits(8);
  gkd_.steps = 12;
  FakeContext undisturbed;
  Checkpoint expected = Distilled(Child(), logits, undisturbed);
  StoppingContext context(folder_ / "savepoint");
  for (const int round : {7, 3}) {
    context.StopAt(round);
    EXPECT_THROW((void)Distilled(Child(), logits, context), Cancelled);
  }
  context.StopAt(-1);
  Checkpoint resumed = Distilled(Child(), logits, context);
  EXPECT_LT(context.rounds(), 12) << "it did not begin anew";
  EXPECT_EQ(resumed.figures, expected.figures);
  ExpectSameBits(Slots(resumed.model), Slots(expected.model));
}

// One store, which two steps read at once.
TEST_F(TeacherLogitsTest, ServeSeveralChildren) {
  const TeacherLogits logits = Logits(8);
  gkd_.steps = 10;
  const auto distilled = [&](int64_t layer) {
    FakeContext context;
    return Distilled(Child(layer), logits, context);
  };
  std::vector<Checkpoint> expected = {distilled(0), distilled(1)};
  std::vector<std::future<Checkpoint>> children;
  for (const int64_t layer : {0, 1})
    children.push_back(std::async(std::launch::async, [&, layer] {
      BindThreadToDevice("cpu");
      SetThreads(1);
      return distilled(layer);
    }));
  for (size_t i = 0; i < children.size(); ++i) {
    Checkpoint child = children[i].get();
    ExpectSameBits(Slots(child.model), Slots(expected[i].model));
  }
  EXPECT_FALSE(expected[0].model.embedding.equal(expected[1].model.embedding));
}

TEST_F(TeacherLogitsTest, OfOthersAreRefusedAndStatesMayBeStoredToo) {
  const TeacherLogits logits = Logits(8);
  FakeContext context;
  const auto complaint = [&](const FakeInputs& inputs) {
    return ErrorOf([&] { (void)RunGkd(gkd_, inputs, context); });
  };
  const auto inputs = [&](const std::string& teacher, const std::string& tokens) {
    FakeInputs all;
    all.Add("teacher", teacher, Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("student", "child", Checkpoint{Child(), {}, {}, {}})
        .Add("tokens", tokens, tokens_)
        .Add("teacher_logits", "logits", logits);
    return all;
  };
  EXPECT_EQ(complaint(inputs("another", "tokens")),
            "the teacher's logits are of another model than the port `teacher` gives");
  EXPECT_EQ(complaint(inputs("parent", "others")),
            "the teacher's logits are of other tokens than the port `tokens` gives");
  gkd_.cosine_weight = 1;
  // With the states both losses are taken from stores.
  const auto archive =
      Written([&](ArchiveWriter& out) { RunActivations({}, Text(), context, out); });
  gkd_.steps = 10;
  const auto figures =
      RunGkd(gkd_, inputs("parent", "tokens").Add("activations", "a", Activations::Load(archive)),
             context)
          .figures;
  EXPECT_LT(figures.at("held_out_kl"), figures.at("held_out_kl_before"));
}

}  // namespace
}  // namespace puzzle
