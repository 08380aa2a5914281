#include "io/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "io/error.h"
#include "io/file.h"
#include "io/spawn.h"

namespace puzzle {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kWatchInterval = std::chrono::milliseconds(100);
constexpr size_t kLongestLine = 256;     // of what is shown as progress
constexpr size_t kReadAtOnce = 1 << 20;  // between two looks at the rest of the world

// The last line that was written, for people who wait.
class LastLine {
 public:
  void Add(std::string_view bytes) {
    if (bytes.size() > 2 * kLongestLine) bytes.remove_prefix(bytes.size() - 2 * kLongestLine);
    for (const char c : bytes) {
      if (c == '\n' || c == '\r') {
        if (!line_.empty()) last_.swap(line_);
        line_.clear();
      } else if (line_.size() < kLongestLine) {
        line_ += c;
      }
    }
  }
  [[nodiscard]] const std::string& text() const { return line_.empty() ? last_ : line_; }

 private:
  std::string line_, last_;
};

// A running program, its group, and the reading ends of its output.
class Process {
 public:
  explicit Process(const ProcessSpec& spec)
      : spec_(spec), result_{0, 0, Transcript(spec.keep_out), Transcript(spec.keep_err)} {
    Start();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (!reaped_) End();
  }

  ProcessResult Wait(const std::function<void(const std::string&)>& watch) {
    auto next_look = Clock::now();
    while (!Exited()) {
      ReadFor(kWatchInterval);
      if (watch && Clock::now() >= next_look) {
        watch(last_line_.text());
        next_look = Clock::now() + kWatchInterval;
      }
    }
    ::kill(-pid_, SIGKILL);  // what it left running; the group is ours until the leader is reaped
    while (Read(0) > 0) {
    }
    Reap();
    return std::move(result_);
  }

 private:
  void Start() {
    SpawnedProcess spawned = SpawnProcess(spec_);
    for (const Descriptor* pipe : {&spawned.out, &spawned.err}) {
      ::fcntl(pipe->get(), F_SETPIPE_SZ, static_cast<int>(kReadAtOnce));  // fewer switches
    }
    pid_ = spawned.pid;
    reaped_ = false;
    out_ = std::move(spawned.out);
    err_ = std::move(spawned.err);
  }

  // Whether the leader has ended; it stays a zombie, so that no other group gets its number.
  [[nodiscard]] bool Exited() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == pid_;
  }

  // Reads what comes within `time`, or until both streams have ended.
  void ReadFor(Clock::duration time) {
    const auto end = Clock::now() + time;
    size_t got = 0;
    while (got < kReadAtOnce && Clock::now() < end && !Exited()) {
      // A program that ended closes its streams, which wakes us; one that closed them early does
      // not, hence short naps.
      got += Read(open_streams() == 0 ? 10 : 50);
    }
  }

  [[nodiscard]] int open_streams() const { return (out_.get() >= 0) + (err_.get() >= 0); }

  // Waits up to `timeout_ms` for output and takes what is there; returns its bytes.
  size_t Read(int timeout_ms) {
    std::array<pollfd, 2> polled = {pollfd{out_.get(), POLLIN, 0}, pollfd{err_.get(), POLLIN, 0}};
    if (::poll(polled.data(), polled.size(), timeout_ms) <= 0) return 0;
    return (polled[0].revents != 0 ? Take(out_, result_.out) : 0) +
           (polled[1].revents != 0 ? Take(err_, result_.err) : 0);
  }

  size_t Take(Descriptor& stream, Transcript& transcript) {
    buffer_.resize(64 << 10);
    const ssize_t n = ::read(stream.get(), buffer_.data(), buffer_.size());
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) stream = Descriptor();
    if (n <= 0) return 0;
    const std::string_view bytes(buffer_.data(), static_cast<size_t>(n));
    transcript.Add(bytes);
    last_line_.Add(bytes);
    return bytes.size();
  }

  // Asks the group to end, waits for a while, makes it.
  void End() {
    ::kill(-pid_, SIGTERM);
    ::kill(-pid_, SIGCONT);
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(spec_.grace_s));
    while (!Exited() && Clock::now() < end) Read(10);
    ::kill(-pid_, SIGKILL);
    Reap();
  }

  void Reap() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    reaped_ = true;
    result_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    result_.exit_status = result_.signal > 0 ? 128 + result_.signal : WEXITSTATUS(status);
  }

  const ProcessSpec& spec_;
  ProcessResult result_;
  pid_t pid_ = -1;
  bool reaped_ = true;
  Descriptor out_, err_;
  std::string buffer_;
  LastLine last_line_;
};

}  // namespace

void Transcript::Add(std::string_view bytes) {
  total_ += bytes.size();
  const size_t share = keep_bytes_ / 2;
  const size_t to_head = std::min(bytes.size(), share - head_.size());
  head_ += bytes.substr(0, to_head);
  bytes.remove_prefix(to_head);
  const size_t rest = keep_bytes_ - share;
  if (bytes.size() > rest) bytes.remove_prefix(bytes.size() - rest);
  tail_ += bytes;
  if (tail_.size() > 2 * rest) tail_.erase(0, tail_.size() - rest);
}

std::string Transcript::Text(size_t most) const {
  most = std::min(most, keep_bytes_);
  if (total_ <= most) return head_ + tail_;
  const std::string all = complete() ? head_ + tail_ : "";
  const std::string_view front = complete() ? all : head_, back = complete() ? all : tail_;
  const size_t begin = std::min(front.size(), most / 2);
  const size_t end = std::min(back.size(), most - begin);
  return fmt::format("{}\n[{} bytes left out]\n{}", front.substr(0, begin), total_ - begin - end,
                     back.substr(back.size() - end));
}

ProcessResult RunProcess(const ProcessSpec& spec,
                         const std::function<void(const std::string&)>& watch) {
  PUZZLE_CHECK(!spec.arguments.empty(), "a process without arguments");
  return Process(spec).Wait(watch);
}

}  // namespace puzzle
