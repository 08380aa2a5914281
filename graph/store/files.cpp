#include "graph/store/files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <unordered_map>
#include <vector>

#include "graph/store/line_file.h"
#include "io/error.h"
#include "io/fingerprint.h"
#include "io/gguf.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

/// A file written so recently may change again without its time stamp moving.
constexpr int64_t kRacyNs = 50'000'000;

struct Signature {
  std::string text;
  int64_t newest_ns = 0;
};

int64_t Nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

void AddFile(const std::string& path, const std::string& name, Signature& signature) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    throw Error(fmt::format("cannot read \"{}\": {}", path, std::strerror(errno)));
  }
  const int64_t mtime = Nanoseconds(info.st_mtim);
  signature.newest_ns = std::max({signature.newest_ns, mtime, Nanoseconds(info.st_ctim)});
  signature.text += fmt::format("{}\n{} {} {} {}\n", name, info.st_size, mtime, info.st_ino,
                                static_cast<uint64_t>(info.st_dev));
}

Signature SignatureOfFile(const std::string& path) {
  Signature signature;
  AddFile(path, "", signature);
  return signature;
}

/// Of a file that stands for a folder's content: all its parts count.
Signature SignatureOfFolder(const std::string& path) {
  Signature signature;
  std::error_code unknown;
  if (fs::is_regular_file(path, unknown)) {
    for (const std::string& part : GgufParts(path)) AddFile(part, part, signature);
    return signature;
  }
  std::vector<std::string> names;
  std::error_code failure;
  for (fs::recursive_directory_iterator it(path, failure), end; !failure && it != end;
       it.increment(failure)) {
    if (it->is_regular_file(failure)) names.push_back(it->path().string());
  }
  if (failure) {
    throw Error(fmt::format("cannot list folder \"{}\": {}", path, failure.message()));
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) AddFile(name, name.substr(path.size()), signature);
  return signature;
}

std::string Absolute(const std::string& path) {
  std::error_code failure;
  const fs::path absolute = fs::weakly_canonical(path, failure);
  return failure ? path : absolute.string();
}

}  // namespace

struct FileDigester::State {
  std::string memo_path;
  std::unique_ptr<LineFile> memo;
  std::vector<std::string> unsaved;
  std::unordered_map<std::string, std::string> known;  // memo identity -> digest
  std::unordered_map<std::string, std::string> seen;   // path + id -> digest, within this run

  void Load() {
    if (memo || memo_path.empty()) return;
    memo = std::make_unique<LineFile>(memo_path);
    memo->Read([&](std::string_view line) {  // identity (64 hex) ' ' digest ' ' path
      const size_t end = line.find(' ', 65);
      if (end != std::string_view::npos) {
        known[std::string(line.substr(0, 64))] = std::string(line.substr(65, end - 65));
      }
    });
  }

  std::string Lookup(const std::string& path, const std::string& id,
                     const std::function<Signature()>& sign,
                     const std::function<std::string()>& digest) {
    const std::string here = id + '\n' + path;
    if (const auto it = seen.find(here); it != seen.end()) return it->second;
    Load();
    const Signature before = sign();
    const std::string absolute = Absolute(path);
    const std::string identity = FingerprintText(id + '\n' + absolute + '\n' + before.text);
    if (const auto it = known.find(identity); it != known.end()) {
      return seen[here] = it->second;
    }
    std::string result = digest();
    const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
    if (memo && before.newest_ns + kRacyNs < now && sign().text == before.text &&
        result.find_first_of(" \n") == std::string::npos) {
      std::string shown = absolute;
      std::replace(shown.begin(), shown.end(), '\n', '?');
      unsaved.push_back(identity + ' ' + result + ' ' + shown);
      known[identity] = result;
    }
    return seen[here] = std::move(result);
  }

  void Append() {
    for (const std::string& line : unsaved) memo->Append(line);
    unsaved.clear();
  }
};

FileDigester::FileDigester(std::string memo_path) : state_(std::make_unique<State>()) {
  state_->memo_path = std::move(memo_path);
}

FileDigester::~FileDigester() {
  state_->Append();
}

void FileDigester::Save() {
  if (state_->unsaved.empty()) return;
  std::error_code ignored;  // a memo that cannot be written costs time only
  fs::create_directories(fs::path(state_->memo_path).parent_path(), ignored);
  state_->Append();
}

std::string FileDigester::File(const std::string& path) {
  if (fs::is_directory(path)) {
    throw Error(fmt::format("\"{}\" is a folder; a file is expected", path));
  }
  return state_->Lookup(
      path, "file", [&] { return SignatureOfFile(path); }, [&] { return FingerprintFile(path); });
}

std::string FileDigester::Folder(const std::string& path, const std::string& id,
                                 const std::function<std::string(const std::string&)>& digest) {
  return state_->Lookup(
      path, "folder " + id, [&] { return SignatureOfFolder(path); }, [&] { return digest(path); });
}

}  // namespace puzzle
