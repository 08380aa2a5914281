// What it takes to bring a large checkpoint from one folder into another, beside cp of the same
// bytes: seconds, processor seconds, the rate as a share of cp's in the same round, and the peak of
// anonymous memory. The checkpoint has the shape of Llama-3.1-8B, bf16, with as many layers as are
// wanted (32 make 16 GB) and random values over and over. FOLDER is made, takes twice the bytes of
// the checkpoint, and is removed; with 0 rounds FOLDER/model is left, for others. Whatever was
// written last pushes others out of the page cache, so every measurement begins alike: "cold", with
// nothing of the checkpoint in it, or "warm", with what fits.
//
//   build/stream_bench FOLDER [LAYERS [ROUNDS [cold|warm]]]
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "apps/machine/blas_kernel.h"
#include "bench/arguments.h"
#include "io/error.h"
#include "io/file.h"
#include "io/ggml_types.h"
#include "model/files/checkpoint.h"
#include "model/files/gguf_checkpoint.h"
#include "model/files/open_checkpoint.h"
#include "model/pch.h"
#include "model/shape/variant.h"
#include "model/unread.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr double kMib = 1 << 20;

double AnonymousMib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "RssAnon:") continue;
    double kib = 0;
    status >> kib;
    return kib / 1024;
  }
  return 0;
}

// The peak of anonymous memory while it lives, looked at every few milliseconds.
class AnonymousPeak {
 public:
  AnonymousPeak()
      : before_(AnonymousMib()), watcher_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            peak_ = std::max(peak_.load(), AnonymousMib());
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
          }
        }) {}
  // Above what there was before.
  [[nodiscard]] double Mib() const { return std::max(0.0, peak_ - before_); }

 private:
  double before_;
  std::atomic<double> peak_ = 0;
  std::jthread watcher_;
};

double ProcessorSeconds(int who) {
  rusage usage = {};
  ::getrusage(who, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Runs `work` and prints what it took for so many MiB, and, unless `cp_s` is 0, what share of cp's
// rate its own is; `who` computes. Returns the seconds.
double Measure(const std::string& what, double mib, double cp_s, int who,
               const std::function<void()>& work) {
  const AnonymousPeak peak;
  const double before_s = ProcessorSeconds(who);
  const auto start = std::chrono::steady_clock::now();
  work();
  const double wall_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{:26} {:7.0f} MiB/s {:7.1f} s {:7.1f} s of processor", what, mib / wall_s, wall_s,
             ProcessorSeconds(who) - before_s);
  if (cp_s > 0) fmt::print("   {:4.0f} % of cp", 100 * cp_s / wall_s);
  if (who == RUSAGE_SELF) fmt::print("   anonymous peak {:.0f} MiB", peak.Mib());
  fmt::print("\n");
  std::fflush(stdout);
  return wall_s;
}

// Values from a table, over and over.
class Pattern final : public TensorSource, public TensorSource::Rows {
 public:
  Pattern(Shape shape, const at::Tensor& table) : shape_(std::move(shape)), table_(table) {}
  at::Tensor Read() const override {
    at::Tensor values = at::empty(shape_, at::kBFloat16);
    Fill(0, values.numel(), values.data_ptr());
    return values.to(at::kFloat);
  }
  const TensorSource::Rows* rows() const override { return shape_.size() == 2 ? this : nullptr; }
  void ReadRows(int64_t first, std::span<float> out) const override {
    at::Tensor rows = at::empty({std::ssize(out)}, at::kBFloat16);
    Fill(first * shape_[1], rows.numel(), rows.data_ptr());
    rows = rows.to(at::kFloat);
    std::copy_n(rows.data_ptr<float>(), rows.numel(), out.data());
  }
  bool ReadStored(int64_t first, int64_t count, DType type, void* out) const override {
    if (type != DType::kBF16) return false;
    Fill(first * shape_[1], count * shape_[1], out);
    return true;
  }

 private:
  void Fill(int64_t first, int64_t elements, void* out) const {
    auto* to = static_cast<at::BFloat16*>(out);
    const auto* from = table_.data_ptr<at::BFloat16>();
    int64_t place = first % table_.numel();
    while (elements > 0) {
      const int64_t count = std::min(elements, table_.numel() - place);
      std::memcpy(to, from + place, static_cast<size_t>(count) * sizeof(at::BFloat16));
      to += count;
      elements -= count;
      place = 0;
    }
  }

  Shape shape_;
  const at::Tensor& table_;
};

ModelConfig Llama8B(int64_t layers) {
  ModelConfig config;
  config.vocab_size = 128256;
  config.hidden_size = 4096;
  config.n_heads = 32;
  config.head_dim = 128;
  config.max_positions = 8192;
  config.tied_embeddings = false;
  config.stored_dtype = DType::kBF16;
  const BlockSpec block{{SubBlockForm::kFull, 8}, {SubBlockForm::kFull, 14336}};
  config.blocks.assign(static_cast<size_t>(layers), block);
  return config;
}

double LargestMib(const ModelConfig& config) {
  ModelWeights outline = Outline(config);
  int64_t largest = 0;
  for (const auto& [name, slot] : Slots(outline)) largest = std::max(largest, slot->numel());
  return static_cast<double>(largest) * static_cast<double>(ElementSize(config.stored_dtype)) /
         kMib;
}

double FolderMib(const fs::path& folder) {
  double bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    bytes += static_cast<double>(entry.file_size());
  return bytes / kMib;
}

void WriteSource(const std::string& folder, const ModelConfig& config) {
  const at::Tensor table = (at::randn({1'000'003}) * 0.02).to(at::kBFloat16);
  ModelWeights model = Outline(config);
  for (const auto& [name, slot] : Slots(model)) {
    const Shape shape = slot->sizes().vec();
    *slot = Unread(shape, std::make_shared<Pattern>(shape, table));
  }
  SaveCheckpoint(folder, model);
}

void CheckRoom(const fs::path& folder, const ModelConfig& config, int64_t rounds) {
  const auto bytes =
      2.0 * static_cast<double>(CountBlockParameters(config) + CountNonBlockParameters(config));
  const double wanted = (rounds > 0 ? 2.05 : 1.02) * bytes;
  const auto free = static_cast<double>(fs::space(fs::absolute(folder).parent_path()).available);
  if (free < wanted)
    throw Error(fmt::format("{}: {:.0f} MiB are free and {:.0f} needed; take fewer layers",
                            folder.string(), free / kMib, wanted / kMib));
}

void Run(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw Error("failed: " + command);
}

// The disk has the files, and the page cache all that fits, or nothing, of them.
void BeginAlike(const std::string& folder, bool is_warm) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const Descriptor file = OpenPlainFile(entry.path().string(), O_RDONLY);
    const bool is_done = file.get() >= 0 && ::fdatasync(file.get()) == 0 &&
                         ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED) == 0;
    if (!is_done) throw Error(entry.path().string() + ": cannot be taken out of the page cache");
  }
  ::sync();  // what was written and removed before is not waited for later
  if (is_warm) Run(fmt::format("cat '{}'/* > /dev/null", folder));
}

