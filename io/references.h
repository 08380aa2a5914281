// Arrays of an archive that it does not hold: their elements lie in files of the user's, which the
// archive names. They count in the archive's digest as if they were there, so that it does not
// matter to anybody downstream where they lie; the names of files do not count. Values;
// thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "io/archive.h"

namespace puzzle {

/// The attribute that holds the references of an archive.
inline constexpr const char* kReferencesAttribute = "references";

/// What tells a file from one that was put in its place.
struct FileStamp {
  uint64_t bytes = 0;
  int64_t mtime_ns = 0;

  bool operator==(const FileStamp&) const = default;
};
/// Follows symbolic links; nullopt where there is no regular file.
[[nodiscard]] std::optional<FileStamp> StampOf(const std::string& path);

struct ArrayReference {
  ArrayInfo info;
  std::string digest;      // SHA-256 of the elements as the archive would hold them
  std::string checkpoint;  // absolute path of the folder or file that has it
  std::string name;        // what it is called there, in whatever words its reader has
};

struct References {
  std::map<std::string, FileStamp> files;        // by absolute path: where the elements lie
  std::map<std::string, ArrayReference> arrays;  // by the array's name in the archive

  /// What is amiss with the files, "PATH is gone": one that is missing, or has another size; "".
  [[nodiscard]] std::string Lost() const;
};

/// Whether all files have the sizes and times that they had.
[[nodiscard]] bool AreUntouched(const std::map<std::string, FileStamp>& files);

/// Writes the attribute; nothing when there are no arrays.
void WriteReferences(const References& references, ArchiveWriter& out);
/// Those of an archive; none where it has no such attribute. Throws Error for a malformed one.
[[nodiscard]] References ReadReferences(const ArchiveReader& in);
/// From the value of the attribute. Throws Error likewise.
[[nodiscard]] References ReferencesFromJson(const nlohmann::json& value);

/// What records keep of it, among the scalars: the files, {path: [bytes, mtime in ns]}, as text.
inline constexpr const char* kReferredFiles = "refers_to";
[[nodiscard]] std::string FilesText(const References& references);
/// And back. Throws Error for what is no such text.
[[nodiscard]] std::map<std::string, FileStamp> FilesFromText(const std::string& text);

}  // namespace puzzle
