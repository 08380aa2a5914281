// Finished artifacts by key, in a folder that several processes may use at once. Publication is a
// rename, and the record is the commit: after a crash an artifact is there as a whole or not at
// all. README.md describes the layout. Thread-safe.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "graph/record.h"
#include "io/archive.h"

namespace puzzle {

/// An artifact being written. Removed from the disk unless it is published. Belongs to one thread
/// at a time.
class ArtifactDraft {
 public:
  virtual ~ArtifactDraft() = default;
  /// Creates the file at the first use. Scalar attributes are noted on the way.
  [[nodiscard]] virtual ArchiveWriter& writer() = 0;
  /// Closes the file (creating it if nothing was written). Throws Error.
  virtual void Close() = 0;

  // REQUIRES: Close() was called.
  [[nodiscard]] virtual const std::string& digest() const = 0;
  /// Scalar attributes as a JSON object; "display" and long texts are left out.
  [[nodiscard]] virtual std::string scalars_json() const = 0;
  [[nodiscard]] virtual std::string display() const = 0;
  /// The attribute "files" when it is an object, as JSON; else "".
  [[nodiscard]] virtual std::string files_json() const = 0;
};

/// How a key was found.
enum class Presence {
  kAbsent,   // never made, or removed with its record
  kWhole,    // a hit
  kMissing,  // the record is there, the artifact file is not
  kShort,    // the artifact file has another size than recorded
  kDamaged,  // the artifact file changed and does not have its digest any more
};

class Store {
 public:
  /// Nothing is created before the first write. `format` decides how artifacts look on disk.
  Store(std::string folder, ArchiveFormat format);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  struct Lookup {
    Presence presence = Presence::kAbsent;
    Record record;  // valid unless kAbsent
  };
  /// Looks a key up: one stat in the common case. A file whose time stamp is not the recorded one
  /// is read and digested before it counts as whole.
  [[nodiscard]] Lookup Find(std::string_view key);
  /// The record only, whatever became of the file.
  [[nodiscard]] std::optional<Record> FindRecord(std::string_view key);

  /// Opens the artifact of a record. Throws Error.
  [[nodiscard]] std::shared_ptr<const ArchiveReader> Open(const Record& record) const;

  /// For an artifact that could not be loaded: reads all of it, and when it is damaged removes it,
  /// so that the next run makes it anew. True when it was damaged.
  bool RemoveIfDamaged(const Record& record);

  /// Starts an artifact. Throws Error when the folder cannot be written.
  [[nodiscard]] std::unique_ptr<ArtifactDraft> Begin();
  struct PublishOptions {
    bool sync = false;     // wait until the disk has it
    bool replace = false;  // even a whole artifact of this key
  };
  /// Makes a closed draft the artifact of `record.key`; fills size, time and digest of `record`.
  /// When another process was faster its result is returned. Throws Error; then nothing changed.
  Record Publish(std::unique_ptr<ArtifactDraft> draft, RecordDraft record,
                 const PublishOptions& options);

  /// The key that a step name had when it last finished.
  [[nodiscard]] std::optional<std::string_view> LastKey(std::string_view step);
  /// Remembers it for reasons and estimates of later runs.
  void Remember(std::string_view step, std::string_view key);

  /// Deletes what crashed processes left half-written. Never fails.
  void RemoveLeftovers();

  [[nodiscard]] const std::string& folder() const;
  /// "ab/abcdef....h5" below the folder.
  [[nodiscard]] std::string PathOf(std::string_view key) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// "missing", "file is gone", ...: a presence that is not a hit, as a reason.
[[nodiscard]] std::string PresenceText(Presence presence);

}  // namespace puzzle
