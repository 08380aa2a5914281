#include "io/error.h"

#include <fmt/format.h>

namespace puzzle {

Error WithContext(const std::string& context, const std::exception& e) {
  return Error(fmt::format("{}: {}", context, e.what()));
}

namespace internal {

void ThrowBug(const char* condition, const char* file, int line, const std::string& message) {
  throw BugError(fmt::format("{}:{}: {} (violated: {})", file, line, message, condition));
}

}  // namespace internal
}  // namespace puzzle
