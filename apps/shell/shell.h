// What shells and packages ask of the program, which is no verb for people: `puzzle complete
// WORD...` prints what the last word may become (apps/shell/complete.h), `puzzle manual` the manual
// page (apps/shell/manual.h).
#pragma once

#include <optional>

#include "apps/cli.h"

namespace puzzle {

/// The exit code when that was asked. `app` has all verbs.
[[nodiscard]] std::optional<int> AnswerShell(int argc, char** argv, const CLI::App& app,
                                             const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
