#include "apps/frame/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "io/error.h"

namespace puzzle {
namespace {

// A signal handler reaches nothing but globals; these belong to the one SignalWatcher.
int pipe_ends[2] = {-1, -1};
std::atomic<int> signals_seen{0};  // lock-free, hence allowed in a handler
struct sigaction old_int, old_term;

void OnSignal(int) {
  if (signals_seen.fetch_add(1) > 0) ::_exit(130);
  constexpr char kText[] = "\nstopping; once more to kill\n";
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  n = ::write(pipe_ends[1], "s", 1);
}

}  // namespace

SignalWatcher::SignalWatcher() {
  PUZZLE_CHECK(pipe_ends[0] < 0, "two signal watchers at once");
  PUZZLE_CHECK(::pipe2(pipe_ends, O_CLOEXEC) == 0, "no pipe");
  signals_seen = 0;
  thread_ = std::thread([this] {
    char what = 0;
    while (::read(pipe_ends[0], &what, 1) < 0 && errno == EINTR) {
    }
    if (what == 's') stop_.request_stop();
  });
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, &old_int);
  ::sigaction(SIGTERM, &action, &old_term);
}

SignalWatcher::~SignalWatcher() {
  ::sigaction(SIGINT, &old_int, nullptr);
  ::sigaction(SIGTERM, &old_term, nullptr);
  [[maybe_unused]] const ssize_t n = ::write(pipe_ends[1], "q", 1);
  thread_.join();
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
  pipe_ends[0] = pipe_ends[1] = -1;
}

}  // namespace puzzle
