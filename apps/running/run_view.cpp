#include "apps/running/run_view.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace puzzle {
namespace {

/// Views have escaped what is not theirs.
void PrintRaw(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int TerminalWidth() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

int TerminalHeight() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0) return size.ws_row;
  return 25;
}

/// That of a shell in an editor, say, shows control codes as letters, and says that it knows none.
bool KnowsCodes() {
  const char* type = std::getenv("TERM");
  return type == nullptr || std::string_view(type) != "dumb";
}

}  // namespace

std::unique_ptr<ProgressView> MakeOutputView(bool plain) {
  ProgressOptions progress;
  progress.write = PrintRaw;
  progress.width = TerminalWidth;
  progress.height = TerminalHeight;
  const bool terminal = ::isatty(STDOUT_FILENO) != 0 && KnowsCodes() && !plain;
  return terminal ? MakeTerminalView(std::move(progress)) : MakePlainView(std::move(progress));
}

}  // namespace puzzle
