// The three real checkpoints of the test data against values computed independently in float64.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"
#include "model/transformer.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using nlohmann::ordered_json;

std::string DataFolder() {
  const char* root = std::getenv("PUZZLE_DATA");
  return root != nullptr ? root : PUZZLE_SOURCE_DIR "/../shared/data";
}

class GoldenTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string folder = DataFolder() + "/models/" + GetParam();
    if (!std::filesystem::exists(folder))
      GTEST_SKIP() << "no test data at " << folder << "; set PUZZLE_DATA";
    golden_ = JsonText::ParseFile(DataFolder() + "/golden/" + GetParam() + ".json").value();
    tokenizer_ = LoadTokenizer(folder);
    model_.emplace(LoadCheckpoint(folder));
  }

  Tensor PassageIds() const {
    return at::tensor(golden_.at("passage_ids").get<std::vector<int64_t>>(), at::kLong)
        .unsqueeze(0);
  }

  ordered_json golden_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<Transformer> model_;
  at::NoGradGuard no_grad_;
};

TEST_P(GoldenTest, PassageBecomesTheSameIds) {
  std::vector<int32_t> ids = tokenizer_->Encode(golden_.at("passage").get<std::string>());
  ids.insert(ids.begin(), tokenizer_->bos_id());
  EXPECT_EQ(ids, golden_.at("passage_ids").get<std::vector<int32_t>>());
}

TEST_P(GoldenTest, LossIsTheSameAtEveryPosition) {
  const Tensor ids = PassageIds();
  const Tensor log_p = model_->Logits(ids)[0].log_softmax(-1);
  const auto expected = golden_.at("teacher_forced_nll_per_position").get<std::vector<double>>();
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto position = static_cast<int64_t>(i);
    const int64_t next = ids[0][position + 1].item<int64_t>();
    EXPECT_NEAR(-log_p[position][next].item<double>(), expected[i], 1e-4) << i;
  }
}

TEST_P(GoldenTest, LastLogitsAreTheSame) {
  const Tensor last = model_->Logits(PassageIds())[0][-1];
  EXPECT_NEAR(last.norm().item<double>(), golden_.at("last_position_logit_l2").get<double>(), 1e-2);
  for (const ordered_json& entry : golden_.at("last_position_top10"))
    EXPECT_NEAR(last[entry.at(0).get<int64_t>()].item<double>(), entry.at(1).get<double>(), 1e-3);
}

TEST_P(GoldenTest, GreedyGenerationTakesTheSameIds) {
  const auto expected = golden_.at("greedy_ids").get<std::vector<int32_t>>();
  std::vector<int32_t> ids = tokenizer_->Encode(golden_.at("greedy_prompt").get<std::string>());
  ids.insert(ids.begin(), tokenizer_->bos_id());
  const auto count = static_cast<int64_t>(expected.size() - ids.size());
  const std::vector<int32_t> continued = Generate(*model_, ids, count);
  ids.insert(ids.end(), continued.begin(), continued.end());
  EXPECT_EQ(ids, expected);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest,
                         testing::Values("stories3M", "stories260K", "babyllama105"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace puzzle
