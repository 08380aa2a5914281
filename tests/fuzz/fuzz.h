// What a fuzz target is: one function that has to survive any bytes, and where to begin. The
// function has libFuzzer's name, so that the same file links with libFuzzer or with driver.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// Feeds one input to what is tested. Returns 0; a mistake ends the process.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace puzzle::fuzz {

/// Inputs that get far, to be mutated.
[[nodiscard]] std::vector<std::string> Seeds();
/// Pieces that mean something in this format.
[[nodiscard]] std::vector<std::string> Words();

}  // namespace puzzle::fuzz
