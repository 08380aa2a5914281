#include "apps/running/fleet_run.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>

#include "apps/cli.h"
#include "io/error.h"
#include "io/spawn.h"

namespace puzzle {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kRound_ms = 100;
constexpr size_t kLongestLine = 4 << 20;
constexpr size_t kKeepErrors = 8 << 10;

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("killed by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
  }
  return fmt::format("it ended with status {}", WEXITSTATUS(status));
}

/// Complete lines of a stream.
class Lines {
 public:
  template <class Take>
  void Add(std::string_view bytes, const Take& take) {
    text_.append(bytes);
    size_t begin = 0;
    for (size_t end; (end = text_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      take(std::string_view(text_).substr(begin, end - begin));
    }
    text_.erase(0, begin);
    if (text_.size() > kLongestLine) text_.clear();
  }

 private:
  std::string text_;
};

/// A launch over all its starts.
class Member {
 public:
  Member(const Launch& launch, Crew& crew, const FleetTimes& times)
      : launch_(launch), crew_(crew), times_(times) {}
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  ~Member() {
    if (!running()) return;
    ::kill(-process_.pid, SIGKILL);
    ::waitpid(process_.pid, nullptr, 0);
  }

  [[nodiscard]] bool running() const { return process_.pid > 0; }
  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] int out() const { return process_.out.get(); }
  [[nodiscard]] int err() const { return process_.err.get(); }

  void StartWhenDue() {
    if (running() || over_ || Clock::now() < due_) return;
    ProcessSpec spec;
    spec.arguments = launch_.arguments;
    errors_ = Transcript(kKeepErrors);
    lines_ = Lines();
    pending_.clear();
    names_.clear();
    began_ = Clock::now();
    try {
      process_ = SpawnProcess(spec, /*with_input=*/true);
    } catch (const Error& error) {
      over_ = true;
      crew_.Warn(fmt::format("{}: {}", launch_.name, error.what()));
    }
  }

  /// Takes what it has written, and notices its end.
  void Listen() {
    if (!running()) return;
    siginfo_t info{};
    const bool ended =
        ::waitid(P_PID, static_cast<id_t>(process_.pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == process_.pid;
    if (ended) ::kill(-process_.pid, SIGKILL);  // what it left running
    while (Read(process_.out, [&](std::string_view bytes) {
      lines_.Add(bytes, [&](std::string_view line) { TakeLine(line); });
    })) {
    }
    while (Read(process_.err, [&](std::string_view bytes) { errors_.Add(bytes); })) {
    }
    if (ended) End();
    if (!asked_ && running() && !launch_.many && !crew_.RefusalOf(launch_.name).empty()) {
      over_ = true;
      Ask();
    }
  }

  /// Asks it to stop, or not to begin again.
  void Ask() {
    over_ = over_ || !running();
    if (asked_) return;
    asked_ = true;
    process_.in = Descriptor();
    if (running() && launch_.here) ::kill(-process_.pid, SIGTERM);
    kill_at_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(times_.grace_s));
  }
  void KillWhenDue() const {
    if (running() && asked_ && Clock::now() >= kill_at_) ::kill(-process_.pid, SIGKILL);
  }

 private:
  template <class Take>
  static bool Read(Descriptor& stream, const Take& take) {
    if (stream.get() < 0) return false;
    std::array<char, 64 << 10> bytes;
    const ssize_t n = ::read(stream.get(), bytes.data(), bytes.size());
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) stream = Descriptor();
    if (n > 0) take(std::string_view(bytes.data(), static_cast<size_t>(n)));
    return n > 0;
  }

