// What a step of global distillation costs: processor time and memory. The student is MODEL with
// three quarters of every FFN's channels; nothing is held out, so that only training is measured.
// With LANES several lanes of THREADS threads each share a step, as with `devices`; MEMORY is what
// the step may take, in MiB, as with `--memory`. With WORDS the loss is KL alone: 0 runs the
// teacher beside the student, k takes so many of its likeliest words beforehand, as
// `teacher_logits` does, and says what that costs. What is useful of a step with the teacher beside
// (bench/useful_flop.h) is counted beside the rate of products of these shapes and this type on as
// many threads, taken before and behind it.
//
//   build/gkd_bench MODEL TEXT [BATCH [STEPS [LENGTH [COMPUTE [RECOMPUTE [THREADS [HEAD
//   [LANES [MEMORY [WORDS]]]]]]]]]]
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "apps/machine/blas_kernel.h"
#include "bench/arguments.h"
#include "bench/bench_context.h"
#include "bench/clock.h"
#include "bench/product_rate.h"
#include "bench/useful_flop.h"
#include "graph/run/memory_meter.h"
#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"
#include "model/math/losses.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/surgery.h"
#include "nodes/data/tokenize.h"
#include "nodes/states/walk.h"
#include "nodes/train/gkd.h"

namespace puzzle {
namespace {

double PeakGib() {
  return static_cast<double>(PeakResidentBytes()) / (1 << 30);
}

// Pages that are no file's: looked at a thousand times a second, the most is kept.
class AnonymousPeak {
 public:
  AnonymousPeak() {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        std::ifstream file("/proc/self/statm");
        uint64_t size = 0, resident = 0, of_files = 0;
        file >> size >> resident >> of_files;
        most_ = std::max(most_.load(), resident - std::min(resident, of_files));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  }
  [[nodiscard]] double gib() const {
    return static_cast<double>(most_.load()) * static_cast<double>(::sysconf(_SC_PAGESIZE)) /
           (1 << 30);
  }

 private:
  std::atomic<uint64_t> most_{0};
  std::jthread thread_;
};

// Says how far the training is.
class Context final : public BenchContext {
 public:
  using BenchContext::BenchContext;

  void Poll(double fraction, std::string_view note) override {
    fmt::print("{:3.0f} %  {}  processor s {:.1f}  peak GiB {:.2f}, anonymous {:.2f}\n",
               100 * fraction, note, (SpentUntilNow() - start_).processor, PeakGib(),
               anonymous_.gib());
  }

