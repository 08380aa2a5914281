// Finished artifacts by key, in a folder that several processes may use at once, over any number of
// shared stores that are only read. Publication is a rename, and the record is the commit: after a
// crash an artifact is there as a whole or not at all. README.md describes the layout. Thread-safe.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/store/locks.h"
#include "graph/store/record.h"
#include "graph/store/store_layer.h"
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
  [[nodiscard]] virtual const std::string& path() const = 0;
  /// The file was moved away: it is the draft's no more.
  virtual void Release() = 0;
};

class SavePoints;

class Store {
 public:
  /// Nothing is created before the first write. `format` decides how artifacts look on disk. What
  /// the `shared` stores have is found as well; nothing is ever written there.
  Store(std::string folder, ArchiveFormat format, const std::vector<std::string>& shared = {});
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Says that a run works here: `cache gc` keeps what it finds from now on and what it made, and
  /// others see whose claims they wait for. Call it before the first hit test of a run. Never
  /// fails; a store that cannot be written says so when something is written.
  void AnnounceRun();
  [[nodiscard]] StoreLocks& locks();
  /// For a key that another run has just given up: looks again for as long as its result may take
  /// to show up here. At once where claims are locks alone.
  [[nodiscard]] Lookup FindAfterWait(std::string_view key);

  /// Reads the index, as the first look-up would. Meant for another thread while a graph is being
  /// planned.
  void ReadIndex();
  /// Looks a key up: one stat in the common case. A file whose time stamp is not the recorded one
  /// is read and digested before it counts as whole.
  [[nodiscard]] Lookup Find(std::string_view key);
  /// The record only, whatever became of the file.
  [[nodiscard]] std::optional<Record> FindRecord(std::string_view key);

  /// Opens the artifact of a record. Throws Error.
  [[nodiscard]] std::shared_ptr<const ArchiveReader> Open(const Record& record) const;

  /// For an artifact that could not be loaded: reads all of it, and when it is damaged removes it
  /// (or, in a shared store, takes note), so that the next run makes it anew. True when it was
  /// damaged; false also where another process has replaced it, and where that cannot be told,
  /// since too many files are open.
  bool RemoveIfDamaged(const Record& record);

  /// A new name for a file that nobody needs behind this process; what it leaves, TidyUp of another
  /// one removes. Throws Error when the folder cannot be written.
  [[nodiscard]] std::string TemporaryPath();
  /// Starts an artifact. Throws Error when the folder cannot be written.
  [[nodiscard]] std::unique_ptr<ArtifactDraft> Begin();
  struct PublishOptions {
    bool sync = false;     // wait until the disk has it
    bool replace = false;  // even a whole artifact of this key
  };
  /// Makes a closed draft the artifact of `record.key`; fills size, time and digest of `record`.
  /// When another process was faster its result is returned: of two that publish at once, with or
  /// without claims, one wins and both know it. Throws Error; then nothing changed.
  Record Publish(std::unique_ptr<ArtifactDraft> draft, RecordDraft record,
                 const PublishOptions& options);

  /// How far steps had got that have no result yet.
  [[nodiscard]] SavePoints& save_points();

  /// Names the graph that LastKey and Remember are about, by its path; "" is any. Call it first.
  void WorkOn(const std::string& graph);
  /// The key that a step name had when it last finished: in this graph, else in another one.
  [[nodiscard]] std::optional<std::string_view> LastKey(std::string_view step);
  /// Remembers it for reasons and estimates of later runs.
  void Remember(std::string_view step, std::string_view key);
  /// The same for the results (step name, key) that a run finds. When this was the last that was
  /// remembered, which is so in every run but the first with nothing to do, it costs next to
  /// nothing.
  void RememberAll(const StepKeys& results);

  /// Changes whenever a run of any graph remembers something else.
  [[nodiscard]] std::string LastRemembered() const;

  /// Deletes what crashed processes left half-written. Never fails, and costs nothing where there
  /// is nothing.
  void RemoveLeftovers();
  /// Likewise, and rewrites shortcut files most of whose lines are outdated. Never fails.
  void TidyUp();
  /// What was found here and in the shared stores that breaks a rule and therefore does not count,
  /// such as records; each is told once.
  [[nodiscard]] std::vector<std::string> TakeComplaints();

  [[nodiscard]] const std::string& folder() const;
  /// The artifact file of a record.
  [[nodiscard]] std::string PathOf(const Record& record) const;
  /// The store's own folder of results.
  [[nodiscard]] StoreLayer& own();

 private:
  struct State;
  [[nodiscard]] bool Use(std::string_view key);
  [[nodiscard]] Lookup LookAgain(std::string_view key, double patience_s);
  [[nodiscard]] std::optional<Record> Winner(std::string_view key);

  std::unique_ptr<State> state_;
};

}  // namespace puzzle
