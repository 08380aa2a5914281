#include "io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "io/error.h"
#include "io/lfs_pointer.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

[[noreturn]] void ThrowErrno(const std::string& path, const char* doing) {
  const int code = errno;
  throw Error(fmt::format("{}: cannot {}: {}", path, doing, std::generic_category().message(code)));
}

Descriptor OpenOrThrow(const std::string& path, int flags, const char* doing) {
  Descriptor fd(open(path.c_str(), flags | O_CLOEXEC, 0666));
  if (fd.get() < 0) ThrowErrno(path, doing);
  return fd;
}

struct stat Inspect(const std::string& path, int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) ThrowErrno(path, "inspect");
  return status;
}

/// What a path names that is no regular file.
const char* KindOfFile(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

/// Appends what a descriptor gives until it ends.
void ReadToEnd(const std::string& path, int fd, uint64_t max_bytes, std::string& text) {
  constexpr size_t kPiece = 1 << 16;
  for (size_t done = text.size();;) {
    text.resize(done + kPiece);
    const ssize_t count = read(fd, text.data() + done, kPiece);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) ThrowErrno(path, "read");
    done += static_cast<size_t>(count);
    text.resize(done);
    if (count == 0) return;
    if (done > max_bytes) {
      throw Error(
          fmt::format("{}: holds more than the {} bytes that are accepted", path, max_bytes));
    }
  }
}

void WriteToEnd(const std::string& path, int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) ThrowErrno(path, "write");
    text.remove_prefix(static_cast<size_t>(count));
  }
}

/// Where an output path leads: to an open descriptor of this process ("/dev/stdout", "/dev/fd/3"),
/// else to a path that is no symbolic link.
struct Destination {
  std::optional<int> descriptor;
  std::string path;
};

Destination Follow(const std::string& path) {
  constexpr int kMaxLinks = 40;  // as the system has it
  std::filesystem::path at = path;
  for (int links = 0; links < kMaxLinks; ++links) {
    const std::string text = at.string();
    for (const std::string& folder : {std::string("/dev/fd/"), std::string("/proc/self/fd/"),
                                      fmt::format("/proc/{}/fd/", getpid())}) {
      int number = -1;
      if (text.starts_with(folder) &&
          std::from_chars(text.data() + folder.size(), text.data() + text.size(), number).ptr ==
              text.data() + text.size()) {
        return {number, text};
      }
    }
    std::error_code failure;
    const std::filesystem::path target = std::filesystem::read_symlink(at, failure);
    if (failure) return {std::nullopt, text};
    at = at.parent_path() / target;  // an absolute target replaces the folder
  }
  errno = ELOOP;
  ThrowErrno(path, "create");
}

/// A file that is there and is no regular one.
bool IsSpecial(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

}  // namespace

Descriptor OpenPlainFile(const std::string& path, int flags) {
  Descriptor fd(open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666));
  struct stat status {};
  if (fd.get() >= 0 && (fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))) {
    fd = Descriptor();
    errno = EINVAL;
  }
  return fd;
}

Descriptor CreateNewFile(const std::string& path) {
  return OpenOrThrow(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, "create");
}

