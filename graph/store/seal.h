// Seals: what a run that found nothing to do had looked at, so that the same command finds it again
// without planning. A seal is a shortcut and never the truth: whoever finds one that does not hold
// plans as if there were none. It trusts what a hit test trusts, a size and a time stamp per
// artifact, and of the user's files sizes, times and inodes. Thread-safe on different stores.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/store/files.h"

namespace puzzle {

class Store;

/// The 32 bytes of a key. REQUIRES: 64 hex digits.
[[nodiscard]] std::array<uint8_t, 32> KeyBytes(std::string_view key);

/// An artifact as its record describes it.
struct SealedArtifact {
  std::array<uint8_t, 32> key;
  uint64_t bytes;
  int64_t mtime_ns;
};

/// A file or folder of the user's, and how it looked. What is in a folder has entries of its own:
/// a look at a seal follows no names but these.
struct SealedPath {
  std::string path;
  std::string signature;
};

struct Seal {
  std::string identity;           // of the command: equal ones ask the same
  std::string last_remembered;    // of the store (Store::LastRemembered)
  std::vector<SealedPath> paths;  // graphs, inputs, exported files, the program itself
  std::vector<SealedArtifact> artifacts;
  /// By type of device, the facts that entered keys.
  std::map<std::string, std::map<std::string, std::string>> environments;
  size_t steps = 0;     // of which some may share an artifact
  double saved_s = 0;   // what they took when they were computed
  std::string display;  // what the run printed of its results
};

/// Adds a path as it is now, or a checkpoint (`is_folder`) with all its files. Throws Error when it
/// cannot be read. False when it may have changed since `begin_ns` (FileClock_ns, when the run
/// began to look): then there must be no seal.
[[nodiscard]] bool AddPath(const std::string& path, bool is_folder, int64_t begin_ns, Seal& seal);

/// Leaves a seal in the store. There is room for sixteen, by identity; an older one goes. Never
/// fails: without it the next run plans.
void LeaveSeal(const Store& store, const Seal& seal);

/// The seal of that identity, if everything that it names is still as it was: the store's last
/// results, the user's files, every artifact. The environments are for the caller to compare.
/// Announces the run where there is such a seal.
[[nodiscard]] std::optional<Seal> FindSeal(Store& store, const std::string& identity);

}  // namespace puzzle
