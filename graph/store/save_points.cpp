#include "graph/store/save_points.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "graph/store/leftovers.h"
#include "graph/store/record.h"
#include "graph/store/store.h"
#include "io/error.h"
#include "io/file.h"

namespace puzzle {

namespace fs = std::filesystem;

std::vector<SavePoints::File> SavePoints::List() const {
  std::vector<File> files;
  if (!IsPlainFolder(folder_)) return files;
  std::error_code failure;
  for (fs::directory_iterator it(folder_, failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string name = it->path().filename().string();
    const size_t dot = name.find('.');
    if (dot == std::string::npos || !IsDigest(name.substr(0, dot)) ||
        !IsDigest(name.substr(dot + 1))) {
      continue;
    }
    if (const auto facts = FactsOf(it->path().string()))
      files.push_back({it->path().string(), name.substr(0, dot), facts->bytes, facts->mtime_ns});
  }
  return files;
}

// The newest first.
std::vector<SavePoints::File> SavePoints::Of(std::string_view key) const {
  std::vector<File> files = List();
  std::erase_if(files, [&](const File& file) { return file.key != key; });
  std::ranges::sort(files, std::greater(), &File::mtime_ns);
  return files;
}

std::shared_ptr<const ArchiveReader> SavePoints::Find(std::string_view key) {
  const auto check_files = [&] {
    if (IsShortOfFiles()) throw Error(folder_ + ": cannot be read: too many files are open");
  };
  check_files();
  for (const File& file : Of(key)) {
    try {
      auto reader = format_.open(file.path);
      if (file.path.ends_with('.' + DigestArchive(*reader))) return reader;
    } catch (const std::exception&) {  // damaged as well
      check_files();
    }
    ::unlink(file.path.c_str());
  }
  return nullptr;
}

void SavePoints::Put(std::string_view key, ArtifactDraft& draft) {
  const std::vector<File> before = Of(key);
  MakeStoreFolder(folder_);
  SyncFile(draft.path());
  const std::string path = fmt::format("{}/{}.{}", folder_, key, draft.digest());
  if (::rename(draft.path().c_str(), path.c_str()) != 0)
    throw Error(fmt::format("cannot write \"{}\": {}", path, std::strerror(errno)));
  draft.Release();
  for (const File& old : before)
    if (old.path != path) ::unlink(old.path.c_str());
}

void SavePoints::Drop(std::string_view key) {
  for (const File& file : Of(key)) ::unlink(file.path.c_str());
}

}  // namespace puzzle
