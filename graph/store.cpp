#include "graph/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "graph/draft_writer.h"
#include "graph/line_file.h"
#include "io/error.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

/// A key as 32 bytes: half the memory of its text, and its own hash.
using KeyBytes = std::array<uint8_t, 32>;

struct KeyHash {
  size_t operator()(const KeyBytes& key) const {
    size_t hash;
    std::memcpy(&hash, key.data(), sizeof hash);
    return hash;
  }
};

bool ParseKey(std::string_view hex, KeyBytes& key) {
  static constexpr uint8_t kNone = 0xFF;
  static constexpr auto kDigits = [] {
    std::array<uint8_t, 256> digits{};
    digits.fill(kNone);
    for (uint8_t i = 0; i < 16; ++i) digits[static_cast<uint8_t>("0123456789abcdef"[i])] = i;
    return digits;
  }();
  if (hex.size() != 2 * key.size()) return false;
  bool good = true;
  for (size_t i = 0; i < key.size(); ++i) {
    const uint8_t high = kDigits[static_cast<uint8_t>(hex[2 * i])];
    const uint8_t low = kDigits[static_cast<uint8_t>(hex[2 * i + 1])];
    good = good && high != kNone && low != kNone;
    key[i] = static_cast<uint8_t>(high << 4 | (low & 15));
  }
  return good;
}

struct FileFacts {
  uint64_t bytes = 0;
  int64_t mtime_ns = 0;
};

std::optional<FileFacts> Facts(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return FileFacts{
      static_cast<uint64_t>(info.st_size),
      static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Error FileError(std::string_view what, const std::string& path) {
  return Error(fmt::format("cannot {} \"{}\": {}", what, path, std::strerror(errno)));
}

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

/// Writes a small file. Throws Error; then the file is gone.
void WriteFile(const std::string& path, std::string_view text, bool sync) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) throw FileError("create", path);
  bool good = true;
  while (good && !text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    good = n > 0;
    if (good) text.remove_prefix(static_cast<size_t>(n));
  }
  if (good && sync) good = ::fsync(fd) == 0;
  const int failure = errno;
  good = ::close(fd) == 0 && good;
  if (!good) {
    if (failure != 0) errno = failure;
    const Error error = FileError("write", path);
    ::unlink(path.c_str());
    throw error;
  }
}

/// Reads the artifact through and compares its digest.
bool IsWhole(const Store& store, const Record& record) {
  try {
    return DigestArchive(*store.Open(record)) == record.digest;
  } catch (const std::exception&) {  // damage may upset a reader in any way
    return false;
  }
}

/// A line of the file "last".
std::string LastLine(std::string_view step, std::string_view key) {
  return fmt::format("{} {}", key, step);
}

void SyncFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw FileError("open", path);
  const bool good = ::fsync(fd) == 0;
  ::close(fd);
  if (!good) throw FileError("write", path);
}

}  // namespace

struct Store::State {
  std::string folder;
  ArchiveFormat format;
  std::string host = HostName();
  std::atomic<uint64_t> counter{0};

  std::mutex mutex;  // guards everything below
  bool index_loaded = false;
  std::unique_ptr<LineFile> index;
  std::unordered_map<KeyBytes, std::string_view, KeyHash> lines;  // key -> index line
  bool last_loaded = false;
  std::unique_ptr<LineFile> last;
  std::unordered_map<std::string_view, std::string_view> last_keys;  // step name -> key
  std::deque<std::string> own_lines;  // of both files: what they do not map
  bool writable = false;

  /// "<folder>/ab/abcd...<suffix>".
  std::string Path(std::string_view key, std::string_view suffix) const {
    std::string path;
    path.reserve(folder.size() + key.size() + suffix.size() + 4);
    return path.append(folder).append("/").append(key, 0, 2).append("/").append(key).append(suffix);
  }
  std::string RecordPath(std::string_view key) const { return Path(key, ".json"); }

