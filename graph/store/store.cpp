#include "graph/store/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "graph/store/draft_writer.h"
#include "graph/store/leftovers.h"
#include "graph/store/line_file.h"
#include "graph/store/save_points.h"
#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"
#include "io/references.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

Error FileError(std::string_view what, const std::string& path) {
  return Error(fmt::format("cannot {} \"{}\": {}", what, path, std::strerror(errno)));
}

/// Whether the result needs files besides its artifact: Record::has_output_files.
bool NeedsFiles(const RecordDraft& record) {
  const auto member = fmt::format("\"{}\":", kReferredFiles);
  return !record.output_files_json.empty() || record.scalars_json.find(member) != std::string::npos;
}

/// Writes a small new file. Throws Error; then the file is gone.
void WriteFile(const std::string& path, std::string_view text, bool sync) {
  const int fd = CreateNewFile(path).Release();
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

constexpr std::chrono::milliseconds kLongestPause{200};

}  // namespace

struct Store::State {
  ArchiveFormat format;
  std::vector<std::unique_ptr<StoreLayer>> layers;  // the own one first
  std::vector<Descriptor> readers;                  // announcements in shared stores
  StoreLocks locks;
  SavePoints save_points;
  std::string graph;  // mark of the one that is worked on
  std::mutex mutex;   // guards `writable`
  bool writable = false;
  std::atomic<bool> need_everything{false};
  std::atomic<int> patience{3};  // how many artifacts may yet be waited for in vain

  State(const std::string& folder, ArchiveFormat f)
      : format(std::move(f)),
        locks(folder + "/locks"),
        save_points(folder + "/savepoints", format) {}

  StoreLayer& own() { return *layers.front(); }

  void MakeFolders() {
    const std::scoped_lock lock(mutex);
    if (writable) return;
    std::error_code failure;
    fs::create_directories(own().folder(), failure);
    if (failure) {
      throw Error(
          fmt::format("cannot create the store \"{}\": {}", own().folder(), failure.message()));
    }
    MakeStoreFolder(own().folder() + "/tmp");
    locks.Announce();
    writable = true;
  }

  /// Moves a file into a folder of the store, which is made when it is not there yet. False when
  /// there is one of that name which is not to be replaced.
  static bool MoveInto(const std::string& from, const std::string& to, bool replace) {
    MakeStoreFolder(to.substr(0, to.rfind('/')));
    if (!replace) return MoveToNewName(from, to);
    if (::rename(from.c_str(), to.c_str()) != 0) throw FileError("publish", to);
    return true;
  }
};

Store::Store(std::string folder, ArchiveFormat format, const std::vector<std::string>& shared)
    : state_(std::make_unique<State>(folder, std::move(format))) {
  const std::string memo_path = folder + "/shared";
  state_->layers.push_back(std::make_unique<StoreLayer>(
      StoreLayer::Options{std::move(folder), 0, /*writable=*/true, {}}, state_->format));
  for (const std::string& path : shared) {
    const auto number = static_cast<uint32_t>(state_->layers.size());
    state_->layers.push_back(std::make_unique<StoreLayer>(
        StoreLayer::Options{path, number, /*writable=*/false, memo_path}, state_->format));
    state_->readers.push_back(StoreLocks::AnnounceReader(path + "/locks"));
  }
}

Store::~Store() = default;

const std::string& Store::folder() const {
  return state_->own().folder();
}

StoreLocks& Store::locks() {
  return state_->locks;
}

StoreLayer& Store::own() {
  return state_->own();
}

std::string Store::PathOf(const Record& record) const {
  return state_->layers[record.layer]->ArtifactPath(record.key);
}

void Store::AnnounceRun() {
  try {
    state_->MakeFolders();
  } catch (const Error&) {  // Begin will say it
  }
}

void Store::ReadIndex() {
  for (const auto& layer : state_->layers) layer->ReadIndex();
}

std::optional<Record> Store::FindRecord(std::string_view key) {
  for (const auto& layer : state_->layers) {
    if (auto record = layer->FindRecord(key)) return record;
  }
  return std::nullopt;
}

Lookup Store::Find(std::string_view key) {
  Lookup found = state_->own().Find(key);
  if (found.presence == Presence::kMissing || found.presence == Presence::kShort) {
    // On another machine the record may show up before the artifact.
    const Leases* leases = state_->locks.leases();
    if (leases != nullptr && state_->patience.fetch_sub(1) > 0) {
      found = LookAgain(key, leases->times().visible_s);
      if (found.presence == Presence::kWhole) ++state_->patience;
    }
  }
  if (found.presence == Presence::kWhole) {
    const bool fresh = found.used_ns >= state_->locks.needed_since_ns();
    return fresh || Use(key) ? found : Lookup{};
  }
  for (size_t i = 1; i < state_->layers.size(); ++i) {
    Lookup below = state_->layers[i]->Find(key);
    if (below.presence == Presence::kWhole) return below;
    if (found.presence == Presence::kAbsent) found = below;
  }
  return found;
}

Lookup Store::FindAfterWait(std::string_view key) {
  if (Lookup found = Find(key); found.presence != Presence::kAbsent) return found;
  const Leases* leases = state_->locks.leases();
  return leases == nullptr ? Lookup() : LookAgain(key, leases->times().visible_s);
}

