// Files being written, in `<store>/tmp`, and the folders of a store: whose they are, and what is
// left of runs that died. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "graph/store/locks.h"

namespace puzzle {

/// Makes a folder of a store unless it is there. Throws Error when that fails, and when somebody
/// put a symbolic link in its place: nothing in a store is followed out of it.
void MakeStoreFolder(const std::string& path);
/// A folder, and no link to one.
[[nodiscard]] bool IsPlainFolder(const std::string& path);

/// A new name in the folder `tmp` of a store: "host.process.token.number". Host and process are for
/// people and for the quick look; the token is by chance and this process's own.
[[nodiscard]] std::string NewTemporaryPath(const std::string& store);

/// Moves a file to a name that nobody has; false when somebody does, and `from` is still there.
/// Where the file system can do neither a rename that replaces nothing nor a second name for a
/// file, two at once may both succeed, the later one for good. Throws Error.
[[nodiscard]] bool MoveToNewName(const std::string& from, const std::string& to);

/// Paths of the files in `folder` whose process is dead for sure: of this machine and gone; or no
/// live run of the store, where locks tell, and untouched for long. Never fails.
[[nodiscard]] std::vector<std::string> FindLeftovers(const std::string& folder,
                                                     const StoreLocks& locks);

}  // namespace puzzle
