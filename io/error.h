// How failures are reported. Everything here is thread-safe.
#pragma once

#include <stdexcept>
#include <string>

namespace puzzle {

/// The world failed: a file, a device, a format. The message names what was being read or written,
/// what was expected and what was found; callers add context on the way up with `WithContext`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// We were wrong: an invariant of this program does not hold. Never the user's fault.
class BugError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// A long computation noticed that the user asked it to stop. Not a failure.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

/// `context: message of e`, as an Error.
[[nodiscard]] Error WithContext(const std::string& context, const std::exception& e);

namespace internal {
[[noreturn]] void ThrowBug(const char* condition, const char* file, int line,
                           const std::string& message);
}  // namespace internal

}  // namespace puzzle

/// Throws BugError with file and line unless `condition` holds; checked in release builds too.
#define PUZZLE_CHECK(condition, message)                                       \
  do {                                                                         \
    if (!(condition)) [[unlikely]]                                             \
      ::puzzle::internal::ThrowBug(#condition, __FILE__, __LINE__, (message)); \
  } while (false)
