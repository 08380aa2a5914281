// Evaluations of several children against one parent, which answers once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "io/file.h"
#include "io/tokenizer.h"
#include "model/math/runtime.h"
#include "model/surgery.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/score.h"
#include "nodes/measure/text_quality.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

// Keeps everything, and counts what was made.
class KeepingContext final : public FakeContext {
 public:
  int made = 0;

 protected:
  std::shared_ptr<const void> ResidentAny(const std::string& key,
                                          const std::function<SizedValue()>& make) override {
    auto& value = values_[key];
    if (value == nullptr) {
      value = make().value;
      ++made;
    }
    return value;
  }

 private:
  std::map<std::string, std::shared_ptr<const void>> values_;
};

class TextQualityTest : public testing::Test {
 protected:
  TextQualityTest() : parent_(TinyModel()) {
    constexpr int kSequences = 11, kLength = 9;
    tokens_.length = kLength;
    tokens_.vocab_size = 40;
    for (int i = 0; i < kSequences * kLength; ++i) {
      tokens_.ids.push_back((i * i + 5 * i / 3) % 40);
      tokens_.mask.push_back(i % 7 < i % 3);
    }
  }

  [[nodiscard]] ModelWeights Without(const char* variant) const {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), 1);
    ModelWeights child = Clone(parent_.weights());
    Replace(child, 1, spec, InitVariant(parent_.weights(), 1, spec));
    return child;
  }

  [[nodiscard]] Evaluation Evaluate(const char* variant, const EvaluateParams& params,
                                    RunContext& context) const {
    FakeInputs inputs;
    inputs.Add("model", variant, Checkpoint{Without(variant), {}, {}, {}})
        .Add("parent", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("tokens", "tokens", tokens_);
    return RunEvaluate(params, inputs, context);
  }

  Transformer parent_;
  TokenSet tokens_;
};

// Of one, two and no questions longer than the context.
TEST(EvaluateTest, QuestionsThatWereCutAreSaid) {
  const auto tokenizer = MakeByteTokenizer();
  ModelConfig config = TinyConfig();  // 64 positions
  config.vocab_size = tokenizer->vocab_size();
  TokenSet tokens;
  tokens.length = 8;
  tokens.vocab_size = config.vocab_size;
  for (int i = 0; i < 16; ++i) tokens.ids.push_back(i);
  FakeInputs inputs;
  inputs.Add("model", "m", Checkpoint{TinyModel(config), tokenizer->files(), {}, {}})
      .Add("tokens", "t", tokens);
  const TempFolder folder;
  EvaluateParams params;
  params.questions = folder / "asked.jsonl";
  const auto warnings = [&](const std::vector<int>& lengths) {
    std::string rows;
    for (const int length : lengths)
      rows += R"({"context": ")" + std::string(static_cast<size_t>(length), 'x') +
              R"(", "choices": ["a", "b"], "answer": 0})" + '\n';
    WriteWholeFile(params.questions, rows);
    FakeContext context;
    EXPECT_EQ(RunEvaluate(params, inputs, context).tasks.at(0).n, std::ssize(lengths));
    return context.warnings;
  };
  EXPECT_THAT(warnings({200, 10, 10}),
              testing::ElementsAre("1 of 3 questions of questions are longer than the model's "
                                   "context and were cut at their beginning"));
  EXPECT_THAT(warnings({200, 10, 300}),
              testing::ElementsAre(HasSubstr("2 of 3 questions of questions are longer")));
  EXPECT_THAT(warnings({10, 20, 30}), testing::IsEmpty());
}

void ExpectSameSums(const TokenMetrics& a, const TokenMetrics& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.sum, b.sum);
  EXPECT_EQ(a.squares, b.squares);
  EXPECT_EQ(a.nmse_products, b.nmse_products);
}

