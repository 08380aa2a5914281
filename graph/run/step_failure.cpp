#include "graph/run/step_failure.h"

#include <new>

#include "io/error.h"

namespace puzzle {

std::string WithoutTrace(std::string_view message) {
  return std::string(message.substr(0, message.find("\nException raised from ")));
}

std::string MessageOf(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const BugError& error) {
    return std::string("internal error: ") + error.what();
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (const std::exception& error) {
    return WithoutTrace(error.what());
  } catch (...) {
    return "an exception of unknown type";
  }
}

bool IsCancelled(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Cancelled&) {
    return true;
  } catch (...) {
    return false;
  }
}

FailureKind Classify(const std::exception_ptr& failure, const ExecuteOptions& options) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::bad_alloc&) {
    return FailureKind::kOutOfMemory;
  } catch (const std::exception& error) {
    return options.classify ? options.classify(error) : FailureKind::kOrdinary;
  } catch (...) {
    return FailureKind::kOrdinary;
  }
}

}  // namespace puzzle
