#include "model/files/stored_types.h"

#include <algorithm>
#include <map>

#include "io/array.h"
#include "io/error.h"
#include "io/ggml_types.h"
#include "io/gguf.h"
#include "io/safetensors.h"

namespace puzzle {

namespace {

using TypesByName = std::map<std::string, StoredType>;

void AddTensor(const std::string& type, int64_t elements, int64_t bytes, TypesByName& types) {
  StoredType& sum = types[type];
  sum.name = type;
  ++sum.tensors;
  sum.elements += elements;
  sum.bytes += bytes;
}

// "F8_E4M3", "BF16", "I64": the number behind the letters is that of the bits.
int64_t BitsOfSafetensors(const std::string& type) {
  if (type == "BOOL") return 8;
  int64_t bits = 0;
  for (const char c : type) {
    if (c >= '0' && c <= '9') {
      bits = bits * 10 + (c - '0');
    } else if (bits > 0) {
      break;
    }
  }
  return bits;
}

TypesByName TypesOf(const SafetensorsReader& reader) {
  TypesByName types;
  for (const std::string& name : reader.Names()) {
    const std::string& type = reader.TypeOf(name);
    const int64_t elements = NumElements(reader.ShapeOf(name));
    AddTensor(type, elements, elements * BitsOfSafetensors(type) / 8, types);
  }
  return types;
}

TypesByName TypesOf(const GgufReader& reader) {
  TypesByName types;
  for (const std::string& name : reader.Names()) {
    const std::string type(reader.TypeOf(name));
    const GgmlType* known = FindGgmlType(type);
    PUZZLE_CHECK(known != nullptr, type);  // opening has refused others
    const int64_t elements = NumElements(reader.ShapeOf(name));
    AddTensor(type, elements, elements / known->block_elements * known->block_bytes, types);
  }
  return types;
}

}  // namespace

std::vector<StoredType> ReadStoredTypes(const std::string& path) {
  const TypesByName types =
      IsGgufPath(path) ? TypesOf(GgufReader::Open(path)) : TypesOf(SafetensorsReader::Open(path));
  std::vector<StoredType> list;
  for (const auto& [name, type] : types) list.push_back(type);
  std::stable_sort(list.begin(), list.end(),
                   [](const StoredType& a, const StoredType& b) { return a.bytes > b.bytes; });
  return list;
}

}  // namespace puzzle
