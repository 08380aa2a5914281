// What starting a candidate at its own layer saves: scores replacements in every layer of stories3M
// (PUZZLE_DATA, default ../shared/data) from the parent's captured states, and again by running
// whole models. The results have to agree.
//
//   build/score_bench [SEQUENCES]
//
// What a candidate of a real model costs in fp32 and in bf16, every EVERY-th layer's:
//
//   build/score_bench MODEL TEXT [SEQUENCES [EVERY]]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "apps/machine/blas_kernel.h"
#include "bench/arguments.h"
#include "bench/capture.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/surgery.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/tokenize.h"
#include "nodes/measure/score.h"
#include "nodes/states/artifacts.h"

namespace puzzle {
namespace {

constexpr int64_t kBatch = 8;

double Seconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double ProcessorSeconds(const std::function<void()>& run) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  run();
  return now() - start;
}

TokenSet Validation(const std::string& model, const std::string& text, int64_t sequences) {
  const auto tokenizer = FindTokenizer(model);
  return PackTokens(ReadWholeFile(text, 1 << 30), *tokenizer,
                    {.length = 512, .sequences = sequences, .from_end = true});
}

struct Totals {
  double shared_s = 0;                                 // what candidates share
  double reused_s = 0, candidate_s = 0, parent_s = 0;  // seconds
  double largest_difference = 0;                       // of KL and NLL
};

// The candidate's whole model; the parent's last state is kept.
TokenMetrics ScoreWhole(const Transformer& parent, const Transformer& child,
                        const Activations& states) {
  const at::NoGradGuard no_grad;
  const int64_t layers = parent.config().n_layers();
  auto head = [](const Transformer& model, const at::Tensor& last) {
    return HeadInput{PredictingStates(model.FinalNorm(last)), model.weights().HeadMatrix()};
  };
  TokenMetrics metrics;
  for (int64_t first = 0; first < states.sequences(); first += kBatch) {
    const int64_t count = std::min(kBatch, states.sequences() - first);
    const HeadInput reference = head(parent, states.Read(layers, first, count));
    const at::Tensor ids = states.Ids(first, count);
    metrics +=
        Measure(head(child, child.Blocks(child.Embed(ids), 0, layers)), NextTokens(ids), &reference)
            .Sum();
  }
  return metrics;
}

void ScoreBothWays(const Transformer& parent, int64_t layer, const std::string& name,
                   const at::Tensor& before_ffn, const Activations& states,
                   const FoldedParent& folded, Totals& totals) {
  const Captured captured{parent, states};
  const VariantSpec spec = ResolveVariant(name, parent.config(), layer);
  const SubBlockWeights weights = InitVariant(parent.weights(), layer, spec);
  TokenMetrics reused, whole;
  totals.reused_s += Seconds([&] {
    const bool ffn = WhichSubBlock(spec) == SubBlock::kFfn;
    const Replacement replacement{layer, spec, weights, ffn ? before_ffn : at::Tensor()};
    reused = ScoreReplacement(captured, replacement, folded, kBatch, [](double) {}).Sum();
  });
  totals.candidate_s += Seconds([&] {
    ModelWeights replaced = parent.weights();
    Replace(replaced, layer, spec, weights);
    whole = ScoreWhole(parent, Transformer(std::move(replaced), states.length()), states);
  });
  totals.parent_s += Seconds([&] {
    const at::NoGradGuard no_grad;
    for (int64_t first = 0; first < states.sequences(); first += kBatch)
      (void)parent.Blocks(states.Read(0, first, std::min(kBatch, states.sequences() - first)), 0,
                          parent.config().n_layers());
  });
  totals.largest_difference = std::max(
      {totals.largest_difference, std::abs(reused.Mean(Metric::kKl) - whole.Mean(Metric::kKl)),
       std::abs(reused.Mean(Metric::kNll) - whole.Mean(Metric::kNll))});
}

void Run(int64_t sequences) {
  const char* given = std::getenv("PUZZLE_DATA");
  const std::string data = given != nullptr ? given : "../shared/data";
  const Transformer parent(LoadCheckpoint(data + "/models/stories3M"));
  const TokenSet tokens = Validation(data + "/models/stories3M",
                                     data + "/text/tinystories_v2_train_head.txt", sequences);
  const Activations states = Capture(parent, tokens.Batch(0, tokens.sequences()), DType::kF32);
  Totals totals;
  FoldedParent folded;
  totals.shared_s = Seconds([&] { folded = FoldCaptured(parent, {parent, states}, kBatch); });
  for (int64_t layer = 0; layer < parent.config().n_layers(); ++layer) {
    at::Tensor before_ffn;
    totals.shared_s += Seconds([&] {
      before_ffn = StatesBeforeFfn({parent, states}, layer, kBatch);
    });
    for (const char* name : {"attn:kv1", "attn:none", "ffn:50%", "ffn:none"})
      ScoreBothWays(parent, layer, name, before_ffn, states, folded, totals);
  }
  const double ours = totals.shared_s + totals.reused_s;
  const double everything = totals.candidate_s + totals.parent_s;
  fmt::print(
      "| seconds for 24 candidates, {} sequences | | ours against it |\n|---|---|---|\n"
      "| from the candidate's sub-block ({:.1f} s for what candidates share) | {:.1f} | 1 |\n"
      "| the candidate's whole model, parent's last state kept | {:.1f} | {:.2f} |\n"
      "| both whole models | {:.1f} | {:.2f} |\n\nlargest difference of KL and NLL: {:.1e}\n",
      sequences, totals.shared_s, ours, totals.candidate_s, ours / totals.candidate_s, everything,
      ours / everything, totals.largest_difference);
}

// All candidates of a model with products in one type.
struct Candidates {
  double shared_s = 0, candidate_s = 0;  // processor seconds: of what is shared, of one on average
  std::vector<double> increase;          // of KL
};

Candidates ScoreAll(const Transformer& parent, const Activations& states, at::ScalarType type,
                    int64_t every) {
  Candidates all;
  const Transformer model = WithMatricesIn(type, parent);
  const Captured captured{model, states};
  FoldedParent folded;
  TokenFigures as_is;
  all.shared_s = ProcessorSeconds([&] {
    folded = FoldCaptured(model, captured, kBatch);
    as_is = ScoreAsIs(captured, folded, kBatch);
  });
  for (int64_t layer = 0; layer < parent.config().n_layers(); layer += every) {
    at::Tensor before_ffn;
    all.shared_s +=
        ProcessorSeconds([&] { before_ffn = StatesBeforeFfn(captured, layer, kBatch); });
    for (const char* name :
         {"attn:kv1", "attn:none", "ffn:75%", "ffn:50%", "ffn:25%", "ffn:none"}) {
      const VariantSpec spec = ResolveVariant(name, parent.config(), layer);
      const bool ffn = WhichSubBlock(spec) == SubBlock::kFfn;
      const Replacement replacement{layer, spec, InitVariant(parent.weights(), layer, spec),
                                    ffn ? before_ffn : at::Tensor()};
      all.candidate_s += ProcessorSeconds([&] {
        const TokenFigures replaced =
            ScoreReplacement(captured, replacement, folded, kBatch, [](double) {});
        all.increase.push_back(as_is.IncreaseTo(replaced).Sum().Mean(Metric::kKl));
      });
    }
  }
  all.candidate_s /= static_cast<double>(all.increase.size());
  return all;
}

// Rank correlation of values without ties.
double Spearman(const std::vector<double>& a, const std::vector<double>& b) {
  const auto ranks = [](const std::vector<double>& values) {
    std::vector<double> sorted = values, result;
    std::sort(sorted.begin(), sorted.end());
    for (const double value : values)
      result.push_back(static_cast<double>(std::lower_bound(sorted.begin(), sorted.end(), value) -
                                           sorted.begin()));
    return result;
  };
  const std::vector<double> x = ranks(a), y = ranks(b);
  const auto n = static_cast<double>(a.size());
  double squares = 0;
  for (size_t i = 0; i < x.size(); ++i) squares += (x[i] - y[i]) * (x[i] - y[i]);
  return 1 - 6 * squares / (n * (n * n - 1));
}

void RunModel(const std::string& folder, const std::string& text, int64_t sequences,
              int64_t every) {
  const Transformer parent(LoadCheckpoint(folder));
  const TokenSet tokens = Validation(folder, text, sequences);
  const Activations states = Capture(parent, tokens.Batch(0, tokens.sequences()), DType::kF32);
  fmt::print("{}, {} sequences of 512 tokens\n\n", RuntimeDescription(), sequences);
  fmt::print("| products | processor s a candidate | shared by all candidates |\n|---|---|---|\n");
  const Candidates exact = ScoreAll(parent, states, at::kFloat, every);
  fmt::print("| fp32 | {:.2f} | {:.1f} |\n", exact.candidate_s, exact.shared_s);
  if (!HasFastBf16("cpu")) return;
  const Candidates low = ScoreAll(parent, states, at::kBFloat16, every);
  fmt::print("| bf16 | {:.2f} | {:.1f} |\n\n", low.candidate_s, low.shared_s);
  double largest = 0;
  for (size_t i = 0; i < low.increase.size(); ++i)
    largest = std::max(largest, std::abs(low.increase[i] - exact.increase[i]));
  const auto [least, most] = std::minmax_element(exact.increase.begin(), exact.increase.end());
  fmt::print(
      "{} candidates, increase of KL {:.4f} to {:.2f}; Spearman of bf16 and fp32 {:.4f}, largest "
      "difference {:.4f}\n",
      exact.increase.size(), *least, *most, Spearman(exact.increase, low.increase), largest);
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);
  puzzle::PrepareTensorRuntime();
  return puzzle::ExitStatusOf([&] {
    const puzzle::Arguments arguments{argc, argv};
    if (argc > 2) {
      puzzle::RunModel(argv[1], argv[2], arguments.Number(3, 8), arguments.Number(4, 1));
    } else {
      puzzle::Run(arguments.Number(1, 10));
    }
  });
}