  void TakeLine(std::string_view line) {
    if (!launch_.many) {
      names_.insert(launch_.name);
      return crew_.TakeLine(launch_.name, line);
    }
    // "3: {...}"; srun breaks long lines in two.
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) return;
    std::string_view number = line.substr(0, colon), text = line.substr(colon + 2);
    number.remove_prefix(std::min(number.find_first_not_of(' '), number.size()));
    if (number.empty() || number.find_first_not_of("0123456789") != std::string_view::npos) return;
    const std::string name = fmt::format("{}#{}", launch_.name, number);
    std::string& pending = pending_[name];
    if (text.starts_with("{\"")) pending.clear();
    pending.append(text);
    if (pending.size() > kLongestLine) pending.clear();
    if (!pending.ends_with('}')) return;
    names_.insert(name);
    crew_.TakeLine(name, pending);
  }

  void End() {
    int status = 0;
    ::waitpid(process_.pid, &status, 0);
    process_ = SpawnedProcess();
    const std::string said = LastWords();
    const std::string how = HowItEnded(status) + (said.empty() ? "" : ": " + said);
    bool done = !names_.empty();
    for (const std::string& name : names_) {
      done = done && (crew_.IsDone(name) || !crew_.RefusalOf(name).empty());
      crew_.Leave(name, how);
    }
    const bool bad_input = WIFEXITED(status) && WEXITSTATUS(status) == kExitBadInput;
    const bool hopeless = crew_.IsHopeless(launch_.name);
    if (over_ || done || asked_ || launch_.many || bad_input || hopeless) {
      over_ = true;
      if (!done && !asked_ && (names_.empty() || bad_input || hopeless)) {
        crew_.Warn(fmt::format("{} is given up: {}", crew_.NameOf(launch_.name), how));
      }
      return;
    }
    Retry(how);
  }

  void Retry(const std::string& how) {
    const bool lasted = !names_.empty() && Clock::now() - began_ >= Seconds(times_.lasting_s);
    quick_ends_ = lasted ? 0 : quick_ends_ + 1;
    if (quick_ends_ >= times_.tries) {
      over_ = true;
      crew_.Warn(fmt::format("{} is given up: it failed at once {} times, the last time so: {}",
                             crew_.NameOf(launch_.name), quick_ends_, how));
      return;
    }
    const double pause_s =
        times_.first_pause_s * static_cast<double>(1 << std::max(0, quick_ends_ - 1));
    due_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(pause_s));
  }

  /// The end of what it said to standard error, in one line.
  [[nodiscard]] std::string LastWords() const {
    std::string text = errors_.Text();
    while (!text.empty() && text.back() == '\n') text.pop_back();
    constexpr size_t kMost = 600;
    if (text.size() > kMost) text.erase(0, text.find('\n', text.size() - kMost) + 1);
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
  }

  const Launch& launch_;
  Crew& crew_;
  const FleetTimes& times_;
  SpawnedProcess process_;
  Lines lines_;
  std::map<std::string, std::string> pending_;  // of long lines, by worker
  Transcript errors_{kKeepErrors};
  std::set<std::string> names_;  // workers that have spoken since it started
  Clock::time_point began_, due_{}, kill_at_{};
  int quick_ends_ = 0;
  bool asked_ = false, over_ = false;
};

using Members = std::vector<std::unique_ptr<Member>>;

void WaitForWords(const Members& members) {
  std::vector<pollfd> polled;
  for (const auto& member : members) {
    for (const int stream : {member->out(), member->err()}) {
      if (stream >= 0) polled.push_back({stream, POLLIN, 0});
    }
  }
  (void)::poll(polled.data(), polled.size(), kRound_ms);
}

/// The job of an srun that did not end: it may be waiting in the queue, or its tasks may not
/// listen.
void CancelJob(const std::string& name) {
  try {
    ProcessSpec spec;
    spec.arguments = {"scancel", "--quiet", "--name=" + name};
    (void)RunProcess(spec);
  } catch (const Error&) {  // no Slurm here any more; srun is killed anyway
  }
}

}  // namespace

void RunFleet(const Fleet& fleet, Crew& crew, const std::stop_token& stop,
              const FleetTimes& times) {
  Members members;
  for (const Launch& launch : fleet.launches) {
    members.push_back(std::make_unique<Member>(launch, crew, times));
  }
  bool asked = false;
  Clock::time_point cancel_at{};
  while (std::any_of(members.begin(), members.end(),
                     [](const auto& member) { return !member->over() || member->running(); })) {
    for (const auto& member : members) {
      if (!asked) member->StartWhenDue();
      member->Listen();
    }
    crew.Tick();
    if (crew.Complete()) {
      for (const auto& member : members) {  // those that run will find everything done
        if (!member->running()) member->Ask();
      }
    }
    if (!asked && (stop.stop_requested() || crew.Failed())) {
      asked = true;
      cancel_at =
          Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(times.grace_s / 2));
      for (const auto& member : members) member->Ask();
    }
    if (asked && !fleet.job_name.empty() && cancel_at != Clock::time_point() &&
        (crew.Present().empty() || Clock::now() >= cancel_at)) {
      cancel_at = {};
      CancelJob(fleet.job_name);
    }
    for (const auto& member : members) member->KillWhenDue();
    WaitForWords(members);
  }
}

}  // namespace puzzle
