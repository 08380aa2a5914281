// One folder of finished artifacts from its reading side: records, the index in front of them, and
// the hit test. A Store writes into one such folder and may read others below it. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graph/store/record.h"
#include "io/archive.h"

namespace puzzle {

/// Step names and the keys of their results.
using StepKeys = std::vector<std::pair<std::string_view, std::string_view>>;

/// How a key was found.
enum class Presence {
  kAbsent,   // never made, or removed with its record
  kWhole,    // a hit
  kMissing,  // the record is there, the artifact file is not
  kShort,    // the artifact file has another size than recorded
  kDamaged,  // the artifact file changed and does not have its digest any more
};

/// "missing", "artifact file damaged", ...: a presence that is not a hit, as a reason.
[[nodiscard]] std::string PresenceText(Presence presence);

struct Lookup {
  Presence presence = Presence::kAbsent;
  Record record;        // valid unless kAbsent
  int64_t used_ns = 0;  // of kWhole: when it was last used
};

/// Size and times of a regular file; of nothing else, and of no link to one.
struct FileFacts {
  uint64_t bytes = 0;
  int64_t mtime_ns = 0;
  int64_t used_ns = 0;  // time of access: the store sets it, whatever the mount's options
};
/// `folder`: an open folder that a relative path begins in; AT_FDCWD is the current one.
[[nodiscard]] std::optional<FileFacts> FactsOf(const char* path, int folder);
[[nodiscard]] std::optional<FileFacts> FactsOf(const std::string& path);

class StoreLayer {
 public:
  struct Options {
    std::string folder;
    uint32_t number = 0;   // of the layer in its store; Record::layer
    bool writable = true;  // may keep its shortcuts in the folder
    /// Of a layer that is not writable: the file, elsewhere, that remembers which of its artifacts
    /// were read and found whole, or damaged.
    std::string memo_path;
  };
  /// REQUIRES: `format` outlives the layer.
  StoreLayer(Options options, const ArchiveFormat& format);
  ~StoreLayer();

  [[nodiscard]] const std::string& folder() const;
  /// "ab/abcdef....h5" below the folder.
  [[nodiscard]] std::string ArtifactPath(std::string_view key) const;
  [[nodiscard]] std::string RecordPath(std::string_view key) const;

  /// Reads the index now instead of at the first look-up.
  void ReadIndex();
  /// Whether the folder of a key is one, and not a link out of the store. Looks once per folder.
  [[nodiscard]] bool IsInside(std::string_view key);
  /// Looks a key up: one stat in the common case. Of a file that does not look as recorded the
  /// record is read again where others may have replaced both; one whose time stamp is not the
  /// recorded one even so is read and digested before it counts as whole.
  [[nodiscard]] Lookup Find(std::string_view key);
  /// The record only, whatever became of the file.
  [[nodiscard]] std::optional<Record> FindRecord(std::string_view key);
  /// The record that stands on the disk now, as a line of the index, whatever the index says.
  [[nodiscard]] std::optional<std::string> ReadRecord(std::string_view key);
  /// The same where it is of another result than `known`: another process made it anew.
  [[nodiscard]] std::optional<std::string> ReadNewer(const Record& known);
  /// Puts a line into the index. The result lives as long as the layer.
  Record Keep(std::string index_line);
  /// Reads the artifact through: whether it has its digest.
  [[nodiscard]] bool IsWhole(const Record& record) const;
  /// The artifact of a record turned out to be damaged: it is no hit any more.
  void Reject(const Record& record);

  /// The key that a step had when it last finished, in the graph of that name if it ever did, else
  /// in any: two graphs on one store may mean different things by one name. `graph` may be "".
  [[nodiscard]] std::optional<std::string_view> LastKey(std::string_view step,
                                                        std::string_view graph);
  void Remember(std::string_view step, std::string_view graph, std::string_view key);
  void RememberAll(const StepKeys& results, std::string_view graph);
  /// The keys that any step of any graph had last.
  [[nodiscard]] std::unordered_set<std::string_view> LastKeys();
  /// What was found in the folder that breaks a rule and therefore does not count; each is told
  /// once.
  [[nodiscard]] std::vector<std::string> TakeComplaints();

  /// Rewrites shortcut files most of whose lines are outdated.
  void Compact();
  /// Rewrites the index without the keys that `gone` names.
  void Forget(const std::function<bool(std::string_view key)>& gone);

 private:
  struct State;
  [[nodiscard]] bool IsGood(Record& record, int64_t mtime_ns);

  std::unique_ptr<State> state_;
};

}  // namespace puzzle
