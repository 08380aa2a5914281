// Whether a device computes what the CPU does, and how fast it trains and scores one layer: what
// bench/gpu/run.sh asks of a GPU. Ends with 1 when a result is wrong.
//
//   device_check cuda:0 8b      a layer of the shape of Llama-3.1-8B, random weights
//   device_check cpu small      a rehearsal: says nothing about a GPU but that this program runs
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "apps/machine/blas_kernel.h"
#include "bench/bld_work.h"
#include "bench/useful_flop.h"
#include "io/error.h"
#include "model/math/losses.h"
#include "model/math/ops.h"
#include "model/math/optim.h"
#include "model/math/product.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/surgery.h"
#include "nodes/train/trainee.h"

namespace puzzle {
namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

// Largest difference from the CPU in fp32, as a part of the largest value.
constexpr double kFp32Bound = 1e-4, kBf16Bound = 3e-2;

// ---------------------------------------------------------------------------------------------
// Operators against the CPU

struct Op {
  const char* name;
  bool in_bf16;    // it is computed in bf16 as well somewhere
  bool gradients;  // of its inputs, too
  Tensors inputs;  // fp32 or integers, in host memory
  std::function<Tensors(const Tensors&, at::ScalarType)> run;
};

Tensor Random(at::IntArrayRef shape) {
  return at::randn(shape);
}

ModelConfig OpConfig() {
  ModelConfig config;
  config.vocab_size = 96;
  config.hidden_size = 128;
  config.n_heads = 4;
  config.head_dim = 32;
  config.max_positions = 64;
  config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 96}}};
  return config;
}

// Two updates; the weights afterwards.
Tensors UpdatedByAdamW(const Tensors& in) {
  Tensor weights = in[0].detach().clone();
  AdamW optimizer({weights}, {});
  const at::AutoGradMode with_gradients(true);
  for (int update = 0; update < 2; ++update) {
    optimizer.ZeroGrad();
    (weights * in[1]).square().sum().backward();
    (void)optimizer.Step(1e-2);
  }
  return {weights};
}

std::vector<Op> MakeOps() {
  const Tensor targets = at::randint(700, {200}, at::kLong);
  const auto head = [](const Tensors& in, at::ScalarType type, size_t first) {
    return HeadInput{in[first], in[first + 1], type};
  };
  std::vector<Op> ops;
  ops.push_back({"product",
                 true,
                 false,
                 {Random({96, 160}), Random({160, 224})},
                 [](const Tensors& in, at::ScalarType type) -> Tensors {
                   return {Product(in[0].to(type), in[1].to(type))};
                 }});
  ops.push_back(
      {"rms norm",
       false,
       true,
       {Random({3, 17, 128}), Random({128})},
       [](const Tensors& in, at::ScalarType) -> Tensors { return {RmsNorm(in[0], in[1], 1e-5)}; }});
  ops.push_back({"swiglu",
                 true,
                 true,
                 {Random({3, 17, 128}), Random({3, 17, 128})},
                 [](const Tensors& in, at::ScalarType type) -> Tensors {
                   return {SwiGlu(in[0].to(type), in[1].to(type)).to(at::kFloat)};
                 }});
  ops.push_back({"rotary embedding",
                 false,
                 true,
                 {Random({2, 33, 4, 32})},
                 [](const Tensors& in, at::ScalarType) -> Tensors {
                   return {Rotate(in[0], RotaryTable(OpConfig(), 64, in[0].device()), 5)};
                 }});
  for (const int64_t window : {0, 16}) {
    ops.push_back({window == 0 ? "attention" : "attention, window",
                   false,
                   true,
                   {Random({2, 48, 4, 32}), Random({2, 48, 2, 32}), Random({2, 48, 2, 32})},
                   [window](const Tensors& in, at::ScalarType) -> Tensors {
                     return {CausalAttention(in[0], in[1], in[2], window)};
                   }});
  }
  const Tensors heads = {Random({200, 64}), Random({700, 64}), Random({200, 64}),
                         Random({700, 64})};
  ops.push_back({"head: log-sums, KL", true, false, heads,
                 [=](const Tensors& in, at::ScalarType type) -> Tensors {
                   const HeadInput parent = head(in, type, 2);
                   const HeadSums sums =
                       SumHead(head(in, type, 0), targets.to(in[0].device()), &parent);
                   return {sums.log_sum, sums.kl, sums.target};
                 }});
  ops.push_back(
      {"KL loss", true, true, heads, [=](const Tensors& in, at::ScalarType type) -> Tensors {
         const HeadInput teacher{in[2].detach(), in[3].detach(), type};
         return {KlLoss(head(in, type, 0), teacher)};
       }});
  ops.push_back({"cross entropy",
                 true,
                 true,
                 {heads[0], heads[1]},
                 [=](const Tensors& in, at::ScalarType type) -> Tensors {
                   return {CrossEntropyLoss(head(in, type, 0), targets.to(in[0].device()))};
                 }});
  ops.push_back({"cosine loss",
                 false,
                 true,
                 {heads[0], heads[2]},
                 [](const Tensors& in, at::ScalarType) -> Tensors {
                   return {CosineLoss(in[0], in[1].detach())};
                 }});
  ops.push_back({"squared error",
                 false,
                 true,
                 {heads[0], heads[2], Random({200, 1}).abs()},
                 [](const Tensors& in, at::ScalarType) -> Tensors {
                   return {WeightedSquaredError(in[0], in[1].detach(), in[2].detach())};
                 }});
  ops.push_back({"AdamW",
                 false,
                 false,
                 {Random({40, 30}), Random({40, 30})},
                 [](const Tensors& in, at::ScalarType) -> Tensors { return UpdatedByAdamW(in); }});
  return ops;
}

