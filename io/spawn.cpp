#include "io/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "io/error.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

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
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it does not outlive the thread that started it
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

}  // namespace

std::string OwnProgram() {
  std::error_code failure;
  const fs::path path = fs::read_symlink("/proc/self/exe", failure);
  if (failure) throw Error("cannot tell which program this is: " + failure.message());
  return path.string();
}

SpawnedProcess SpawnProcess(const ProcessSpec& spec, bool with_input) {
  PUZZLE_CHECK(!spec.arguments.empty(), "a process without arguments");
  const std::string program = FindProgram(spec);
  std::vector<std::string> argument_texts = spec.arguments, entries = EnvironmentOf(spec);
  std::vector<char*> arguments = Pointers(argument_texts), environment = Pointers(entries);
  Pipe out = MakePipe(), err = MakePipe(), failure = MakePipe();
  Pipe in = with_input ? MakePipe()
                       : Pipe{Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)), Descriptor()};
  SpawnedProcess spawned;
  spawned.pid = ::vfork();
  if (spawned.pid == 0) {
    BecomeProgram(program.c_str(), arguments.data(), environment.data(), spec.folder.c_str(),
                  in.read.get(), out.write.get(), err.write.get());
    const int code = errno;
    [[maybe_unused]] const ssize_t n = ::write(failure.write.get(), &code, sizeof code);
    ::_exit(127);
  }
  if (spawned.pid < 0) {
    throw Error(fmt::format("cannot start \"{}\": {}", program, Reason(errno)));
  }
  failure.write = Descriptor();
  int code = 0;
  if (::read(failure.read.get(), &code, sizeof code) == sizeof code) {
    ::waitpid(spawned.pid, nullptr, 0);
    throw Error(fmt::format("cannot start \"{}\": {}", program, Reason(code)));
  }
  for (const Pipe* pipe : {&out, &err}) ::fcntl(pipe->read.get(), F_SETFL, O_NONBLOCK);
  spawned.in = std::move(in.write);
  spawned.out = std::move(out.read);
  spawned.err = std::move(err.read);
  return spawned;
}

}  // namespace puzzle
