#include "io/staged_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "io/error.h"
#include "io/file.h"

namespace puzzle {

namespace {

namespace fs = std::filesystem;

void CheckStep(const std::error_code& failure, const fs::path& path, const char* doing) {
  if (failure)
    throw Error(fmt::format("{}: cannot {}: {}", path.string(), doing, failure.message()));
}

std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure))
    names.push_back(entry->path().filename().string());
  CheckStep(failure, folder, "list the folder");
  std::sort(names.begin(), names.end());
  return names;
}

/// "out/" and "out" are the same folder, whose name is "out".
fs::path WithoutSlash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

StagedFolder::StagedFolder(const std::string& target)
    : target_(WithoutSlash(fs::path(target)).string()) {
  std::error_code failure;
  const fs::file_status status = fs::status(target_, failure);
  replaces_ = fs::is_directory(status);
  if (!replaces_ && fs::exists(status)) throw Error(target_ + ": is there and is no folder");
  const std::string name = ".partial-" + RandomName();
  // Inside of one that is there, which may be a link to another disk.
  fs::path path = fs::path(target_) / name;
  if (!replaces_) {
    path = target_ + name;
    fs::create_directories(path.parent_path(), failure);
    if (path.has_parent_path()) CheckStep(failure, path.parent_path(), "create the folder");
  }
  fs::create_directory(path, failure);
  CheckStep(failure, path, "create the folder");
  path_ = path.string();
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void StagedFolder::Commit(const std::function<bool(const std::string& name)>& is_obsolete,
                          const std::string& last) {
  std::vector<std::string> names = NamesIn(path_);
  for (const std::string& name : names) SyncFile((fs::path(path_) / name).string());
  std::error_code failure;
  if (!replaces_) {
    fs::rename(path_, target_, failure);
    CheckStep(failure, target_, "create the folder");
    path_.clear();
    return;
  }
  for (const std::string& name : NamesIn(target_)) {
    if (!is_obsolete(name)) continue;
    fs::remove(fs::path(target_) / name, failure);
    CheckStep(failure, fs::path(target_) / name, "remove the old file");
  }
  std::stable_partition(names.begin(), names.end(),
                        [&](const std::string& name) { return name != last; });
  for (const std::string& name : names) {
    fs::rename(fs::path(path_) / name, fs::path(target_) / name, failure);
    CheckStep(failure, fs::path(target_) / name, "write");
  }
}

}  // namespace puzzle
