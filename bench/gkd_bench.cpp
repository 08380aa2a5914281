// What a step of global distillation costs: processor time and memory. The student is MODEL with
// three quarters of every FFN's channels; nothing is held out, so that only training is measured.
// With LANES several lanes of THREADS threads each share a step, as with `devices`; MEMORY is what
// the step may take, in MiB, as with `--memory`. With WORDS the loss is KL alone: 0 runs the
// teacher beside the student, k takes so many of its likeliest words beforehand, as
// `teacher_logits` does, and says what that costs.
//
//   build/gkd_bench MODEL TEXT [BATCH [STEPS [LENGTH [COMPUTE [RECOMPUTE [THREADS [HEAD
//   [LANES [MEMORY [WORDS]]]]]]]]]]
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "apps/machine/blas_kernel.h"
#include "graph/run/lane_team.h"
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

double ProcessorSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

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
class Context final : public RunContext {
 public:
  Context(size_t lanes, int threads, uint64_t memory)
      : memory_(memory), team_(lanes), devices_(lanes) {
    for (size_t number = 1; number < lanes; ++number) {
      members_.emplace_back([this, number, threads] {
        BindThreadToDevice("cpu");
        SetThreads(threads);
        team_.Serve(number);
      });
    }
  }
  ~Context() override {
    team_.Dismiss();
    for (std::thread& member : members_) member.join();
  }

  const Device& device() const override { return devices_.front(); }
  std::vector<Device> devices() const override { return devices_; }
  void OnEach(const std::function<void(size_t)>& work) override { team_.OnEach(work); }
  uint64_t seed() const override { return 1; }
  void Poll(double fraction, std::string_view note) override {
    fmt::print("{:3.0f} %  {}  processor s {:.1f}  peak GiB {:.2f}, anonymous {:.2f}\n",
               100 * fraction, note, ProcessorSeconds() - start_, PeakGib(), anonymous_.gib());
  }
  void Warn(const std::string& message) override { fmt::print("{}\n", message); }
  std::shared_ptr<const ArchiveReader> LastSavePoint() override { return nullptr; }
  void KeepSavePoint(const std::function<void(ArchiveWriter&)>&) override {}
  uint64_t resident_bytes() const override { return uint64_t{1} << 30; }
  uint64_t memory_bytes() const override { return memory_; }
  std::string ScratchPath() override {
    return fmt::format("{}/gkd_bench.{}.{}", std::filesystem::temp_directory_path().string(),
                       ::getpid(), ++files_);
  }

 protected:
  std::shared_ptr<const void> ResidentAny(const std::string&,
                                          const std::function<SizedValue()>& make) override {
    return make().value;
  }

 private:
  const uint64_t memory_;
  int files_ = 0;
  AnonymousPeak anonymous_;
  LaneTeam team_;
  std::vector<Device> devices_;
  std::vector<std::thread> members_;
  double start_ = ProcessorSeconds();
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
  const double start = ProcessorSeconds();
  const at::Tensor matrix = teacher.model.weights().HeadMatrix().to(products);
  std::vector<TopWords> all;
  for (int64_t row = 0; row < tokens.sequences(); ++row) {
    const at::Tensor last = teacher.model.FinalNorm(teacher.states({row}).back());
    all.push_back(TopWordsOf({PredictingStates(last), matrix, products}, k));
  }
  fmt::print("{} words of {} tokens taken in {:.1f} processor s\n", k, tokens.ids.size(),
             ProcessorSeconds() - start);
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
  const auto begin = std::chrono::steady_clock::now();
  const double start = ProcessorSeconds();
  const GlobalDistillation end = DistillGlobally({on_cpu}, student, tokens, params, 1, context);
  const double seconds = ProcessorSeconds() - start;
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  const double trained = static_cast<double>(params.steps * params.batch * length);
  fmt::print(
      "loss {:.9g}; {:.1f} processor s a step, {:.0f} tokens a processor s; {:.1f} s a step; peak "
      "GiB {:.2f}\n",
      end.loss, seconds / static_cast<double>(params.steps), trained / seconds,
      wall.count() / static_cast<double>(params.steps), PeakGib());
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
  const auto number = [&](int index, int otherwise) {
    return argc > index ? std::max(1, std::atoi(argv[index])) : otherwise;
  };
  puzzle::PrepareTensorRuntime();
  puzzle::GkdParams params;
  params.batch = number(3, 8);
  params.steps = number(4, 1);
  params.holdout = 0;
  params.compute = argc > 6 ? argv[6] : "bf16";
  params.recompute = argc > 7 ? argv[7] : "off";
  const int threads = number(8, 1);
  puzzle::SetThreads(threads);
  params.head_compute = argc > 9 ? argv[9] : "auto";
  params.devices = number(10, 1);
  const uint64_t memory = argc > 11 ? uint64_t(number(11, 1)) << 20 : UINT64_MAX;
  if (argc > 12) params.cosine_weight = 0;
  const int64_t words = argc > 12 ? std::atoi(argv[12]) : 0;
  puzzle::Run(argv[1], argv[2], params, number(5, 512), threads, memory, words);
}