std::optional<std::string> ReadPlainFile(const std::string& path, uint64_t max_bytes) {
  const Descriptor fd = OpenPlainFile(path, O_RDONLY);
  struct stat status {};
  if (fd.get() < 0 || fstat(fd.get(), &status) != 0) return std::nullopt;
  if (static_cast<uint64_t>(status.st_size) > max_bytes) return std::nullopt;
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = read(fd.get(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;  // it was cut meanwhile
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

void AllowManyOpenFiles() {
  constexpr rlim_t kMany = 65'536;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kMany) return;
  limit.rlim_cur = std::min(limit.rlim_max, kMany);
  setrlimit(RLIMIT_NOFILE, &limit);  // where it fails, things stay as they are
}

bool IsShortOfFiles() {
  const Descriptor one(open("/", O_PATH | O_CLOEXEC));  // as many as an open archive has
  const Descriptor two(open("/", O_PATH | O_CLOEXEC));
  return one.get() < 0 || two.get() < 0;
}

bool IsPlainFileName(std::string_view name) {
  constexpr size_t kMaxName = 255;
  return !name.empty() && name.size() <= kMaxName && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return c != '/' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7F;
         });
}

std::string RandomName() {
  uint64_t number = 0;
  PUZZLE_CHECK(getrandom(&number, sizeof number, 0) == sizeof number, "no random bytes");
  return fmt::format("{:016x}", number);
}

Descriptor::Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

int Descriptor::Release() {
  return std::exchange(fd_, -1);
}

InputFile::InputFile(const std::string& path)
    : path_(path), fd_(OpenOrThrow(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, "open")) {
  const struct stat status = Inspect(path_, fd_.get());
  if (!S_ISREG(status.st_mode)) {
    throw Error(
        fmt::format("{}: is {}, not a regular file; it is read at more than one place, "
                    "which only a file allows",
                    path_, KindOfFile(status.st_mode)));
  }
  size_ = static_cast<uint64_t>(status.st_size);
  char byte = 0;  // files of /proc say that they are empty and are not
  if (size_ == 0 && pread(fd_.get(), &byte, 1, 0) > 0) {
    throw Error(
        fmt::format("{}: says that it is empty and is not; copy it to a regular file", path_));
  }
}

void InputFile::ReadAt(uint64_t offset, void* out, size_t bytes) const {
  auto* cursor = static_cast<char*>(out);
  for (size_t done = 0; done < bytes;) {
    const ssize_t count =
        pread(fd_.get(), cursor + done, bytes - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) ThrowErrno(path_, "read");
    if (count == 0) {
      throw Error(fmt::format("{}: ends at byte {}, expected bytes up to {}", path_, offset + done,
                              offset + bytes));
    }
    done += static_cast<size_t>(count);
  }
}

OutputFile::OutputFile(const std::string& path)
    : path_(path), fd_(OpenOrThrow(path, O_WRONLY | O_CREAT | O_TRUNC, "create")) {}

OutputFile::OutputFile(Descriptor file, std::string path)
    : path_(std::move(path)), fd_(std::move(file)) {}

void OutputFile::WriteAt(uint64_t offset, const void* data, size_t bytes) {
  const auto* cursor = static_cast<const char*>(data);
  for (size_t done = 0; done < bytes;) {
    const ssize_t count =
        pwrite(fd_.get(), cursor + done, bytes - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) ThrowErrno(path_, "write");
    done += static_cast<size_t>(count);
  }
}

void OutputFile::Sync() {
  if (fsync(fd_.get()) != 0) ThrowErrno(path_, "write");
}

void OutputFile::Close() {
  const int fd = fd_.Release();
  if (fd >= 0 && close(fd) != 0) ThrowErrno(path_, "close");
}

AtomicFile::AtomicFile(const std::string& path)
    : path_(path),
      temporary_path_(fmt::format("{}.{}.tmp", path, RandomName())),
      file_(CreateNewFile(temporary_path_), temporary_path_) {}

AtomicFile::~AtomicFile() {
  if (!committed_) unlink(temporary_path_.c_str());
}

void AtomicFile::Append(const void* data, size_t bytes) {
  file_.WriteAt(size_, data, bytes);
  size_ += bytes;
}

void AtomicFile::Commit() {
  file_.Close();
  if (rename(temporary_path_.c_str(), path_.c_str()) != 0) ThrowErrno(path_, "replace");
  committed_ = true;
}

void SyncFile(const std::string& path) {
  const Descriptor fd = OpenPlainFile(path, O_RDONLY);
  if (fd.get() < 0) ThrowErrno(path, "open");
  if (fsync(fd.get()) != 0) ThrowErrno(path, "write");
}

void WriteWholeFile(const std::string& path, std::string_view text) {
  const Destination to = Follow(path);
  if (to.descriptor) {  // not opened anew: that would begin at the start of the file behind it
    WriteToEnd(path, *to.descriptor, text);
  } else if (IsSpecial(to.path)) {
    const Descriptor fd = OpenOrThrow(to.path, O_WRONLY | O_NOCTTY, "create");
    WriteToEnd(path, fd.get(), text);
  } else {
    AtomicFile file(to.path);
    file.Append(text.data(), text.size());
    file.Commit();
  }
}

std::optional<int> OpenDescriptorOf(const std::string& path) {
  return Follow(path).descriptor;
}

void CheckWritable(const std::string& path) {
  const Destination to = Follow(path);
  if (to.descriptor) {
    if (fcntl(*to.descriptor, F_GETFL) < 0) ThrowErrno(path, "write");
  } else if (IsSpecial(to.path)) {
    if (access(to.path.c_str(), W_OK) != 0) ThrowErrno(path, "write");
  } else {
    if (std::filesystem::is_directory(to.path)) {
      errno = EISDIR;
      ThrowErrno(path, "create");
    }
    const AtomicFile trial(to.path);
  }
}

std::string ReadWholeFile(const std::string& path, uint64_t max_bytes) {
  const InputFile file(path);
  if (file.size() > max_bytes) {
    throw Error(
        fmt::format("{}: holds {} bytes, at most {} are accepted", path, file.size(), max_bytes));
  }
  std::string text(file.size(), '\0');
  file.ReadAt(0, text.data(), text.size());
  return text;
}

std::string ReadTextFile(const std::string& path, uint64_t max_bytes) {
  std::string text = ReadWholeStream(path, max_bytes);
  RefuseLfsPointer(text, path);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    throw Error(path + ": is UTF-16 text; convert it to UTF-8, such as with `iconv -f UTF-16`");
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (text.starts_with(kMark)) text.erase(0, kMark.size());
  int64_t line = 1;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t length = Utf8Length(rest);
    if (length == 0)
      throw Error(fmt::format("{}:{}: is not UTF-8 text: byte 0x{:02X}", path, line,
                              static_cast<unsigned char>(rest.front())));
    if (rest.front() == '\n') ++line;
    rest.remove_prefix(length);
  }
  return text;
}

std::string ReadWholeStream(const std::string& path, uint64_t max_bytes) {
  if (path == "-") {
    std::string text;
    ReadToEnd("standard input", STDIN_FILENO, max_bytes, text);
    return text;
  }
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) ThrowErrno(path, "open");
  if (S_ISREG(status.st_mode) && status.st_size > 0) return ReadWholeFile(path, max_bytes);
  if (S_ISDIR(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISBLK(status.st_mode)) {
    throw Error(
        fmt::format("{}: is {}, neither a file nor a stream", path, KindOfFile(status.st_mode)));
  }
  const Descriptor fd = OpenOrThrow(path, O_RDONLY | O_NOCTTY, "open");
  std::string text;
  ReadToEnd(path, fd.get(), max_bytes, text);
  return text;
}

}  // namespace puzzle
