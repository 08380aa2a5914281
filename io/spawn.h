// Starts a program of somebody else's and hands its ends over; process.h waits for one, whoever has
// several to watch begins here. Thread-safe.
#pragma once

#include <sys/types.h>

#include "io/file.h"
#include "io/process.h"

namespace puzzle {

struct SpawnedProcess {
  pid_t pid = -1;       // leads a process group of its own; the caller waits for it
  Descriptor in;        // its standard input, when that was asked for
  Descriptor out, err;  // what it writes; reading does not block
};

/// Starts what `spec` says. It is killed when the thread that started it ends, inherits no other
/// file, and reads nothing from standard input unless `with_input`. Throws Error.
[[nodiscard]] SpawnedProcess SpawnProcess(const ProcessSpec& spec, bool with_input = false);

/// The file of the program that runs here. Throws Error.
[[nodiscard]] std::string OwnProgram();

}  // namespace puzzle
