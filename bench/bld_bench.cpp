// How much of the machine's matrix rate blockwise distillation turns into training, and what a
// second lane adds. Trains the variants of one layer on random activations, at the size of a 3 M
// parameter model and at hidden size 1024, with lanes of one thread.
//
//   build/bld_bench [ROUNDS]
//
// Then: what share of the time the parent takes, whose states every variant of a layer learns from,
// when ten variants share them.
//
//   build/bld_bench MODEL TEXT [SEQUENCES [LAYERS [THREADS]]]
//
// Whole steps of a library on a real model, bench/model_steps.h: SEQUENCES (64) of 512 tokens, the
// first LAYERS of it (0: all).
//
// Useful operations are counted in bench/useful_flop.h.
#include <fmt/format.h>

#include <string>
#include <thread>
#include <vector>

#include "apps/machine/blas_kernel.h"
#include "bench/arguments.h"
#include "bench/bld_work.h"
#include "bench/capture.h"
#include "bench/clock.h"
#include "bench/model_steps.h"
#include "bench/useful_flop.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/surgery.h"
#include "nodes/states/artifacts.h"
#include "nodes/train/trainee.h"

namespace puzzle {
namespace {

struct Size {
  ModelConfig config;
  std::vector<std::string> variants;
  int64_t steps;  // per variant and measurement
};

constexpr int64_t kLength = 512, kBatch = 8, kSequences = 16;

Size MakeSize(int64_t hidden, int64_t heads, int64_t kv_heads, int64_t ffn, int64_t steps) {
  Size size;
  size.config.vocab_size = 8;
  size.config.hidden_size = hidden;
  size.config.n_heads = heads;
  size.config.head_dim = hidden / heads;
  size.config.max_positions = kLength;
  size.config.tied_embeddings = true;
  size.config.blocks = {{{SubBlockForm::kFull, kv_heads}, {SubBlockForm::kFull, ffn}}};
  size.variants = {fmt::format("attn:kv{}", kv_heads / 2), "ffn:75%", "ffn:50%", "ffn:25%"};
  size.steps = steps;
  return size;
}

// One lane: trains every variant for some steps. Made before the clock starts.
class Lane {
 public:
  Lane(const Size& size, const Transformer& parent, const SubBlockData& attention,
       const SubBlockData& ffn, const std::string& compute)
      : steps_(size.steps) {
    BldParams params;
    params.compute = compute;
    params.holdout = 1;
    for (const std::string& name : size.variants) {
      const VariantSpec spec = ResolveVariant(name, parent.config(), 0);
      const SubBlockData& data = WhichSubBlock(spec) == SubBlock::kFfn ? ffn : attention;
      trainees_.emplace_back(InitVariant(parent.weights(), 0, spec), spec, parent, data, params,
                             "cpu");
      flop_ += TrainingFlop(spec, parent.config(), kLength) * kBatch * kLength *
               static_cast<double>(steps_);
    }
    Train(1);  // warm-up: optimizer states and pages
  }

  void Train() { Train(steps_); }
  double flop() const { return flop_; }

 private:
  void Train(int64_t steps) {
    for (Trainee& trainee : trainees_)
      for (int64_t step = 0; step < steps; ++step)
        (void)trainee.Step({0, 1, 2, 3, 4, 5, 6, 7}, 1e-4);
  }

