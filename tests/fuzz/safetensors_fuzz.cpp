// Any bytes as a safetensors file: refused with an Error, or every tensor can be read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "io/error.h"
#include "io/safetensors.h"
#include "tests/fuzz/fuzz.h"
#include "tests/io/safetensors_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace puzzle;
  static const int file = ::memfd_create("fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (file < 0 || ::ftruncate(file, 0) != 0 ||
      ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) {
    std::abort();
  }
  try {
    const SafetensorsReader reader = SafetensorsReader::Open(path);
    for (const std::string& name : reader.Names()) {
      const ArrayInfo info = reader.Info(name);
      const size_t bytes = static_cast<size_t>(NumElements(info.shape)) * ElementSize(info.dtype);
      PUZZLE_CHECK(bytes <= size, "a tensor is larger than its file");
      std::vector<char> content(bytes);
      reader.Read(name, content.data());
    }
    (void)DigestSafetensors(reader);
  } catch (const Error&) {  // refused
  }
  return 0;
}

namespace puzzle::fuzz {

std::vector<std::string> Seeds() {
  const std::string two =
      TensorEntry("a", "F32", "[2,2]", "[0,16]") + "," + TensorEntry("b", "BF16", "[3]", "[16,22]");
  const auto header_of = [](const std::string& entries) {
    std::string header = "{";
    return header.append(entries).append("}");
  };
  return {SafetensorsFile(header_of(TensorEntry("w", "F32", "[2]", "[0,8]")), "12345678"),
          SafetensorsFile(header_of(two), std::string(22, 'x')),
          SafetensorsFile("{\"__metadata__\":{\"format\":\"pt\"}," + two + "}   ",
                          std::string(22, 'y')),
          SafetensorsFile(header_of(TensorEntry("s", "I64", "[]", "[0,8]")), "abcdefgh"),
          SafetensorsFile(header_of(TensorEntry("e", "U8", "[0,5]", "[0,0]")), ""),
          SafetensorsFile("{}", "")};
}

std::vector<std::string> Words() {
  return {"\"dtype\"",
          "\"shape\"",
          "\"data_offsets\"",
          "\"__metadata__\"",
          "F64",
          "F16",
          "I8",
          "BOOL",
          "F8_E4M3",
          "[",
          "]",
          "{",
          "}",
          ",",
          ":",
          "\"",
          "0",
          "-1",
          "1",
          "8",
          "16",
          "1e3",
          "18446744073709551615",
          "9223372036854775807",
          "4294967296",
          "2147483647",
          "null",
          "\\u0061",
          "\xff",
          std::string(8, '\0'),
          std::string("\x08\0\0\0\0\0\0\0", 8)};
}

}  // namespace puzzle::fuzz
