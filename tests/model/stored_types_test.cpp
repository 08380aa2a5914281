#include "model/files/stored_types.h"

#include <gtest/gtest.h>

#include <string>

#include "io/file.h"
#include "tests/io/safetensors_files.h"
#include "tests/io/temp_folder.h"

namespace puzzle {
namespace {

// The bits of an element are in its type's name, but for one.
TEST(StoredTypesTest, EveryTypeOfAFolderIsCountedTheLargestFirst) {
  const TempFolder folder;
  std::string header = "{";
  size_t end = 0;
  const auto add = [&](const char* name, const char* type, const char* shape, size_t bytes) {
    header += (end == 0 ? "" : ",") +
              TensorEntry(name, type, shape,
                          "[" + std::to_string(end) + "," + std::to_string(end + bytes) + "]");
    end += bytes;
  };
  add("a", "I64", "[2]", 16);
  add("b", "BOOL", "[3]", 3);
  add("c", "F8_E4M3", "[5]", 5);
  add("d", "F4", "[4,2]", 4);
  add("e", "BF16", "[7]", 14);
  add("f", "BF16", "[1,3]", 6);
  WriteWholeFile(folder / "model.safetensors", SafetensorsFile(header + "}", std::string(end, 0)));
  const std::vector<StoredType> types = ReadStoredTypes(folder.path());
  const StoredType expected[] = {{"BF16", 2, 10, 20},
                                 {"I64", 1, 2, 16},
                                 {"F8_E4M3", 1, 5, 5},
                                 {"F4", 1, 8, 4},
                                 {"BOOL", 1, 3, 3}};
  ASSERT_EQ(types.size(), std::size(expected));
  for (size_t i = 0; i < types.size(); ++i) {
    EXPECT_EQ(types[i].name, expected[i].name);
    EXPECT_EQ(types[i].tensors, expected[i].tensors) << types[i].name;
    EXPECT_EQ(types[i].elements, expected[i].elements) << types[i].name;
    EXPECT_EQ(types[i].bytes, expected[i].bytes) << types[i].name;
  }
}

}  // namespace
}  // namespace puzzle