  void LoadIndex() {
    if (index_loaded) return;
    index_loaded = true;
    index = std::make_unique<LineFile>(folder + "/index");
    index->Read([&](std::string_view line) {
      if (lines.empty()) lines.reserve(index->bytes() / std::max<size_t>(line.size(), 64));
      KeyBytes key;
      if (ParseKey(line.substr(0, 64), key)) lines[key] = line;
    });
  }

  void LoadLast() {
    if (last_loaded) return;
    last_loaded = true;
    last = std::make_unique<LineFile>(folder + "/last");
    last->Read([&](std::string_view line) {  // key ' ' step name
      if (last_keys.empty()) last_keys.reserve(last->bytes() / std::max<size_t>(line.size(), 64));
      if (line.size() > 65) last_keys.insert_or_assign(line.substr(65), line.substr(0, 64));
    });
  }

  /// Replaces a shortcut file most of whose lines are outdated. REQUIRES: mutex held.
  void Compact() {
    LoadIndex();
    LoadLast();
    if (index->lines() > 2 * lines.size() + 1000) {
      auto it = lines.begin();
      std::string line;
      index->Rewrite([&]() -> const std::string* {
        if (it == lines.end()) return nullptr;
        line = std::string((it++)->second);
        return &line;
      });
    }
    if (last->lines() > 2 * last_keys.size() + 1000) {
      auto it = last_keys.begin();
      std::string line;
      last->Rewrite([&]() -> const std::string* {
        if (it == last_keys.end()) return nullptr;
        line = LastLine(it->first, it->second);
        ++it;
        return &line;
      });
    }
  }

  /// Puts a record into the index in memory and on disk; the result lives with the store.
  Record Keep(std::string index_line) {
    const std::scoped_lock lock(mutex);
    LoadIndex();
    own_lines.push_back(std::move(index_line));
    const Record record = *ParseIndexLine(own_lines.back());
    KeyBytes key;
    if (ParseKey(record.key, key)) lines[key] = own_lines.back();
    index->Append(own_lines.back());
    return record;
  }

  /// The record file itself, for keys that the index does not know.
  std::optional<Record> ReadRecord(std::string_view key) {
    std::ifstream file(RecordPath(key), std::ios::binary);
    if (!file) return std::nullopt;
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    std::optional<std::string> line = IndexLineOf(text);
    if (!line || !line->starts_with(key)) return std::nullopt;
    return Keep(std::move(*line));
  }

  std::string TemporaryPath() {
    return fmt::format("{}/tmp/{}.{}.{}", folder, host, ::getpid(), ++counter);
  }

  void MakeFolders() {
    const std::scoped_lock lock(mutex);
    if (writable) return;
    std::error_code failure;
    fs::create_directories(folder + "/tmp", failure);
    if (failure) {
      throw Error(fmt::format("cannot create the store \"{}\": {}", folder, failure.message()));
    }
    writable = true;
    Compact();
  }

  /// rename(2) into a shard, which is made when it is not there yet.
  void MoveInto(std::string_view key, const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) == 0) return;
    if (errno == ENOENT) {
      ::mkdir((folder + '/' + std::string(key.substr(0, 2))).c_str(), 0777);
      if (::rename(from.c_str(), to.c_str()) == 0) return;
    }
    throw FileError("publish", to);
  }
};

Store::Store(std::string folder, ArchiveFormat format) : state_(std::make_unique<State>()) {
  state_->folder = std::move(folder);
  state_->format = std::move(format);
}

Store::~Store() = default;

const std::string& Store::folder() const {
  return state_->folder;
}

std::string Store::PathOf(std::string_view key) const {
  return state_->Path(key, ".h5");
}

std::optional<Record> Store::FindRecord(std::string_view key) {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->LoadIndex();
    KeyBytes bytes;
    if (!ParseKey(key, bytes)) return std::nullopt;
    if (const auto it = state_->lines.find(bytes); it != state_->lines.end()) {
      return ParseIndexLine(it->second);
    }
  }
  return state_->ReadRecord(key);
}

