// Runs a fuzz target without libFuzzer: mutates its seeds, and what mutation made of them, for a
// bounded time or number of inputs. An input that ends the process is left in a file.
//
//   graph_spec_fuzz [--seconds S] [--inputs N] [--seed K] [FILE...]   FILEs are run as they are
#include <fcntl.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/fuzz/fuzz.h"

namespace {

constexpr size_t kMaxBytes = 1 << 14;
constexpr size_t kMaxPool = 4000;
constexpr const char* kCrashFile = "fuzz-crash.bin";

std::string current;  // for the handlers below

void SaveCurrent() {
  const int fd = ::open(kCrashFile, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t written = ::write(fd, current.data(), current.size());
  ::close(fd);
}

void OnSignal(int number) {
  SaveCurrent();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

/// Something escaped from the target.
[[noreturn]] void OnTerminate() {
  try {
    if (const auto failure = std::current_exception()) std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "escaped: %s\n", error.what());
  } catch (...) {
    std::fprintf(stderr, "escaped: an exception of unknown type\n");
  }
  SaveCurrent();
  std::fprintf(stderr, "the input is in %s\n", kCrashFile);
  std::abort();
}

void Run(const std::string& input) {
  current = input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(current.data()), current.size());
}

/// Changes texts at random.
class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed), words_(puzzle::fuzz::Words()) {}

  size_t Below(size_t n) { return n == 0 ? 0 : random_() % n; }

  std::string Mutate(std::string text, const std::string& other) {
    for (size_t changes = 1 + Below(4); changes > 0; --changes) Change(text, other);
    if (text.size() > kMaxBytes) text.resize(kMaxBytes);
    return text;
  }

 private:
  void Change(std::string& text, const std::string& other) {
    const size_t at = Below(text.size() + 1);
    const size_t length = 1 + Below(std::min<size_t>(text.size() - at + 1, 32));
    switch (Below(8)) {
      case 0:  // a bit
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << Below(8)));
        break;
      case 1:  // a byte
        if (at < text.size()) text[at] = static_cast<char>(random_());
        break;
      case 2:
        text.erase(at, length);
        break;
      case 3:  // a piece twice
        text.insert(at, text.substr(at, length));
        break;
      case 4:
        text.insert(at, words_[Below(words_.size())]);
        break;
      case 5:
        text.replace(at, length, words_[Below(words_.size())]);
        break;
      case 6: {  // a piece of another input
        const size_t from = Below(other.size() + 1);
        text.insert(at, other.substr(from, 1 + Below(64)));
        break;
      }
      case 7:  // the end of another input
        text = text.substr(0, at) + other.substr(Below(other.size() + 1));
        break;
    }
  }

  std::mt19937 random_;
  std::vector<std::string> words_;
};

}  // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  size_t inputs = SIZE_MAX;
  unsigned seed = 1;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const bool more = i + 1 < argc;
    if (std::strcmp(argv[i], "--seconds") == 0 && more) {
      seconds = std::atof(argv[++i]);
    } else if (std::strcmp(argv[i], "--inputs") == 0 && more) {
      inputs = static_cast<size_t>(std::atoll(argv[++i]));
    } else if (std::strcmp(argv[i], "--seed") == 0 && more) {
      seed = static_cast<unsigned>(std::atoi(argv[++i]));
    } else {
      files.emplace_back(argv[i]);
    }
  }
  std::set_terminate(OnTerminate);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    std::signal(number, OnSignal);
  }
  for (const std::string& name : files) {
    std::ifstream file(name, std::ios::binary);
    Run({std::istreambuf_iterator<char>(file), {}});
  }
  if (!files.empty()) return 0;

  std::vector<std::string> pool = puzzle::fuzz::Seeds();
  for (const std::string& input : pool) Run(input);
  Mutator mutator(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  size_t done = 0;
  for (; done < inputs && std::chrono::steady_clock::now() < end; ++done) {
    std::string input =
        mutator.Mutate(pool[mutator.Below(pool.size())], pool[mutator.Below(pool.size())]);
    Run(input);
    // Some mutants are mutated further; the seeds stay at the front.
    if (pool.size() < kMaxPool && mutator.Below(50) == 0) pool.push_back(std::move(input));
  }
  std::printf("%zu inputs survived\n", done);
  return done == 0 ? 1 : 0;
}
