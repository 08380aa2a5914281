// What an exception that ended a step means. Functions without state.
#pragma once

#include <exception>
#include <string>

#include "graph/run/executor.h"

namespace puzzle {

/// A message without the stack trace that libtorch appends to its own: for the user there is one
/// sentence.
[[nodiscard]] std::string WithoutTrace(std::string_view message);

/// For people: one sentence, whatever was thrown.
[[nodiscard]] std::string MessageOf(const std::exception_ptr& failure);
/// The step ended because it was asked to.
[[nodiscard]] bool IsCancelled(const std::exception_ptr& failure);
/// std::bad_alloc is known; `options.classify` judges other exceptions of the standard.
[[nodiscard]] FailureKind Classify(const std::exception_ptr& failure,
                                   const ExecuteOptions& options);

}  // namespace puzzle