  int64_t steps_;
  std::vector<Trainee> trainees_;
  double flop_ = 0;
};

double ProductRate(int64_t hidden, int64_t ffn) {
  const at::Tensor x = at::randn({1024, hidden}), w = at::randn({ffn, hidden});
  at::Tensor y = at::empty({1024, ffn});
  std::vector<double> times;
  for (int i = 0; i < 20; ++i) times.push_back(SpentOn([&] { at::mm_out(y, x, w.t()); }).wall);
  return 2.0 * 1024 * static_cast<double>(hidden * ffn) / Median(times);
}

// Rates in GFLOP/s of several rounds.
struct Rates {
  std::vector<double> product, one, two;
};

void MeasureSize(const Size& size, const std::string& compute, int rounds) {
  const int64_t hidden = size.config.hidden_size, ffn = size.config.blocks[0].ffn.size;
  const Transformer parent(RandomModel(size.config, 1));
  const SubBlockData attention_data = RandomData(parent, SubBlock::kAttention, kSequences, kLength);
  const SubBlockData ffn_data = RandomData(parent, SubBlock::kFfn, kSequences, kLength);
  Lane first(size, parent, attention_data, ffn_data, compute);
  Lane second(size, parent, attention_data, ffn_data, compute);
  Rates rates;
  for (int round = 0; round < rounds; ++round) {
    rates.product.push_back(ProductRate(hidden, ffn) / 1e9);
    rates.one.push_back(first.flop() / SpentOn([&] { first.Train(); }).wall / 1e9);
    const double both = SpentOn([&] {
                          std::thread other([&] {
                            SetThreads(1);
                            second.Train();
                          });
                          first.Train();
                          other.join();
                        }).wall;
    rates.two.push_back((first.flop() + second.flop()) / both / 1e9);
  }
  const double product = Median(rates.product), one = Median(rates.one), two = Median(rates.two);
  fmt::print("| {} | {} | {:.0f} | {:.0f} | {:.0f} % | {:.0f} | {:.2f} |\n", hidden, compute,
             product, one, 100 * one / product, two, two / one);
}

// The parent once over some tokens: its states, and what the variants of attention and FFN see and
// answer. Ten variants for three epochs over the same tokens.
void MeasureParentsShare(Size size, const std::string& compute) {
  size.variants.resize(1);  // half the kv heads
  for (int percent = 90; percent >= 10; percent -= 10)
    size.variants.push_back(fmt::format("ffn:{}%", percent));
  size.steps = 3 * kSequences / kBatch;
  const at::ScalarType products = compute == "bf16" ? at::kBFloat16 : at::kFloat;
  const Transformer parent(RandomModel(size.config, 1));
  const at::Tensor ids = at::randint(size.config.vocab_size, {kSequences, kLength}, at::kLong);
  SubBlockData attention, ffn;
  const Spent parents = SpentOn([&] {
    const Activations states = Capture(parent.WithProductsIn(products), ids, DType::kBF16);
    const auto answers = [&](SubBlock which, const SubBlockData* before) {
      return MakeSubBlockData(parent, states, 0, which, before, products, [] {});
    };
    attention = answers(SubBlock::kAttention, nullptr);
    ffn = answers(SubBlock::kFfn, &attention);
  });
  Lane lane(size, parent, attention, ffn, compute);
  const Spent variants = SpentOn([&] { lane.Train(); });
  fmt::print("| {} | {} | {:.2f} | {:.2f} | {:.1f} % |\n", size.config.hidden_size, compute,
             parents.wall, variants.wall, 100 * parents.wall / (parents.wall + variants.wall));
}

void MeasureRandomLayers(int rounds) {
  fmt::print(
      "| hidden size | steps in | fp32 product, GFLOP/s | useful, one lane | of the product | "
      "useful, "
      "two lanes | two lanes against one |\n|---|---|---|---|---|---|---|\n");
  const std::vector<Size> sizes = {MakeSize(192, 6, 2, 512, 6), MakeSize(1024, 16, 8, 2816, 1)};
  std::vector<std::string> types = {"fp32"};
  if (HasFastBf16("cpu")) types.emplace_back("bf16");
  for (const Size& size : sizes)
    for (const std::string& type : types) MeasureSize(size, type, rounds);
  fmt::print(
      "\n| hidden size | steps in | parent, s | ten variants, three epochs, s | parent's share |\n"
      "|---|---|---|---|---|\n");
  for (const Size& size : sizes)
    for (const std::string& type : types) MeasureParentsShare(size, type);
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);
  puzzle::PrepareTensorRuntime();
  return puzzle::ExitStatusOf([&] {
    const puzzle::Arguments arguments{argc, argv};
    if (argc > 2) {
      puzzle::MeasureModelsSteps({.model = argv[1],
                                  .text = argv[2],
                                  .sequences = arguments.Number(3, 64),
                                  .layers = arguments.Number(4, 0, 0),
                                  .threads = arguments.Number(5, 1)});
    } else {
      puzzle::MeasureRandomLayers(arguments.Number(1, 5));
    }
  });
}
