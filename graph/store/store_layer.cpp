#include "graph/store/store_layer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory_resource>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "graph/store/leftovers.h"
#include "graph/store/line_file.h"
#include "io/error.h"
#include "io/file.h"
#include "io/hex.h"

namespace puzzle {
namespace {

/// A key as 32 bytes: half the memory of its text, and its own hash.
using ParsedKey = std::array<uint8_t, 32>;

struct KeyHash {
  size_t operator()(const ParsedKey& key) const {
    size_t hash;
    std::memcpy(&hash, key.data(), sizeof hash);
    return hash;
  }
};

int64_t Nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

constexpr uint64_t kMaxRecord = uint64_t{256} << 20;
constexpr size_t kMaxComplaints = 100;
/// Stands between the name of a step and the mark of its graph; no name holds one.
constexpr char kMarkSeparator = '\t';

/// How a step of a graph is called in the file "last".
std::string MarkedName(std::string_view step, std::string_view graph) {
  return graph.empty() ? std::string(step) : fmt::format("{}{}{}", step, kMarkSeparator, graph);
}

std::string_view NameWithoutMark(std::string_view name) {
  return name.substr(0, name.find(kMarkSeparator));
}

/// A line of the file "last".
std::string LastLine(std::string_view name, std::string_view key) {
  return fmt::format("{} {}", key, name);
}

/// A line of the memo: what reading the artifact of a key with this time stamp has shown.
std::string MemoLine(std::string_view key, int64_t mtime_ns) {
  return fmt::format("{} {} ", key, mtime_ns);
}

}  // namespace

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

std::optional<FileFacts> FactsOf(const std::string& path) {
  return FactsOf(path.c_str(), AT_FDCWD);
}

std::optional<FileFacts> FactsOf(const char* path, int folder) {
  struct stat info {};
  if (::fstatat(folder, path, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) {
    return std::nullopt;
  }
  return FileFacts{static_cast<uint64_t>(info.st_size), Nanoseconds(info.st_mtim),
                   Nanoseconds(info.st_atim)};
}

struct StoreLayer::State {
  Options options;
  const ArchiveFormat& format;

  std::once_flag index_loaded;
  std::shared_mutex mutex;  // guards everything below; look-ups in the index share it
  std::unique_ptr<LineFile> index;
  std::pmr::monotonic_buffer_resource nodes;  // of `lines`: one by one they are half its time
  std::pmr::unordered_map<ParsedKey, std::string_view, KeyHash> lines{&nodes};  // key -> index line
  bool last_loaded = false;
  std::unique_ptr<LineFile> last;
  std::unordered_map<std::string_view, std::string_view> last_keys;    // marked name -> key
  std::unordered_map<std::string_view, std::string_view> latest_keys;  // step name -> key
  std::deque<std::string> own_lines;    // of both files: what they do not hold
  std::vector<std::string> complaints;  // not told yet
  std::unordered_set<std::string> complained;
  std::array<std::atomic<bool>, 256> inside{};  // folders "00" to "ff" that were looked at
  std::unique_ptr<LineFile> memo;
  std::unordered_map<std::string, bool> verdicts;  // memo line -> whole

  /// "<folder>/ab/abcd...<suffix>".
  std::string Path(std::string_view key, std::string_view suffix) const {
    const std::string& folder = options.folder;
    std::string path;
    path.reserve(folder.size() + key.size() + suffix.size() + 4);
    return path.append(folder).append("/").append(key, 0, 2).append("/").append(key).append(suffix);
  }

  State(Options o, const ArchiveFormat& f) : options(std::move(o)), format(f) {}

  /// With or without the mutex: what it fills is used by nobody before it returns.
  void LoadIndex() {
    std::call_once(index_loaded, [this] {
      index = std::make_unique<LineFile>(options.folder + "/index");
      index->Read([this](std::string_view line) {
        if (lines.empty()) lines.reserve(index->bytes() / std::max<size_t>(line.size(), 64));
        ParsedKey key;
        if (ReadHex(line.substr(0, line.find(' ')), key)) lines[key] = line;
      });
    });
  }

  void LoadLast() {
    if (last_loaded) return;
    last_loaded = true;
    last = std::make_unique<LineFile>(options.folder + "/last");
    last->Read([&](std::string_view line) {  // key ' ' step name
      if (last_keys.empty()) last_keys.reserve(last->bytes() / std::max<size_t>(line.size(), 64));
      ParsedKey key;
      if (line.size() > 65 && line[64] == ' ' && ReadHex(line.substr(0, 64), key)) Note(line);
    });
  }

  /// Takes over a line of the file "last", which lives as long as this object.
  void Note(std::string_view line) {
    const std::string_view key = line.substr(0, 64), name = line.substr(65);
    const std::string_view step = NameWithoutMark(name);
    // The name is the new line's as well: that of an older one may not live as long.
    last_keys.erase(name);
    last_keys.emplace(name, key);
    latest_keys.erase(step);
    latest_keys.emplace(step, key);
    if (step.size() < name.size()) last_keys.erase(step);  // of a program that knew no graphs
  }

  void Complain(const std::string& path) {
    const std::scoped_lock lock(mutex);
    if (complained.size() >= kMaxComplaints || !complained.insert(path).second) return;
    complaints.push_back(path + ": is no record as this program writes them; it does not count");
  }

  void LoadMemo() {
    if (memo) return;
    memo = std::make_unique<LineFile>(options.memo_path);
    memo->Read([&](std::string_view line) {  // key ' ' mtime ' ' verdict
      const size_t end = line.rfind(' ');
      if (end != std::string_view::npos) {
        verdicts.insert_or_assign(std::string(line.substr(0, end + 1)),
                                  line.substr(end + 1) == "whole");
      }
    });
  }

  void NoteVerdict(std::string_view key, int64_t mtime_ns, bool whole) {
    const std::scoped_lock lock(mutex);
    LoadMemo();
    const std::string line = MemoLine(key, mtime_ns);
    verdicts[line] = whole;
    memo->Append(line + (whole ? "whole" : "damaged"));
  }

  std::optional<bool> Verdict(std::string_view key, int64_t mtime_ns) {
    const std::scoped_lock lock(mutex);
    LoadMemo();
    const auto it = verdicts.find(MemoLine(key, mtime_ns));
    return it == verdicts.end() ? std::nullopt : std::optional(it->second);
  }

  /// REQUIRES: mutex held.
  void RewriteIndex() {
    auto it = lines.begin();
    std::string line;
    index->Rewrite(NewTemporaryPath(options.folder), [&]() -> const std::string* {
      if (it == lines.end()) return nullptr;
      line = std::string((it++)->second);
      return &line;
    });
  }

  /// REQUIRES: mutex held.
  void RewriteLast() {
    // What a name meant last stands behind what it meant in other graphs.
    std::vector<std::pair<std::string_view, std::string_view>> names(last_keys.begin(),
                                                                     last_keys.end());
    std::stable_partition(names.begin(), names.end(), [&](const auto& entry) {
      return latest_keys.at(NameWithoutMark(entry.first)) != entry.second;
    });
    auto it = names.begin();
    std::string line;
    last->Rewrite(NewTemporaryPath(options.folder), [&]() -> const std::string* {
      if (it == names.end()) return nullptr;
      line = LastLine(it->first, it->second);
      ++it;
      return &line;
    });
  }
};

StoreLayer::StoreLayer(Options options, const ArchiveFormat& format)
    : state_(std::make_unique<State>(std::move(options), format)) {}

StoreLayer::~StoreLayer() = default;

const std::string& StoreLayer::folder() const {
  return state_->options.folder;
}
std::string StoreLayer::ArtifactPath(std::string_view key) const {
  return state_->Path(key, ".h5");
}
std::string StoreLayer::RecordPath(std::string_view key) const {
  return state_->Path(key, ".json");
}

Record StoreLayer::Keep(std::string index_line) {
  const std::scoped_lock lock(state_->mutex);
  state_->LoadIndex();
  const std::string& line = state_->own_lines.emplace_back(std::move(index_line));
  std::optional<Record> parsed = ParseIndexLine(line);
  PUZZLE_CHECK(parsed.has_value(), "a line of the index that is none");
  Record record = *parsed;
  ParsedKey key;
  if (ReadHex(record.key, key)) state_->lines[key] = line;
  if (state_->options.writable) state_->index->Append(line);
  record.layer = state_->options.number;
  return record;
}

std::optional<Record> StoreLayer::FindRecord(std::string_view key) {
  ParsedKey bytes;
  if (!ReadHex(key, bytes)) return std::nullopt;
  state_->LoadIndex();
  {
    const std::shared_lock lock(state_->mutex);
    if (const auto it = state_->lines.find(bytes); it != state_->lines.end()) {
      std::optional<Record> record = ParseIndexLine(it->second);
      if (record) record->layer = state_->options.number;
      return record;
    }
  }
  if (!IsInside(key)) return std::nullopt;
  std::optional<std::string> line = ReadRecord(key);  // the index does not know every key
  if (!line) return std::nullopt;
  return Keep(std::move(*line));
}

std::optional<std::string> StoreLayer::ReadRecord(std::string_view key) {
  const std::string path = RecordPath(key);
  const std::optional<std::string> text = ReadPlainFile(path, kMaxRecord);
  if (!text) {
    if (errno == ELOOP || errno == EINVAL) state_->Complain(path);
    return std::nullopt;
  }
  std::optional<std::string> line = IndexLineOf(*text);
  if (!line || !line->starts_with(key)) {
    state_->Complain(path);
    return std::nullopt;
  }
  return line;
}

std::optional<std::string> StoreLayer::ReadNewer(const Record& known) {
  std::optional<std::string> line = ReadRecord(known.key);
  const std::optional<Record> now = line ? ParseIndexLine(*line) : std::nullopt;
  return now && now->digest != known.digest ? std::move(line) : std::nullopt;
}

bool StoreLayer::IsInside(std::string_view key) {
  ParsedKey bytes;
  if (!ReadHex(key, bytes)) return false;
  std::atomic<bool>& known = state_->inside[bytes[0]];
  if (known.load(std::memory_order_relaxed)) return true;
  const std::string folder = fmt::format("{}/{}", this->folder(), key.substr(0, 2));
  if (!IsPlainFolder(folder)) return false;
  known.store(true, std::memory_order_relaxed);
  return true;
}

std::vector<std::string> StoreLayer::TakeComplaints() {
  const std::scoped_lock lock(state_->mutex);
  return std::exchange(state_->complaints, {});
}

void StoreLayer::ReadIndex() {
  state_->LoadIndex();
}

Lookup StoreLayer::Find(std::string_view key) {
  std::optional<Record> record = FindRecord(key);
  if (!record || !IsInside(key)) return {};
  const auto facts = FactsOf(ArtifactPath(key));
  if (!facts) {
    // The index may know more than there is: `cache gc` removes both files.
    if (!FactsOf(RecordPath(key))) return {};
    return {Presence::kMissing, *record};
  }
  const bool as_recorded = facts->bytes == record->bytes && facts->mtime_ns == record->mtime_ns;
  if (state_->options.writable && !as_recorded) {
    // Another process may have replaced the result since the index was read. Of a shared store all
    // may be copies with other times, at every run.
    if (auto line = ReadNewer(*record)) record = Keep(std::move(*line));
  }
  if (facts->bytes != record->bytes) return {Presence::kShort, *record};
  if (!IsGood(*record, facts->mtime_ns)) return {Presence::kDamaged, *record};
  return {Presence::kWhole, *record, facts->used_ns};
}

/// An artifact with another time stamp than recorded, such as one of a copied store, is read once
/// and trusted from then on.
bool StoreLayer::IsGood(Record& record, int64_t mtime_ns) {
  const bool as_recorded = record.mtime_ns == mtime_ns;
  if (state_->options.writable) {
    if (as_recorded) return true;
    if (!IsWhole(record)) return false;
    record.mtime_ns = mtime_ns;
    record = Keep(IndexLine(record));
    return true;
  }
  if (const auto verdict = state_->Verdict(record.key, mtime_ns)) return *verdict;
  if (as_recorded) return true;
  const bool whole = IsWhole(record);
  if (whole || !IsShortOfFiles()) state_->NoteVerdict(record.key, mtime_ns, whole);
  return whole;
}

bool StoreLayer::IsWhole(const Record& record) const {
  try {
    return DigestArchive(*state_->format.open(ArtifactPath(record.key))) == record.digest;
  } catch (const std::exception&) {  // damage may upset a reader in any way
    return false;
  }
}

void StoreLayer::Reject(const Record& record) {
  if (state_->options.writable) {
    if (IsInside(record.key)) ::unlink(ArtifactPath(record.key).c_str());
  } else if (const auto facts = FactsOf(ArtifactPath(record.key))) {
    state_->NoteVerdict(record.key, facts->mtime_ns, false);
  }
}

std::optional<std::string_view> StoreLayer::LastKey(std::string_view step, std::string_view graph) {
  const std::scoped_lock lock(state_->mutex);
  state_->LoadLast();
  if (const auto it = state_->last_keys.find(MarkedName(step, graph));
      !graph.empty() && it != state_->last_keys.end()) {
    return it->second;
  }
  const auto it = state_->latest_keys.find(step);
  return it == state_->latest_keys.end() ? std::nullopt : std::optional(it->second);
}

void StoreLayer::Remember(std::string_view step, std::string_view graph, std::string_view key) {
  const std::scoped_lock lock(state_->mutex);
  state_->LoadLast();
  const std::string name = MarkedName(step, graph);
  const auto known = state_->last_keys.find(name);
  if (known != state_->last_keys.end() && known->second == key) return;
  const std::string& line = state_->own_lines.emplace_back(LastLine(name, key));
  if (state_->options.writable) state_->last->Append(line);
  state_->Note(line);
}

void StoreLayer::RememberAll(const StepKeys& results, std::string_view graph) {
  std::string all(graph);
  for (const auto& [step, key] : results) all.append(key).append(step).append("\n");
  // A line that stands for all of them. It is too short for a key and a name, hence no such line.
  const std::string seal = "seal " + Checksum(all);
  if (results.empty() || LineFile::LastLine(state_->options.folder + "/last") == seal) return;
  for (const auto& [step, key] : results) Remember(step, graph, key);
  Compact();
  const std::scoped_lock lock(state_->mutex);
  if (state_->options.writable) state_->last->Append(seal);
}

std::unordered_set<std::string_view> StoreLayer::LastKeys() {
  const std::scoped_lock lock(state_->mutex);
  state_->LoadLast();
  std::unordered_set<std::string_view> keys;
  for (const auto& [name, key] : state_->last_keys) keys.insert(key);
  return keys;
}

void StoreLayer::Compact() {
  const std::scoped_lock lock(state_->mutex);
  state_->LoadIndex();
  state_->LoadLast();
  if (state_->index->lines() > 2 * state_->lines.size() + 1000) state_->RewriteIndex();
  if (state_->last->lines() > 2 * state_->last_keys.size() + 1000) state_->RewriteLast();
}

void StoreLayer::Forget(const std::function<bool(std::string_view key)>& gone) {
  const std::scoped_lock lock(state_->mutex);
  state_->LoadIndex();
  std::erase_if(state_->lines, [&](const auto& entry) { return gone(entry.second.substr(0, 64)); });
  state_->RewriteIndex();
}

}  // namespace puzzle
