// A folder of files that get their places together. A value of this class belongs to one thread.
#pragma once

#include <functional>
#include <string>

namespace puzzle {

/// Files are written into a temporary folder beside, or inside, the one that is meant; Commit()
/// moves them. Until then that one is as it was, and is not there if it was not.
class StagedFolder {
 public:
  /// Throws Error when the temporary folder cannot be made, or a file has the target's name.
  explicit StagedFolder(const std::string& target);
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;
  /// Removes what was not committed.
  ~StagedFolder();

  /// Where to write; it is there.
  [[nodiscard]] const std::string& path() const { return path_; }

  /// Gives the files their places, once the disk has them: a loss of power leaves the older folder
  /// or whole files. Of an older folder, what `is_obsolete` goes first, then files are replaced one
  /// by one in the order of their names but for `last`: whoever needs that one never takes a
  /// mixture for a whole. Throws Error.
  void Commit(const std::function<bool(const std::string& name)>& is_obsolete,
              const std::string& last);

 private:
  std::string target_;
  std::string path_;
  bool replaces_ = false;  // the target is there
};

}  // namespace puzzle