void Bench(const fs::path& folder, int64_t layers, int64_t rounds, bool is_warm) {
  const ModelConfig config = Llama8B(layers);
  CheckRoom(folder, config, rounds);
  const std::string source = folder / "model", out = folder / "out";
  WriteSource(source, config);
  const double mib = FolderMib(source);
  fmt::print("{} layers, {:.0f} MiB, the largest tensor {:.0f} MiB, {}\n", layers, mib,
             LargestMib(config), is_warm ? "warm" : "cold");
  const auto save_as = [&](DType type) {
    ModelWeights model = OpenCheckpoint(source);
    model.config.stored_dtype = type;
    SaveCheckpoint(out, model);
  };
  double cp_s = 0;  // of this round
  const auto measure = [&](const char* what, int who, const std::function<void()>& work) {
    BeginAlike(source, is_warm);
    const double seconds = Measure(what, mib, cp_s, who, work);
    fs::remove_all(out);
    return seconds;
  };
  const std::string copy = fmt::format("cp -r --reflink=never '{}' '{}'", source, out);
  for (int64_t round = 0; round < rounds; ++round) {
    cp_s = 0;
    cp_s = measure("cp", RUSAGE_CHILDREN, [&] { Run(copy); });
    // A GGUF file gets its name when the disk has it.
    measure("cp, until the disk has it", RUSAGE_CHILDREN,
            [&] { Run(fmt::format("{} && sync '{}'/*", copy, out)); });
    measure("folder, bf16 as it is", RUSAGE_SELF, [&] { save_as(DType::kBF16); });
    measure("folder, bf16 to f16", RUSAGE_SELF, [&] { save_as(DType::kF16); });
    measure("GGUF, bf16 as it is", RUSAGE_SELF, [&] {
      fs::create_directories(out);
      (void)SaveGguf(out + "/model.gguf", OpenCheckpoint(source), {FindWritableGgmlType("BF16")});
    });
  }
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  puzzle::RestartUnlessBlasPrepared(argv);
  const std::string state = argc > 4 ? argv[4] : "cold";
  if (argc < 2 || std::filesystem::exists(argv[1]) || (state != "cold" && state != "warm")) {
    fmt::print(stderr,
               "stream_bench FOLDER [LAYERS [ROUNDS [cold|warm]]]: FOLDER must not be there\n");
    return 2;
  }
  int rounds = 0;
  const int status = puzzle::ExitStatusOf([&] {
    const puzzle::Arguments arguments{argc, argv};
    const int layers = arguments.Number(2, 2);
    rounds = arguments.Number(3, 3, 0);
    puzzle::Bench(argv[1], layers, rounds, state == "warm");
  });
  if (rounds > 0 || status != 0) std::filesystem::remove_all(argv[1]);
  return status;
}
