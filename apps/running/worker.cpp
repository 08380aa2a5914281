#include "apps/running/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "graph/crew/worker_line.h"
#include "graph/store/locks.h"
#include "io/error.h"

namespace puzzle {
namespace {

constexpr std::chrono::seconds kBeaconPatience{5};
constexpr int kGraceAfterFront_ms = 30'000;

void WriteOut(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

void CheckBeacon(const std::string& store, const std::string& beacon) {
  if (beacon.empty()) return;
  const std::string folder = store + "/tmp", path = folder + '/' + beacon;
  const auto end = std::chrono::steady_clock::now() + kBeaconPatience;
  struct stat info {};
  while (::lstat(path.c_str(), &info) != 0) {
    if (std::chrono::steady_clock::now() >= end) {
      throw Error(fmt::format(
          "the store \"{}\" of {} is not the one of the run that started this worker: put it on a "
          "file system that all machines see, under the same path (--store)",
          store, HostName()));
    }
    std::error_code ignored;  // listing a folder asks the server, a name may be remembered as gone
    (void)(std::filesystem::directory_iterator(folder, ignored) ==
           std::filesystem::directory_iterator());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void SayHello(const Plan& plan, const std::string& tool) {
  ::signal(SIGPIPE, SIG_IGN);  // a front that is gone is noticed on standard input
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  const LiveRun self{HostName(), ::getpid(), ProcessToken(), 0};
  const char* node = std::getenv("SLURMD_NODENAME");
  WriteOut(HelloLine(
      {node == nullptr ? HostName() : node, self.Name(), tool, PlanMark(plan), now.count()}));
}

std::unique_ptr<EventWriter> MakeWorkerEvents() {
  return std::make_unique<EventWriter>([](const std::string& line) { WriteOut(line); });
}

FrontWatch::FrontWatch(std::function<void()> stop) {
  std::array<int, 2> ends{};
  PUZZLE_CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0, "no pipe");
  wake_read_ = Descriptor(ends[0]);
  wake_write_ = Descriptor(ends[1]);
  thread_ = std::thread([this, stop = std::move(stop)] {
    std::array<pollfd, 2> polled = {pollfd{STDIN_FILENO, POLLIN, 0},
                                    pollfd{wake_read_.get(), POLLIN, 0}};
    std::array<char, 256> ignored{};
    do {
      if (::poll(polled.data(), polled.size(), -1) < 0) continue;
      if (polled[1].revents != 0) return;
    } while (polled[0].revents == 0 || ::read(STDIN_FILENO, ignored.data(), ignored.size()) > 0);
    stop();
    if (::poll(&polled[1], 1, kGraceAfterFront_ms) == 0) ::_exit(130);
  });
}

FrontWatch::~FrontWatch() {
  wake_write_ = Descriptor();
  thread_.join();
}

}  // namespace puzzle
