// Loads of steps: products against counting by hand, and what is not known.
#include "nodes/workloads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "nodes/catalogue.h"
#include "nodes/data/kinds.h"
#include "nodes/measure/kinds.h"
#include "nodes/states/kinds.h"
#include "nodes/train/kinds.h"
#include "nodes/train/trained_share.h"

namespace puzzle {
namespace {

const NodeKind& KindOf(const std::string& name) {
  static const std::vector<NodeKind> kinds = PuzzleKinds();
  for (const NodeKind& kind : kinds) {
    if (kind.name == name) return kind;
  }
  throw std::out_of_range(name);
}

using Inputs = std::map<std::string, const Workload*>;

template <class P>
Workload Load(const std::string& name, const P& params, const Inputs& inputs) {
  const NodeKind& kind = KindOf(name);
  EXPECT_TRUE(kind.params_type == typeid(P)) << name;
  PortWorkloads ports(kind.ports.size());
  for (size_t p = 0; p < ports.size(); ++p) {
    const auto input = inputs.find(kind.ports[p].name);
    if (input != inputs.end()) ports[p].push_back(input->second);
  }
  return WorkloadOf(kind, &params, ports);
}

// A parent of two layers, hidden 64, two heads and kv heads of 32, 128 channels, 259 words, as
// pretrain makes it, on 100 sequences of 32 bytes.
struct Small {
  Small() {
    SyntheticTextParams stories;
    stories.stories = 1000;
    text = Load("synthetic_text", stories, {});
    TokenizeParams cut;
    cut.tokenizer = "byte";
    cut.length = 32;
    cut.sequences = 100;
    tokens = Load("tokenize", cut, {{"text", &text}});
    trained.layers = 2;
    trained.hidden = 64;
    trained.heads = trained.kv_heads = 2;
    trained.ffn = 128;
    trained.steps = 10;
    trained.batch = 4;
    parent = Load("pretrain", trained, {{"tokens", &tokens}});
    states = Load("activations", ActivationsParams(), {{"parent", &parent}, {"tokens", &tokens}});
  }
  PretrainParams trained;
  Workload text, tokens, parent, states;
};

// Of one layer and token: 4 * 64^2 of the attention, 3 * 64 * 128 of the FFN and two norms, twice,
// and 32 keys on average half seen, two products.
constexpr double kAttention = 2 * (4 * 64 * 64 + 64) + 2 * 32 * 64;
constexpr double kFfn = 2 * (3 * 64 * 128 + 64);
constexpr double kHeadFlop = 2 * 259 * 64;

TEST(WorkloadsTest, ProductsAreCounted) {
  const Small small;
  ASSERT_TRUE(small.states.is_known);
  EXPECT_EQ(small.tokens.disk_bytes, 4 * 100 * 32);
  EXPECT_EQ(small.states.disk_bytes, 100 * 32 * (4 + 2 * 64 * 3));
  // Efficiency is the same for all: it divides out.
  const double per_token = small.states.flops / (100 * 32);
  EXPECT_NEAR(small.parent.flops / per_token / (10 * 4 * 32),
              3 * (2 * (kAttention + kFfn) + kHeadFlop) / (2 * (kAttention + kFfn)), 1e-9);
  GkdParams gkd;
  gkd.steps = 5;
  gkd.batch = 8;
  const Inputs inputs = {{"teacher", &small.parent},
                         {"student", &small.parent},
                         {"tokens", &small.tokens},
                         {"activations", &small.states}};
  const Workload once = Load("gkd", gkd, inputs);
  gkd.steps = 50;
  EXPECT_NEAR(Load("gkd", gkd, inputs).flops, 10 * once.flops, 1e-6 * once.flops);
  gkd.compute = "bf16";
  EXPECT_EQ(Load("gkd", gkd, inputs).flops, 0);
  EXPECT_NEAR(Load("gkd", gkd, inputs).bf16_flops, 10 * once.flops, 1e-6 * once.flops);
}

// Narrow products spend their time around them: 96 wide reaches half of the machine's speed.
TEST(WorkloadsTest, AModelReachesTheMoreOfTheSpeedTheWiderItIs) {
  Small small;
  for (const int64_t hidden : {64, 96, 960}) {
    small.trained.hidden = hidden;
    small.trained.ffn = 2 * hidden;
    const Workload parent = Load("pretrain", small.trained, {{"tokens", &small.tokens}});
    const Workload states =
        Load("activations", ActivationsParams(), {{"parent", &parent}, {"tokens", &small.tokens}});
    // As above: four square matrices and three of the FFN, two norms, 32 keys half seen.
    const auto h = static_cast<double>(hidden);
    const double products = 100 * 32 * 2 * (2 * (4 * h * h + 3 * h * 2 * h + 2 * h) + 2 * 32 * h);
    EXPECT_NEAR(states.flops, products * (h + 96) / h, 1e-9 * states.flops) << hidden;
  }
}

TEST(WorkloadsTest, CapturingHoldsALayerAndTheStatesBehindIt) {
  Small small;
  const auto capture = [&] {
    const Workload parent = Load("pretrain", small.trained, {{"tokens", &small.tokens}});
    return Load("activations", ActivationsParams(),
                {{"parent", &parent}, {"tokens", &small.tokens}});
  };
  const Workload two = capture();
  EXPECT_EQ(two.shared_bytes, 0);
  EXPECT_EQ(two.memory_bytes,
            0.4e9 + 4 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 4 * 100 * 32 * 64);
  small.trained.layers = 20;
  EXPECT_EQ(capture().memory_bytes, two.memory_bytes) << "however many there are";
}

TEST(WorkloadsTest, ATeacherThatHasAnsweredCostsItsAnswersOnce) {
  const Small small;
  TeacherLogitsParams words;
  words.k = 10;
  const Workload answers =
      Load("teacher_logits", words, {{"parent", &small.parent}, {"tokens", &small.tokens}});
  EXPECT_EQ(answers.disk_bytes, 100 * 31 * (10 * (2 + 2) + 4));
  constexpr double kBlocks = 2 * (kAttention + kFfn);
  EXPECT_NEAR(answers.flops / small.states.flops, (kBlocks + kHeadFlop) / kBlocks, 1e-9);
  words.k = 1000;
  EXPECT_EQ(Load("teacher_logits", words, {{"parent", &small.parent}, {"tokens", &small.tokens}})
                .disk_bytes,
            100 * 31 * (259 * (2 + 2) + 4))
      << "all words";
  GkdParams gkd;
  gkd.cosine_weight = 0;
  Inputs inputs = {
      {"teacher", &small.parent}, {"student", &small.parent}, {"tokens", &small.tokens}};
  const Workload beside = Load("gkd", gkd, inputs);
  inputs["teacher_logits"] = &answers;
  const Workload stored = Load("gkd", gkd, inputs);
  EXPECT_NEAR(stored.flops / beside.flops,
              (3 * kBlocks + 3 * kHeadFlop) / (4 * kBlocks + 4 * kHeadFlop), 1e-9);
  EXPECT_LT(stored.memory_bytes, beside.memory_bytes);
  gkd.cosine_weight = 1;
  EXPECT_NEAR(Load("gkd", gkd, inputs).flops / beside.flops,
              (4 * kBlocks + 3 * kHeadFlop) / (4 * kBlocks + 4 * kHeadFlop), 1e-9)
      << "states are computed";
  gkd.kl_weight = gkd.cosine_weight = 0;
  gkd.lm_weight = 1;
  inputs.erase("teacher_logits");
  EXPECT_NEAR(Load("gkd", gkd, inputs).flops / beside.flops,
              (3 * kBlocks + 3 * kHeadFlop) / (4 * kBlocks + 4 * kHeadFlop), 1e-9)
      << "nobody asks it";
}

// The teacher's last states of 32 tokens, of a quarter of 100 sequences at most.
TEST(WorkloadsTest, ADistillationKeepsStatesOfWhatIsHeldOut) {
  const Small small;
  const auto bytes = [&](int64_t holdout) {
    GkdParams gkd;
    gkd.holdout = holdout;
    return Load("gkd", gkd,
                {{"teacher", &small.parent}, {"student", &small.parent}, {"tokens", &small.tokens}})
        .memory_bytes;
  };
  EXPECT_NEAR(bytes(24) - bytes(4), 1.05 * 20 * 32 * 4 * 64, 1);
  EXPECT_EQ(bytes(1000), bytes(25));
}

TEST(WorkloadsTest, AResultInBf16TakesHalfTheDisk) {
  const Small small;
  const Inputs inputs = {
      {"teacher", &small.parent}, {"student", &small.parent}, {"tokens", &small.tokens}};
  GkdParams gkd;
  const double whole = Load("gkd", gkd, inputs).disk_bytes;
  gkd.dtype = "bf16";
  EXPECT_EQ(Load("gkd", gkd, inputs).disk_bytes, whole / 2);
}

// Of what is not trained no gradients are computed and no moments kept.
TEST(WorkloadsTest, ADistillationCostsWhatItTrains) {
  const Small small;
  const auto load = [&](const std::string& train) {
    GkdParams gkd;
    gkd.steps = 5;
    gkd.train = train;
    gkd.rank = 4;
    return Load("gkd", gkd,
                {{"teacher", &small.parent},
                 {"student", &small.parent},
                 {"tokens", &small.tokens},
                 {"activations", &small.states}});
  };
  const Workload all = load("all");
  // Everything forward once and backward twice, the parent's head once more.
  const double all_flops = 3 * 2 * (kAttention + kFfn) + 4 * kHeadFlop;
  const auto ratio = [&](const std::string& train) { return load(train).flops / all.flops; };
  EXPECT_NEAR(ratio("norms"),
              (all_flops - kHeadFlop - 2 * 2 * (3 * 64 * 64 + 64 + 2 * 64 * 128 + 64)) / all_flops,
              1e-9)
      << "gradients of o_proj and down_proj alone";
  EXPECT_NEAR(ratio("changed"), (all_flops - kHeadFlop) / all_flops, 1e-9)
      << "which ones is not known";
  EXPECT_NEAR(ratio("adapters"), (all_flops - kHeadFlop - 2 * 2 * 2 * 64) / all_flops, 1e-9)
      << "go through the matrices' gradients, but no norms'";
  EXPECT_LT(load("norms").memory_bytes, all.memory_bytes);
  EXPECT_EQ(all.shared_bytes, 0) << "both models are copied";
}

TEST(WorkloadsTest, OnlyTheSubBlocksThatDifferAndTheStatesAboveThemAreTrained) {
  ModelConfig teacher;
  teacher.hidden_size = 64;
  teacher.n_heads = 2;
  teacher.head_dim = 32;
  teacher.blocks.assign(4, {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 128}});
  ModelConfig student = teacher;
  student.blocks[1].ffn.size = 32;
  student.blocks[3].attention = {SubBlockForm::kLinear, 0};
  GkdParams gkd;
  gkd.train = "changed";
  const TrainedShare share = ShareOf(gkd, teacher, student);
  EXPECT_EQ(share.first_layer, 1);
  EXPECT_EQ(share.parameters, (3 * 64 * 32 + 64) + (64 * 64 + 64));
  EXPECT_EQ(share.matrices, share.parameters);
  EXPECT_FALSE(share.head);
  gkd.train = "all";
  EXPECT_EQ(ShareOf(gkd, teacher, student).first_layer, 0);
  EXPECT_TRUE(ShareOf(gkd, teacher, student).head);
}

TEST(WorkloadsTest, ABlockCostsItsSizeAndAScoreTheLayersBehindIt) {
  const Small small;
  const auto block = [&](int64_t layer, const std::string& variant) {
    BldParams params;
    params.layer = layer;
    params.variant = variant;
    return Load("bld", params, {{"parent", &small.parent}, {"activations", &small.states}});
  };
  EXPECT_EQ(block(0, "ffn:none").flops, 0);
  EXPECT_EQ(block(0, "ffn:128").flops, 0) << "the parent's own";
  EXPECT_GT(block(0, "ffn:75%").flops, block(0, "ffn:25%").flops);
  EXPECT_FALSE(block(0, "ffn:1000").is_known) << "no such variant: the step will say so";
  const auto score = [&](int64_t layer) {
    const Workload trained = block(layer, "attn:none");
    return Load("score", ScoreParams(),
                {{"parent", &small.parent}, {"activations", &small.states}, {"block", &trained}});
  };
  EXPECT_NEAR((score(0).flops - score(1).flops) / small.states.flops, 0.5, 1e-9)
      << "one of two layers";
}

// A score of a model that is walked through has a block in the type of its products, and what takes
// the place of a part of it in that type and in fp32.
TEST(WorkloadsTest, AScoreHoldsABlockAndTheReplacement) {
  Small small;
  small.trained.hidden = 4096;
  small.trained.heads = small.trained.kv_heads = 32;
  small.trained.ffn = 14336;
  const Workload parent = Load("pretrain", small.trained, {{"tokens", &small.tokens}});
  const Workload states =
      Load("activations", ActivationsParams(), {{"parent", &parent}, {"tokens", &small.tokens}});
  BldParams half;
  half.variant = "ffn:50%";
  const Workload block = Load("bld", half, {{"parent", &parent}, {"activations", &states}});
  ScoreParams params;
  params.compute = "bf16";
  constexpr double kHalfOfTheFfn = 3.0 * 4096 * 7168 + 4096;
  constexpr double kBlock = 4.0 * 4096 * 4096 + 3.0 * 4096 * 14336 + 2 * 4096;
  const auto bytes = [&] {
    return Load("score", params, {{"parent", &parent}, {"activations", &states}, {"block", &block}})
        .memory_bytes;
  };
  EXPECT_EQ(bytes(), 0.1e9 + 2 * kBlock + (4 + 2) * kHalfOfTheFfn);
  params.compute = "fp32";
  EXPECT_EQ(bytes(), 0.1e9 + 4 * kBlock + (4 + 4) * kHalfOfTheFfn);
}

TEST(WorkloadsTest, ShapesComeFromCheckpointsAndWhatIsMissingIsNotKnown) {
  LoadModelParams params;
  params.path = "/nonexistent";
  const Workload missing = Load("load_model", params, {});
  EXPECT_FALSE(missing.is_known);
  const Small small;
  EXPECT_FALSE(Load("evaluate", EvaluateParams(), {{"model", &missing}, {"tokens", &small.tokens}})
                   .is_known);
  const Workload tasks = Load("tasks", TasksParams(), {});
  EXPECT_FALSE(Load("evaluate", EvaluateParams(),
                    {{"model", &small.parent}, {"tokens", &small.tokens}, {"tasks", &tasks}})
                   .is_known)
      << "how long questions are, only their rows say";
  EXPECT_FALSE(WorkloadOf(KindOf("latency"), nullptr, PortWorkloads(1)).is_known);
  const char* data = std::getenv("PUZZLE_DATA");
  params.path = (data != nullptr ? std::string(data) : PUZZLE_SOURCE_DIR "/../shared/data") +
                "/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(params.path)) GTEST_SKIP() << "no " << params.path;
  const Workload loaded = Load("load_model", params, {});
  EXPECT_EQ(loaded.disk_bytes, 0) << "the weights stay in the file";
  EXPECT_EQ(loaded.memory_bytes, 4.0 * 49152 * 576) << "the largest tensor";
  const Workload child = Load("assemble", AssembleParams(), {{"parent", &loaded}});
  EXPECT_EQ(child.disk_bytes, 106'202'880.0) << "a quarter of the blocks, in fp32";
  const Inputs models = {{"teacher", &loaded}, {"student", &child}, {"tokens", &small.tokens}};
  const Workload student = Load("gkd", GkdParams(), models);
  EXPECT_EQ(student.disk_bytes, 4 * 134'515'008.0);
  EXPECT_EQ(Load("assemble", AssembleParams(), {{"parent", &student}}).disk_bytes,
            student.disk_bytes)
      << "of what the store has all is written again";
}

}  // namespace
}  // namespace puzzle
