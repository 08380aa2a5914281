// Content digests of files and folders outside the store, remembered by (path, size, mtime, inode)
// so that a checkpoint of many gigabytes is read once and not at every run.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace puzzle {

/// Digests external inputs. Thread-compatible: used by one planner at a time; two processes may
/// share one memo file.
class FileDigester {
 public:
  /// `memo_path` names the file that remembers digests; "" remembers within this object only.
  explicit FileDigester(std::string memo_path);
  /// Writes the memo, if its folder exists.
  ~FileDigester();
  FileDigester(const FileDigester&) = delete;
  FileDigester& operator=(const FileDigester&) = delete;

  /// SHA-256 of the file's bytes. Throws Error naming the file.
  [[nodiscard]] std::string File(const std::string& path);
  /// `digest(path)`, not computed again while no file below the folder changed. `id` names the
  /// digest function and its version. Throws what `digest` throws, or Error when the folder cannot
  /// be listed.
  [[nodiscard]] std::string Folder(const std::string& path, const std::string& id,
                                   const std::function<std::string(const std::string&)>& digest);
  /// Writes the memo now and creates its folder if there is something to remember.
  void Save();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace puzzle