// Outputs, then gradients of a fixed mixture of them, as the CPU can compare them.
Tensors Results(const Op& op, const std::string& device, at::ScalarType type) {
  const at::AutoGradMode with_gradients(op.gradients);
  Tensors inputs;
  for (const Tensor& input : op.inputs) {
    inputs.push_back(input.to(at::Device(device)).detach());
    if (op.gradients) inputs.back().requires_grad_();
  }
  Tensors results = op.run(inputs, type);
  if (op.gradients) {
    Tensor mixture;
    for (const Tensor& result : results) {
      const Tensor part = (result.to(at::kFloat) * result.to(at::kFloat).detach().cos()).sum();
      mixture = mixture.defined() ? mixture + part : part;
    }
    mixture.backward();
    for (const Tensor& input : inputs)
      if (input.grad().defined()) results.push_back(input.grad());
  }
  for (Tensor& result : results) result = result.detach().to(at::kCPU, at::kDouble);
  return results;
}

double LargestDifference(const Tensors& a, const Tensors& b) {
  PUZZLE_CHECK(a.size() == b.size(), "results of an operator");
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double scale = std::max(b[i].abs().max().item<double>(), 1e-30);
    const double difference = (a[i] - b[i]).abs().max().item<double>() / scale;
    largest = difference >= 0 ? std::max(largest, difference) : INFINITY;  // NaN
  }
  return largest;
}

bool CheckOps(const std::string& device) {
  bool good = true;
  fmt::print("| operator | fp32 | bf16 |\n|---|---|---|\n");
  for (const Op& op : MakeOps()) {
    const Tensors reference = Results(op, "cpu", at::kFloat);
    const double fp32 = LargestDifference(Results(op, device, at::kFloat), reference);
    const double bf16 =
        op.in_bf16 ? LargestDifference(Results(op, device, at::kBFloat16), reference) : 0;
    const bool fine = fp32 <= kFp32Bound && bf16 <= kBf16Bound;
    good = good && fine;
    fmt::print("| {} | {:.1e} | {} |{}\n", op.name, fp32,
               op.in_bf16 ? fmt::format("{:.1e}", bf16) : "", fine ? "" : " WRONG");
  }
  return good;
}

// Two lanes at once, each in its own thread, against one alone.
bool CheckLanes(const std::string& device) {
  const std::vector<Op> ops = MakeOps();
  std::vector<Tensors> alone;
  for (const Op& op : ops) alone.push_back(Results(op, device, at::kFloat));
  std::vector<double> largest(2, 0);
  std::vector<std::thread> lanes;
  for (double& difference : largest) {
    lanes.emplace_back([&] {
      BindThreadToDevice(device);
      SetThreads(1);
      for (int round = 0; round < 20; ++round) {
        for (size_t i = 0; i < ops.size(); ++i) {
          difference = std::max(difference,
                                LargestDifference(Results(ops[i], device, at::kFloat), alone[i]));
        }
      }
    });
  }
  for (std::thread& lane : lanes) lane.join();
  const double worst = *std::max_element(largest.begin(), largest.end());
  fmt::print("\ntwo lanes at once, 20 rounds of all operators: largest difference {:.1e}{}\n",
             worst, worst <= kFp32Bound ? "" : " WRONG");
  return worst <= kFp32Bound;
}

// ---------------------------------------------------------------------------------------------
// How fast

struct Size {
  int64_t hidden, heads, kv_heads, ffn, vocab, length, batch, steps;
};

