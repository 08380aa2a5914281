// How far steps had got that were stopped before they had a result: files
// "<folder>/<key>.<digest>", the digest that of their content, so that a damaged one is known.
// Thread-safe; a key belongs to whoever holds its claim.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"

namespace puzzle {

class ArtifactDraft;

class SavePoints {
 public:
  /// Nothing is created before the first Put. `format` outlives the object.
  SavePoints(std::string folder, const ArchiveFormat& format)
      : folder_(std::move(folder)), format_(format) {}

  /// The last one of `key`; null when there is none. Damaged ones are removed. Throws Error when
  /// too many files are open to tell.
  [[nodiscard]] std::shared_ptr<const ArchiveReader> Find(std::string_view key);
  /// Takes the place of those before it once the disk has it. Throws Error; then those are still
  /// there.
  /// REQUIRES: `draft` is closed.
  void Put(std::string_view key, ArtifactDraft& draft);
  /// Removes those of a key. Never fails.
  void Drop(std::string_view key);

  struct File {
    std::string path;
    std::string key;
    uint64_t bytes = 0;
    int64_t mtime_ns = 0;
  };
  [[nodiscard]] std::vector<File> List() const;

 private:
  [[nodiscard]] std::vector<File> Of(std::string_view key) const;

  std::string folder_;
  const ArchiveFormat& format_;
};

}  // namespace puzzle