Store::Lookup Store::Find(std::string_view key) {
  std::optional<Record> record = FindRecord(key);
  if (!record) return {};
  const auto facts = Facts(PathOf(key));
  if (!facts) return {Presence::kMissing, *record};
  if (facts->bytes != record->bytes) return {Presence::kShort, *record};
  if (facts->mtime_ns != record->mtime_ns) {
    if (!IsWhole(*this, *record)) return {Presence::kDamaged, *record};
    record->mtime_ns = facts->mtime_ns;  // a copied store: trusted from now on
    record = state_->Keep(IndexLine(*record));
  }
  return {Presence::kWhole, *record};
}

std::shared_ptr<const ArchiveReader> Store::Open(const Record& record) const {
  return state_->format.open(PathOf(record.key));
}

bool Store::RemoveIfDamaged(const Record& record) {
  if (IsWhole(*this, record)) return false;
  ::unlink(PathOf(record.key).c_str());
  return true;
}

std::unique_ptr<ArtifactDraft> Store::Begin() {
  state_->MakeFolders();
  return std::make_unique<DraftWriter>(state_->format, state_->TemporaryPath());
}

Record Store::Publish(std::unique_ptr<ArtifactDraft> draft, RecordDraft record,
                      const PublishOptions& options) {
  // A claim on the key (so that two processes never compute the same step) would be taken where
  // the step starts and be given back here.
  auto* writer = dynamic_cast<DraftWriter*>(draft.get());
  PUZZLE_CHECK(writer != nullptr, "a draft of another store");
  const std::string key = record.key;
  if (!options.replace) {
    auto other = Find(key);
    if (other.presence == Presence::kWhole) return other.record;
  }
  if (options.sync) SyncFile(writer->path());
  const auto facts = Facts(writer->path());
  if (!facts) throw FileError("read", writer->path());
  record.digest = writer->digest();
  record.bytes = facts->bytes;
  record.mtime_ns = facts->mtime_ns;
  const std::string text = RecordText(record);
  const std::string temporary = state_->TemporaryPath();
  WriteFile(temporary, text + '\n', options.sync);
  try {
    state_->MoveInto(key, writer->path(), PathOf(key));
    writer->Release();
    state_->MoveInto(key, temporary, state_->RecordPath(key));
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  return state_->Keep(
      IndexLine({key, record.digest, record.step, record.type, record.bytes, record.mtime_ns,
                 record.wall_s, !record.output_files_json.empty(), text}));
}

std::optional<std::string_view> Store::LastKey(std::string_view step) {
  const std::scoped_lock lock(state_->mutex);
  state_->LoadLast();
  const auto it = state_->last_keys.find(step);
  return it == state_->last_keys.end() ? std::nullopt : std::optional(it->second);
}

void Store::Remember(std::string_view step, std::string_view key) {
  const std::scoped_lock lock(state_->mutex);
  state_->LoadLast();
  const auto known = state_->last_keys.find(step);
  if (known != state_->last_keys.end() && known->second == key) return;
  const std::string_view line = state_->own_lines.emplace_back(LastLine(step, key));
  state_->last->Append(std::string(line));
  // The name is the new line's as well: the caller's may not live as long as the store.
  if (known != state_->last_keys.end()) {
    known->second = line.substr(0, 64);
  } else {
    state_->last_keys.emplace(line.substr(65), line.substr(0, 64));
  }
}

void Store::RemoveLeftovers() {
  std::error_code failure;
  const std::string own = state_->host + '.';
  for (fs::directory_iterator it(state_->folder + "/tmp", failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(own)) continue;  // another machine's: it may be alive
    pid_t pid = 0;
    const char* digits = name.data() + own.size();
    std::from_chars(digits, name.data() + name.size(), pid);
    if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) fs::remove(it->path(), failure);
  }
}

std::string PresenceText(Presence presence) {
  switch (presence) {
    case Presence::kAbsent:
      return "missing";
    case Presence::kWhole:
      return "whole";
    case Presence::kMissing:
      return "artifact file missing";
    case Presence::kShort:
      return "artifact file has the wrong size";
    case Presence::kDamaged:
      return "artifact file damaged";
  }
  return {};
}

}  // namespace puzzle