 private:
  AnonymousPeak anonymous_;
  Spent start_ = SpentUntilNow();
};

ModelWeights Narrowed(ModelWeights model) {
  const ModelWeights parent = model;
  for (int64_t layer = 0; layer < parent.config.n_layers(); ++layer) {
    const VariantSpec spec = ResolveVariant("ffn:75%", parent.config, layer);
    Replace(model, layer, spec, InitVariant(parent, layer, spec));
  }
  return Clone(model);
}

// The `k` likeliest words of all sequences, taken one after another; says what that costs.
TeacherWords WordsOf(const TeacherOnDevice& teacher, const TokenSet& tokens, int64_t k,
                     at::ScalarType products) {
  const at::NoGradGuard no_grad;
  const Spent start = SpentUntilNow();
  const at::Tensor matrix = teacher.model.weights().HeadMatrix().to(products);
  std::vector<TopWords> all;
  for (int64_t row = 0; row < tokens.sequences(); ++row) {
    const at::Tensor last = teacher.model.FinalNorm(teacher.states({row}).back());
    all.push_back(TopWordsOf({PredictingStates(last), matrix, products}, k));
  }
  fmt::print("{} words of {} tokens taken in {:.1f} processor s\n", k, tokens.ids.size(),
             (SpentUntilNow() - start).processor);
  return [all](const std::vector<int64_t>& rows) {
    std::vector<at::Tensor> ids, log_probability, log_rest;
    for (const int64_t row : rows) {
      const TopWords& words = all[static_cast<size_t>(row)];
      ids.push_back(words.ids);
      log_probability.push_back(words.log_probability);
      log_rest.push_back(words.log_rest);
    }
    return TopWords{at::cat(ids), at::cat(log_probability), at::cat(log_rest)};
  };
}

void Run(const std::string& folder, const std::string& text, const GkdParams& params,
         int64_t length, int threads, uint64_t memory, int64_t words) {
  Context context(static_cast<size_t>(params.devices), threads, memory);
  Transformer parent(LoadCheckpoint(folder));
  const Transformer student(Narrowed(parent.weights()));
  const Transformer teacher(InRoom(std::exchange(parent, student).weights(),
                                   ProductType(params.compute, "cpu"), RoomOfWalk(context)));
  const auto tokenizer = FindTokenizer(folder);
  const TokenSet tokens = PackTokens(ReadWholeFile(text, 1 << 30), *tokenizer,
                                     {.length = length, .sequences = params.batch * params.steps});
  TeacherOnDevice on_cpu{teacher, StatesOf(teacher, tokens)};
  fmt::print(
      "{}\n{} x {} tokens a step, {}, head {}, recompute {}, {} lanes of {} threads; student "
      "{:.1f} "
      "M parameters; peak GiB {:.2f}\n",
      RuntimeDescription(), params.batch, length, params.compute, params.head_compute,
      params.recompute, params.devices, threads,
      static_cast<double>(ByteSize(student.weights())) / 4e6, PeakGib());
  if (words > 0) on_cpu.words = WordsOf(on_cpu, tokens, words, ProductType(params.compute, "cpu"));
  const int all_threads = threads * static_cast<int>(params.devices);
  const at::ScalarType type = ProductType(params.compute, "cpu");
  const std::vector<ProductShape> shapes = ProductShapes(teacher.config(), /*with_head=*/true);
  Rate products = RateOfProducts(shapes, type, all_threads);
  GlobalDistillation end;
  Rate step;
  step.spent =
      SpentOn([&] { end = DistillGlobally({on_cpu}, student, tokens, params, 1, context); });
  products += RateOfProducts(shapes, type, all_threads);
  const auto steps = static_cast<double>(params.steps);
  const double trained = steps * static_cast<double>(params.batch * length);
  step.flop = trained * DistillationFlop(teacher.config(), student.config(), length);
  fmt::print(
      "loss {:.9g}; {:.1f} processor s a step, {:.0f} tokens a processor s; {:.1f} s a step; peak "
      "GiB {:.2f}\n",
      end.loss, step.spent.processor / steps, trained / step.spent.processor,
      step.spent.wall / steps, PeakGib());
  if (words > 0) return;
  fmt::print(
      "useful {:.0f} GFLOP/s of the products' {:.0f}: {:.2f}; a processor s {:.0f} "
      "of {:.0f}: {:.2f}\n",
      step.GflopPerSecond(), products.GflopPerSecond(),
      step.GflopPerSecond() / products.GflopPerSecond(), step.GflopPerProcessorSecond(),
      products.GflopPerProcessorSecond(),
      step.GflopPerProcessorSecond() / products.GflopPerProcessorSecond());
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);
  if (argc < 3) {
    fmt::print(stderr,
               "gkd_bench MODEL TEXT [BATCH [STEPS [LENGTH [COMPUTE [RECOMPUTE [THREADS [HEAD "
               "[LANES [MEMORY [WORDS]]]]]]]]]]\n");
    return 2;
  }
  puzzle::PrepareTensorRuntime();
  return puzzle::ExitStatusOf([&] {
    const puzzle::Arguments arguments{argc, argv};
    puzzle::GkdParams params;
    params.batch = arguments.Number(3, 8);
    params.steps = arguments.Number(4, 1);
    params.holdout = 0;
    params.compute = argc > 6 ? argv[6] : "bf16";
    params.recompute = argc > 7 ? argv[7] : "off";
    const int threads = arguments.Number(8, 1);
    puzzle::SetThreads(threads);
    params.head_compute = argc > 9 ? argv[9] : "auto";
    params.devices = arguments.Number(10, 1);
    const uint64_t memory = argc > 11 ? uint64_t(arguments.Number(11, 1)) << 20 : UINT64_MAX;
    if (argc > 12) params.cosine_weight = 0;
    const int64_t words = arguments.Number(12, 0, 0);
    puzzle::Run(argv[1], argv[2], params, arguments.Number(5, 512), threads, memory, words);
  });
}
