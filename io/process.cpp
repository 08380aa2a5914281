#include "io/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "io/error.h"
#include "io/file.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kWatchInterval = std::chrono::milliseconds(100);
constexpr size_t kLongestLine = 256;     // of what is shown as progress
constexpr size_t kReadAtOnce = 1 << 20;  // between two looks at the rest of the world

std::string Reason(int code) {
  return std::strerror(code);
}

struct Pipe {
  Descriptor read, write;
};

Pipe MakePipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw Error(fmt::format("cannot make a pipe: {}", Reason(errno)));
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

std::vector<std::string> EnvironmentOf(const ProcessSpec& spec) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (spec.environment.count(std::string(text.substr(0, text.find('=')))) == 0)
      all.emplace_back(text);
  }
  for (const auto& [name, value] : spec.environment) all.push_back(name + '=' + value);
  return all;
}

std::string SearchPath(const ProcessSpec& spec) {
  if (const auto own = spec.environment.find("PATH"); own != spec.environment.end())
    return own->second;
  const char* path = std::getenv("PATH");
  return path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
}

bool IsProgram(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
}

// Where the program is, whatever folder it will run in.
std::string FindProgram(const ProcessSpec& spec) {
  const std::string& name = spec.arguments.front();
  if (name.find('/') != std::string::npos) {
    const std::string path = fs::absolute(name).string();
    if (IsProgram(path)) return path;
    throw Error(fmt::format("\"{}\" is no program that may be run", name));
  }
  const std::string search = SearchPath(spec);
  for (size_t begin = 0; begin <= search.size();) {
    const size_t end = std::min(search.find(':', begin), search.size());
    const std::string folder = search.substr(begin, end - begin);
    const std::string path = fs::absolute(folder.empty() ? "." : folder) / name;
    if (IsProgram(path)) return path;
    begin = end + 1;
  }
  throw Error(fmt::format("there is no program \"{}\" in PATH ({})", name, search));
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// What the new process does before it becomes the program; calls nothing that is not allowed
// between vfork and exec. Only returns when it failed, with errno set.
void BecomeProgram(const char* program, char** arguments, char** environment, const char* folder,
                   int in, int out, int err) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it does not outlive us, however we end
  struct sigaction as_usual {};
  as_usual.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &as_usual, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(in, STDIN_FILENO) < 0 || ::dup2(out, STDOUT_FILENO) < 0 ||
      ::dup2(err, STDERR_FILENO) < 0 || (*folder != '\0' && ::chdir(folder) != 0))
    return;
  // Files of this process are opened to be closed here; this is for those of libraries.
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  ::execve(program, arguments, environment);
}

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
    const std::string program = FindProgram(spec_);
    std::vector<std::string> argument_texts = spec_.arguments, entries = EnvironmentOf(spec_);
    std::vector<char*> arguments = Pointers(argument_texts), environment = Pointers(entries);
    Pipe out = MakePipe(), err = MakePipe(), failure = MakePipe();
    for (const Pipe* pipe : {&out, &err}) {
      ::fcntl(pipe->read.get(), F_SETFL, O_NONBLOCK);
      ::fcntl(pipe->read.get(), F_SETPIPE_SZ, static_cast<int>(kReadAtOnce));  // fewer switches
    }
    const Descriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    pid_ = ::vfork();
    if (pid_ == 0) {
      BecomeProgram(program.c_str(), arguments.data(), environment.data(), spec_.folder.c_str(),
                    nothing.get(), out.write.get(), err.write.get());
      const int code = errno;
      [[maybe_unused]] const ssize_t n = ::write(failure.write.get(), &code, sizeof code);
      ::_exit(127);
    }
    if (pid_ < 0) {
      reaped_ = true;
      throw Error(fmt::format("cannot start \"{}\": {}", program, Reason(errno)));
    }
    out_ = std::move(out.read);
    err_ = std::move(err.read);
    failure.write = Descriptor();
    int code = 0;
    if (::read(failure.read.get(), &code, sizeof code) == sizeof code) {
      Reap();
      throw Error(fmt::format("cannot start \"{}\": {}", program, Reason(code)));
    }
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
  bool reaped_ = false;
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
