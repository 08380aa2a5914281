// A program as tests see it from outside: started in a folder of its own, waited for or killed, and
// what it said. Used by one thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tests/io/test_files.h"

namespace puzzle::testing {

struct ProgramResult {
  int status = -1;  // exit status, or 128 + signal
  std::string out;
  std::string err;

  [[nodiscard]] std::string text() const { return out + err; }
};

/// A new folder in which one program runs, as often as one likes. Removed at the end.
class ProgramFolder {
 public:
  /// `program`: path of the executable.
  explicit ProgramFolder(std::string program) : program_(std::move(program)) {}

  [[nodiscard]] std::string path() const { return folder_.path(); }
  void Write(const std::string& name, const std::string& text) const;
  /// "" when there is no such file.
  [[nodiscard]] std::string Read(const std::string& name) const;
  /// A discarded value when it is no JSON.
  [[nodiscard]] nlohmann::json ReadJson(const std::string& name) const;

  /// Starts the program. `tag` keeps the output of programs apart that run at once; `prepare` is
  /// called in the new process before it becomes the program.
  [[nodiscard]] pid_t Start(const std::vector<std::string>& arguments, const std::string& tag = "",
                            const std::function<void()>& prepare = {}) const;
  /// Waits for it. REQUIRES: the tag is that of its start.
  [[nodiscard]] ProgramResult Finish(pid_t process, const std::string& tag = "") const;
  /// What it has printed so far.
  [[nodiscard]] std::string OutputOf(const std::string& tag = "") const;
  ProgramResult Run(const std::vector<std::string>& arguments) const {
    return Finish(Start(arguments));
  }

 private:
  const TempFolder folder_;
  const std::string program_;
};

/// How often `word` occurs in `text`.
[[nodiscard]] size_t CountOf(const std::string& word, const std::string& text);

}  // namespace puzzle::testing
