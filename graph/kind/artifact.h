// What a type of result has to offer to be stored and handed on.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <string_view>

#include "io/archive.h"

namespace puzzle {

/// A type of result: `kType` is its name in ports and records, Save and Load its form in an
/// archive. Load may keep the reader and read on demand. An attribute called "display" (text) of a
/// step that nothing else consumes is printed at the end of a run; "picture_svg" (text, one SVG
/// document) is shown by `--report`; scalar attributes go into the record and into `--summary`.
template <class T>
concept ArtifactValue = requires(const T value, ArchiveWriter& writer,
                                 std::shared_ptr<const ArchiveReader> reader) {
  { T::kType } -> std::convertible_to<std::string_view>;
  value.Save(writer);
  { T::Load(reader) } -> std::same_as<T>;
  { value.ResidentBytes() } -> std::convertible_to<size_t>;  // memory it holds while loaded
};

/// A loaded value and what it weighs in memory.
struct SizedValue {
  std::shared_ptr<const void> value;
  size_t bytes = 0;
};

}  // namespace puzzle
