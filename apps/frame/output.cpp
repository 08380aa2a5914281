#include "apps/frame/output.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "apps/cli.h"
#include "io/printable.h"

namespace puzzle {
namespace {

std::atomic<int> first_failure{0};  // errno; streams remember only that there was one

void NoteFailure() {
  int none = 0;
  first_failure.compare_exchange_strong(none, errno == 0 ? EIO : errno);
}

}  // namespace

void PrintLater(std::string_view text) {
  const std::string shown = Printable(text);
  if (std::fwrite(shown.data(), 1, shown.size(), stdout) != shown.size()) NoteFailure();
}

void PrintText(std::string_view text) {
  PrintLater(text);
  if (std::fflush(stdout) != 0) NoteFailure();
}

void SayText(std::string_view text) {
  const std::string shown = Printable(text);
  std::fwrite(shown.data(), 1, shown.size(), stderr);
}

int AfterPrinting(int code) {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) NoteFailure();
  if (first_failure == 0) return code;
  Say("puzzle: cannot write to standard output: {}\n", std::strerror(first_failure));
  return code == kExitDone ? kExitFailed : code;
}

}  // namespace puzzle