double Seconds(const std::string& device, const std::function<void()>& work) {
  Synchronize(device);
  const auto begin = std::chrono::steady_clock::now();
  work();
  Synchronize(device);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double ProductRate(const Size& size, const std::string& device, at::ScalarType type) {
  const auto options = at::TensorOptions().device(at::Device(device)).dtype(type);
  const int64_t tokens = size.length * size.batch;
  const Tensor x = at::randn({tokens, size.hidden}, options);
  const Tensor w = at::randn({size.ffn, size.hidden}, options);
  Tensor y = at::empty({tokens, size.ffn}, options);
  const auto rounds = [&] {
    for (int64_t i = 0; i < size.steps; ++i) at::mm_out(y, x, w.t());
  };
  rounds();
  return 2.0 * static_cast<double>(tokens * size.hidden * size.ffn * size.steps) /
         Seconds(device, rounds);
}

void MeasureBld(const Size& size, const Transformer& parent, const std::string& device,
                const std::string& compute, double rate) {
  for (const std::string& name :
       {fmt::format("attn:kv{}", size.kv_heads / 2), std::string("ffn:50%")}) {
    const VariantSpec spec = ResolveVariant(name, parent.config(), 0);
    const SubBlockData data = RandomData(parent, WhichSubBlock(spec), size.batch + 1, size.length);
    BldParams params;
    params.compute = compute;
    params.holdout = 1;
    Trainee trainee(InitVariant(parent.weights(), 0, spec), spec, parent, data, params, device);
    std::vector<int64_t> rows;
    for (int64_t row = 0; row < size.batch; ++row) rows.push_back(row);
    (void)trainee.Step(rows, 1e-4);
    const double seconds = Seconds(device, [&] {
      for (int64_t step = 0; step < size.steps; ++step) (void)trainee.Step(rows, 1e-4);
    });
    const double useful = TrainingFlop(spec, parent.config(), size.length) *
                          static_cast<double>(size.batch * size.length * size.steps) / seconds;
    fmt::print("| train {} | {} | {:.4g} | {:.0f} % |\n", name, compute, useful / 1e12,
               100 * useful / rate);
  }
}

void MeasureScore(const Size& size, const Transformer& parent, const std::string& device,
                  at::ScalarType type, double rate) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = parent.config();
  const VariantSpec spec = ResolveVariant("ffn:50%", config, 0);
  const SubBlockWeights candidate =
      WithProductsIn(type, InitVariant(parent.weights(), 0, spec), spec);
  const int64_t tokens = size.batch * size.length;
  const auto options = at::TensorOptions().device(at::Device(device));
  const Tensor input = at::randn({size.batch, size.length, size.hidden}, options);
  const Tensor matrix = at::randn({size.vocab, size.hidden}, options).mul_(0.02);
  const Tensor targets = at::randint(size.vocab, {tokens}, options.dtype(at::kLong));
  const Tensor flat = input.view({tokens, size.hidden});
  const FoldedParent folded = FoldParent({flat, matrix, type}, matrix);
  const auto score = [&] {
    const Tensor out = input + SubBlockOutput(candidate, spec, config, parent.rotary(), input);
    (void)Measure({out.view({tokens, size.hidden}), matrix, type}, targets, folded).Sum();
  };
  score();
  const double seconds = Seconds(device, score);
  const double flop = static_cast<double>(tokens) *
                      (2 * 3 * static_cast<double>(size.hidden * std::get<FfnSpec>(spec).size) +
                       2 * static_cast<double>(size.hidden * size.vocab));
  fmt::print("| score ffn:50%, head of {} words | {} | {:.4g} | {:.0f} % |\n", size.vocab,
             type == at::kBFloat16 ? "bf16" : "fp32", flop / seconds / 1e12,
             100 * flop / seconds / rate);
}

void MeasureLayer(const Size& size, const std::string& device) {
  ModelConfig config;
  config.vocab_size = 8;  // the head is apart
  config.hidden_size = size.hidden;
  config.n_heads = size.heads;
  config.head_dim = size.hidden / size.heads;
  config.max_positions = size.length;
  config.tied_embeddings = true;
  config.blocks = {{{SubBlockForm::kFull, size.kv_heads}, {SubBlockForm::kFull, size.ffn}}};
  const Transformer parent(ToDevice(RandomModel(config, 1), device));
  fmt::print(
      "\n| one layer, {} x {} tokens | products in | useful TFLOP/s | of the product |\n"
      "|---|---|---|---|\n",
      size.batch, size.length);
  std::vector<at::ScalarType> types = {at::kFloat};
  if (HasFastBf16(device)) types.push_back(at::kBFloat16);
  for (const at::ScalarType type : types) {
    const std::string name = type == at::kFloat ? "fp32" : "bf16";
    const double rate = ProductRate(size, device, type);
    fmt::print("| product {} x {} | {} | {:.4g} | |\n", size.hidden, size.ffn, name, rate / 1e12);
    MeasureBld(size, parent, device, name, rate);
    MeasureScore(size, parent, device, type, rate);
  }
}

int Run(const std::string& device, const std::string& shape) {
  PrepareTensorRuntime();
  BindThreadToDevice(device);
  at::manual_seed(1);
  fmt::print("{}, device {}\n\n", RuntimeDescription(), device);
  const bool ops = CheckOps(device);
  const bool lanes = CheckLanes(device);
  MeasureLayer(shape == "8b" ? Size{4096, 32, 8, 14336, 128256, 2048, 4, 10}
                             : Size{128, 4, 2, 352, 1000, 64, 4, 2},
               device);
  return ops && lanes ? 0 : 1;
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);
  const std::string device = argc > 1 ? argv[1] : "cpu", shape = argc > 2 ? argv[2] : "small";
  if (argc > 3 || (shape != "8b" && shape != "small")) {
    fmt::print(stderr, "usage: device_check [cpu|cuda:N [8b|small]]\n");
    return 2;
  }
  try {
    return puzzle::Run(device, shape);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