/// Looks into the own store until a result is whole. Listing a folder is what makes a network file
/// system ask its server what is in there, and not its memory.
Lookup Store::LookAgain(std::string_view key, double patience_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience_s);
  const std::string subfolder = fs::path(own().ArtifactPath(key)).parent_path().string();
  for (auto pause = std::chrono::milliseconds(5);; pause = std::min(2 * pause, kLongestPause)) {
    for (const std::string& folder : {this->folder(), subfolder}) {
      std::error_code ignored;
      (void)(fs::directory_iterator(folder, ignored) == fs::directory_iterator());
    }
    Lookup found = own().Find(key);
    if (found.presence == Presence::kWhole || found.presence == Presence::kDamaged ||
        std::chrono::steady_clock::now() >= end) {
      return found;
    }
    std::this_thread::sleep_for(pause);
  }
}

/// Notes that an artifact is used, so that `cache gc` sees it; false when it is gone meanwhile.
bool Store::Use(std::string_view key) {
  const GateGuard open(state_->locks, GateGuard::Mode::kOpen);
  const timespec now_and_unchanged[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  const std::string path = state_->own().ArtifactPath(key);
  if (::utimensat(AT_FDCWD, path.c_str(), now_and_unchanged, AT_SYMLINK_NOFOLLOW) == 0) return true;
  if (errno == ENOENT) return false;
  // Somebody else's file: then all of them are kept for as long as this run lives.
  if (!state_->need_everything.exchange(true)) state_->locks.NeedEverything();
  return true;
}

std::shared_ptr<const ArchiveReader> Store::Open(const Record& record) const {
  return state_->format.open(PathOf(record));
}

bool Store::RemoveIfDamaged(const Record& record) {
  StoreLayer& layer = *state_->layers[record.layer];
  if (layer.IsWhole(record) || IsShortOfFiles()) return false;
  if (layer.ReadNewer(record)) return false;
  layer.Reject(record);
  return true;
}

std::string Store::TemporaryPath() {
  state_->MakeFolders();
  return NewTemporaryPath(folder());
}

std::unique_ptr<ArtifactDraft> Store::Begin() {
  return std::make_unique<DraftWriter>(state_->format, TemporaryPath());
}

Record Store::Publish(std::unique_ptr<ArtifactDraft> draft, RecordDraft record,
                      const PublishOptions& options) {
  const std::string key = record.key;
  bool replace = options.replace;
  if (!replace) {
    const Lookup other = state_->own().Find(key);
    if (other.presence == Presence::kWhole) return other.record;
    replace = other.presence != Presence::kAbsent;
  }
  if (options.sync) SyncFile(draft->path());
  const auto facts = FactsOf(draft->path());
  if (!facts) throw FileError("read", draft->path());
  record.digest = draft->digest();
  record.bytes = facts->bytes;
  record.mtime_ns = facts->mtime_ns;
  const std::string text = RecordText(record);
  const std::string temporary = NewTemporaryPath(folder());
  WriteFile(temporary, text + '\n', options.sync);
  // Somebody who computes the same without a claim on it (see leases.h) may be anywhere in these
  // lines as well. Whose artifact is there first has won, and will write the record.
  try {
    if (!state_->MoveInto(draft->path(), own().ArtifactPath(key), replace)) {
      if (auto winner = Winner(key)) {
        ::unlink(temporary.c_str());
        return *winner;
      }
      state_->MoveInto(draft->path(), own().ArtifactPath(key), true);  // it died between the two
    }
    draft->Release();
    if (!state_->MoveInto(temporary, own().RecordPath(key), replace)) {
      if (auto winner = Winner(key)) {
        ::unlink(temporary.c_str());
        return *winner;
      }
      state_->MoveInto(temporary, own().RecordPath(key), true);
    }
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  return state_->own().Keep(
      IndexLine({key, record.digest, record.step, record.type, record.bytes, record.mtime_ns,
                 record.wall_s, NeedsFiles(record), text, 0}));
}

/// The result of a run that was faster, whose artifact is there and whose record may follow. Where
/// locks are all there is to claims, nobody is at it any more and nothing will follow.
std::optional<Record> Store::Winner(std::string_view key) {
  constexpr double kBetweenFiles_s = 2;
  const bool may_follow = state_->locks.leases() != nullptr || !state_->locks.binds();
  const Lookup found = LookAgain(key, may_follow ? kBetweenFiles_s : 0);
  return found.presence == Presence::kWhole ? std::optional(found.record) : std::nullopt;
}

SavePoints& Store::save_points() {
  return state_->save_points;
}

std::optional<std::string_view> Store::LastKey(std::string_view step) {
  for (const auto& layer : state_->layers) {
    if (auto key = layer->LastKey(step, state_->graph)) return key;
  }
  return std::nullopt;
}

void Store::Remember(std::string_view step, std::string_view key) {
  state_->own().Remember(step, state_->graph, key);
}

void Store::RememberAll(const StepKeys& results) {
  state_->own().RememberAll(results, state_->graph);
}

std::string Store::LastRemembered() const {
  return LineFile::LastLine(folder() + "/last");
}

void Store::WorkOn(const std::string& graph) {
  constexpr size_t kMarkDigits = 8;
  std::error_code failure;
  const fs::path whole = fs::weakly_canonical(graph, failure);
  const std::string name = failure ? graph : whole.string();
  state_->graph = graph.empty() ? "" : FingerprintText(name).substr(0, kMarkDigits);
}

std::vector<std::string> Store::TakeComplaints() {
  std::vector<std::string> all;
  for (const auto& layer : state_->layers) {
    const std::vector<std::string> some = layer->TakeComplaints();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

void Store::RemoveLeftovers() {
  for (const std::string& path : FindLeftovers(folder() + "/tmp", state_->locks)) {
    std::error_code ignored;
    fs::remove_all(path, ignored);  // a step's scratch may be a folder; links are not followed
  }
}

void Store::TidyUp() {
  RemoveLeftovers();
  state_->own().Compact();
}

}  // namespace puzzle
