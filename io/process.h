// A program of somebody else's, run under watch: its output is read as it comes and kept in bounded
// memory, and nothing of it outlives the call. Thread-safe (no shared state).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace puzzle {

/// What is kept of a stream of any length: its beginning and its end, in equal parts.
class Transcript {
 public:
  explicit Transcript(size_t keep_bytes) : keep_bytes_(keep_bytes) {}

  void Add(std::string_view bytes);
  /// Bytes that came, kept or not.
  [[nodiscard]] uint64_t total() const { return total_; }
  [[nodiscard]] bool complete() const { return total_ <= keep_bytes_; }
  /// All of it, or beginning and end, of `most` bytes together, with "[N bytes left out]" between.
  [[nodiscard]] std::string Text(size_t most = SIZE_MAX) const;

 private:
  size_t keep_bytes_;
  std::string head_, tail_;  // tail_ grows to twice its share before it is cut
  uint64_t total_ = 0;
};

struct ProcessSpec {
  std::vector<std::string> arguments;  // the program first: a path, or a name to find in PATH
  std::string folder;                  // it runs there; empty: here
  std::map<std::string, std::string> environment;  // beside, or instead of, what this process has
  size_t keep_out = 64 << 10;                      // bytes of standard output
  size_t keep_err = 64 << 10;                      // bytes of standard error
  double grace_s = 5;                              // from SIGTERM to SIGKILL when it has to end
};

struct ProcessResult {
  int exit_status = 0;  // 128 + signal when one ended it
  int signal = 0;
  Transcript out, err;
};

/// Runs a program and waits for it. It leads a process group of its own, reads nothing from
/// standard input and inherits no other file. `watch` is called about ten times a second with the
/// line that was written last, on either stream; when it throws, the group gets SIGTERM, SIGKILL
/// after the grace, and the exception goes on. What the program leaves running in its group when it
/// ends is killed. Throws Error when it cannot be started.
[[nodiscard]] ProcessResult RunProcess(
    const ProcessSpec& spec, const std::function<void(const std::string& last_line)>& watch = {});

}  // namespace puzzle
