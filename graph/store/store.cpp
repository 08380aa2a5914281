#include "graph/store/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>

#include "graph/store/draft_writer.h"
#include "graph/store/leftovers.h"
#include "graph/store/save_points.h"
#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

Error FileError(std::string_view what, const std::string& path) {
  return Error(fmt::format("cannot {} \"{}\": {}", what, path, std::strerror(errno)));
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

void SyncFile(const std::string& path) {
  const Descriptor fd = OpenPlainFile(path, O_RDONLY);
  if (fd.get() < 0) throw FileError("open", path);
  const bool good = ::fsync(fd.get()) == 0;
  if (!good) throw FileError("write", path);
}

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

  /// rename(2) into a folder of the store, which is made when it is not there yet.
  static void MoveInto(const std::string& from, const std::string& to) {
    MakeStoreFolder(to.substr(0, to.rfind('/')));
    if (::rename(from.c_str(), to.c_str()) != 0) throw FileError("publish", to);
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
  if (layer.IsWhole(record)) return false;
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
  if (!options.replace) {
    auto other = state_->own().Find(key);
    if (other.presence == Presence::kWhole) return other.record;
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
  try {
    state_->MoveInto(draft->path(), state_->own().ArtifactPath(key));
    draft->Release();
    state_->MoveInto(temporary, state_->own().RecordPath(key));
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  return state_->own().Keep(
      IndexLine({key, record.digest, record.step, record.type, record.bytes, record.mtime_ns,
                 record.wall_s, !record.output_files_json.empty(), text, 0}));
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