TEST_F(TextQualityTest, AParentsKeptStatesMeasureWithTheBitsOfTheParent) {
  const Transformer child(Without("ffn:50%"));
  const auto nothing = [](double) {};
  for (const bool answers : {false, true}) {
    for (const int64_t positions : {0, 1, 8, 13, 21}) {
      for (const int64_t batch : {1, 3, 8}) {
        const FinalStates states =
            ComputeFinalStates(parent_, tokens_, positions, batch, nothing, answers);
        const TokenMetrics kept =
            EvaluateModel(child, states, tokens_, positions, batch, nothing, answers);
        ExpectSameSums(kept,
                       EvaluateModel(child, &parent_, tokens_, positions, batch, nothing, answers));
        EXPECT_GT(kept.Mean(Metric::kKl), 1e-3);
      }
    }
  }
}

TEST_F(TextQualityTest, TheParentAnswersOnceForAllItsChildren) {
  EvaluateParams params;
  params.positions = 50;
  KeepingContext keeping;
  FakeContext forgetful;
  forgetful.resident = 50 * 32 * sizeof(float) - 1;  // no room for the states
  for (const char* variant : {"ffn:none", "ffn:50%", "attn:none"})
    ExpectSameSums(Evaluate(variant, params, keeping).metrics,
                   Evaluate(variant, params, forgetful).metrics);
  EXPECT_EQ(keeping.made, 1);
  params.positions = 51;
  (void)Evaluate("ffn:none", params, keeping);
  params.on = "answers";
  params.positions = 0;
  (void)Evaluate("ffn:none", params, keeping);
  EXPECT_EQ(keeping.made, 3);
}

TEST_F(TextQualityTest, AParentThatIsNoNumberIsNamed) {
  ModelWeights broken = Clone(parent_.weights());
  broken.blocks[1].ffn.down.fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(
      ErrorOf([&] { (void)ComputeFinalStates(Transformer(broken), tokens_, 0, 8, [](double) {}); }),
      HasSubstr("the output of layer 1 of the parent"));
  EXPECT_THAT(ErrorOf([&] {
                const Transformer low = WithMatricesIn(at::kBFloat16, Transformer(broken));
                (void)EvaluateModel(low, nullptr, tokens_, 0, 8, [](double) {});
              }),
              HasSubstr("the output of layer 1 of the model"));
}

TEST_F(TextQualityTest, AParentOfAnotherShapeIsRefused) {
  FinalStates states = ComputeFinalStates(parent_, tokens_, 0, 8, [](double) {});
  states.config.hidden_size = 64;
  EXPECT_THAT(ErrorOf([&] { (void)EvaluateModel(parent_, states, tokens_, 0, 8, [](double) {}); }),
              HasSubstr("hidden size is 32, the parent's 64"));
}

TEST_F(TextQualityTest, Bf16IsNearFp32AndSaidInTheRecord) {
  EvaluateParams params;
  FakeContext context;
  const Evaluation exact = Evaluate("ffn:50%", params, context);
  EXPECT_EQ(exact.products, "fp32");
  params.compute = "bf16";
  const Evaluation low = Evaluate("ffn:50%", params, context);
  EXPECT_EQ(low.products, HasFastBf16("cpu") ? "bf16" : "fp32");
  // Both models are rounded: the parent itself stays at no distance from itself.
  const Transformer rounded = WithMatricesIn(at::kBFloat16, parent_);
  const auto nothing = [](double) {};
  EXPECT_NEAR(EvaluateModel(rounded, &rounded, tokens_, 0, 8, nothing).Mean(Metric::kKl), 0, 1e-9);
  const Transformer child = WithMatricesIn(at::kBFloat16, Transformer(Without("ffn:50%")));
  const TokenMetrics by_hand = EvaluateModel(child, &rounded, tokens_, 0, 8, nothing);
  for (const Metric metric : {Metric::kKl, Metric::kNll}) {
    EXPECT_NEAR(by_hand.Mean(metric), exact.metrics.Mean(metric),
                0.05 * exact.metrics.Mean(metric));
    EXPECT_NE(by_hand.Mean(metric), exact.metrics.Mean(metric));
  }
  if (HasFastBf16("cpu")) ExpectSameSums(low.metrics, by_hand);
}

}  // namespace
}  // namespace puzzle
