#include "io/sentencepiece_charsmap.h"

#include <cstdint>
#include <cstring>

#include "io/error.h"

namespace puzzle {
namespace {

// Field numbers of sentencepiece_model.proto.
constexpr uint64_t kNormalizerSpec = 3;    // in ModelProto
constexpr uint64_t kDenormalizerSpec = 5;  // in ModelProto
constexpr uint64_t kCharsmap = 2;          // in NormalizerSpec

[[noreturn]] void Refuse(const char* what) {
  throw Error(std::string("tokenizer.model: ") + what);
}

/// Takes a base-128 integer off the front of a protobuf message.
uint64_t TakeVarint(std::string_view& message) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !message.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(message.front());
    message.remove_prefix(1);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  Refuse("not a protobuf message");
}

std::string_view TakeBytes(std::string_view& message, uint64_t count) {
  if (count > message.size()) Refuse("not a protobuf message");
  const std::string_view bytes = message.substr(0, count);
  message.remove_prefix(count);
  return bytes;
}

/// Calls `use(field number, bytes)` for each field of a message that holds bytes.
template <typename Use>
void ForEachBytesField(std::string_view message, Use use) {
  while (!message.empty()) {
    const uint64_t tag = TakeVarint(message);
    switch (tag & 7) {
      case 0:
        TakeVarint(message);
        break;
      case 1:
        TakeBytes(message, 8);
        break;
      case 2:
        use(tag >> 3, TakeBytes(message, TakeVarint(message)));
        break;
      case 5:
        TakeBytes(message, 4);
        break;
      default:
        Refuse("not a protobuf message");
    }
  }
}

uint32_t U32At(std::string_view bytes, size_t index) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + index * sizeof(value), sizeof(value));
  return value;
}

/// A map is the size of a trie, the trie and the texts that its values point to. The trie is the
/// double array of Darts-clone: unit i leads, on byte c, to unit (i ^ offset) ^ c, and when it has
/// a leaf, unit i ^ offset holds its value.
void CheckCharacterMap(std::string_view map) {
  if (map.empty()) return;
  const char* const what = "damaged character map";
  if (map.size() < sizeof(uint32_t)) Refuse(what);
  const uint32_t trie_bytes = U32At(map, 0);
  map.remove_prefix(sizeof(uint32_t));
  if (trie_bytes == 0 || trie_bytes % sizeof(uint32_t) != 0 || trie_bytes >= map.size() ||
      map.back() != '\0') {
    Refuse(what);
  }
  const size_t n_units = trie_bytes / sizeof(uint32_t);
  const size_t text_bytes = map.size() - trie_bytes;
  for (size_t i = 0; i < n_units; ++i) {
    const uint32_t unit = U32At(map, i);
    const bool is_value = unit >> 31 != 0;
    if (is_value) continue;
    const uint32_t offset = unit >> 10 << ((unit & 1u << 9) >> 6);
    const size_t base = i ^ offset;
    if ((base | 0xFF) >= n_units) Refuse(what);
    const bool has_leaf = (unit & 1u << 8) != 0;
    if (has_leaf && (U32At(map, base) & ~(1u << 31)) >= text_bytes) Refuse(what);
  }
}

}  // namespace

void CheckCharacterMaps(std::string_view model_bytes) {
  ForEachBytesField(model_bytes, [](uint64_t field, std::string_view spec) {
    if (field != kNormalizerSpec && field != kDenormalizerSpec) return;
    ForEachBytesField(spec, [](uint64_t spec_field, std::string_view map) {
      if (spec_field == kCharsmap) CheckCharacterMap(map);
    });
  });
}

}  // namespace puzzle
