// Content digests of files and folders outside the store, remembered by (path, size, mtime, ctime,
// inode) so that a checkpoint of many gigabytes is read once and not at every run; and a watch that
// what a step reads is what was digested.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace puzzle {

/// How a file, or all files below a folder, look without reading them.
struct InputSignature {
  std::string text;       // sizes, times and inodes: another one means that they may have changed
  int64_t newest_ns = 0;  // the latest of the times
  uint64_t bytes = 0;     // of all files

  /// Whether a change at `time_ns` (by the system's clock) or later shows in the text.
  [[nodiscard]] bool IsOlderThan(int64_t time_ns) const;
};
/// Of a file that stands for a folder's content (a GGUF) all its parts count; in a folder, what
/// lies behind links too. Throws Error.
[[nodiscard]] InputSignature SignatureOf(const std::string& path, bool is_folder);
/// Calls visit(path, whether it is a file) for what lies below a folder, in no order, and goes into
/// a folder where that answers true: behind links too, but not behind one that leads to a folder
/// around it. Throws Error when a folder cannot be listed.
void ForEachBelow(const std::string& folder,
                  const std::function<bool(const std::string& path, bool is_file)>& visit);
/// The system's clock, as it stamps files.
[[nodiscard]] int64_t FileClock_ns();

/// What a plan knows about an external file or folder. Immutable.
struct DigestedInput {
  std::string path;
  bool is_folder = false;
  std::string digest;     // of the content, as it enters keys
  std::string signature;  // sizes, times and inodes before it was digested
  bool settled = false;   // the times tell every later change
  std::function<std::string()> digest_again;
};

/// Sees that inputs do not change while a step reads them. Belongs to one thread at a time.
class InputWatch {
 public:
  /// Throws Error naming an input that is not as it was when the plan was made.
  explicit InputWatch(const std::vector<std::shared_ptr<const DigestedInput>>& inputs);
  /// Throws Error naming an input that changed, or was touched, since then, and the file in it.
  void Check() const;

 private:
  struct Seen {
    std::shared_ptr<const DigestedInput> input;
    std::string signature;
    bool settled = false;
  };
  std::vector<Seen> seen_;
};

/// Digests external inputs. Thread-compatible: used by one planner at a time; two processes may
/// share one memo file.
class FileDigester {
 public:
  /// `memo_path` names the file that remembers digests; "" remembers within this object only. What
  /// is larger than `most_bytes`, and not remembered, is not read: it has a digest that no content
  /// has.
  explicit FileDigester(std::string memo_path,
                        uint64_t most_bytes = std::numeric_limits<uint64_t>::max());
  /// Writes the memo, if its folder exists.
  ~FileDigester();
  FileDigester(const FileDigester&) = delete;
  FileDigester& operator=(const FileDigester&) = delete;

  /// SHA-256 of the file's bytes. Throws Error naming the file.
  [[nodiscard]] std::string File(const std::string& path) { return KnowFile(path)->digest; }
  [[nodiscard]] std::shared_ptr<const DigestedInput> KnowFile(const std::string& path);
  /// `digest(path)`, not computed again while no file below the folder changed. `id` names the
  /// digest function and its version. Throws what `digest` throws, or Error when the folder cannot
  /// be listed.
  [[nodiscard]] std::string Folder(const std::string& path, const std::string& id,
                                   const std::function<std::string(const std::string&)>& digest) {
    return KnowFolder(path, id, digest)->digest;
  }
  [[nodiscard]] std::shared_ptr<const DigestedInput> KnowFolder(
      const std::string& path, const std::string& id,
      const std::function<std::string(const std::string&)>& digest);
  /// Writes the memo now and creates its folder if there is something to remember.
  void Save();

  struct UnreadInput {
    std::string path;
    uint64_t bytes = 0;
  };
  /// What was too large to be read, in the order in which it was asked for.
  [[nodiscard]] const std::vector<UnreadInput>& unread() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace puzzle
