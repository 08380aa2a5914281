#include "io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
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

}  // namespace

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
    : path_(path), fd_(OpenOrThrow(path, O_RDONLY, "open")) {
  struct stat status;
  if (fstat(fd_.get(), &status) != 0) ThrowErrno(path_, "inspect");
  if (!S_ISREG(status.st_mode)) throw Error(fmt::format("{}: not a regular file", path_));
  size_ = static_cast<uint64_t>(status.st_size);
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

void OutputFile::Close() {
  const int fd = fd_.Release();
  if (fd >= 0 && close(fd) != 0) ThrowErrno(path_, "close");
}

AtomicFile::AtomicFile(const std::string& path)
    : path_(path),
      temporary_path_(fmt::format("{}.{}.tmp", path, getpid())),
      file_(temporary_path_) {}

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

void WriteWholeFile(const std::string& path, std::string_view text) {
  std::error_code failure;
  const auto status = std::filesystem::status(path, failure);
  if (std::filesystem::is_other(status) || std::filesystem::is_character_file(status) ||
      std::filesystem::is_fifo(status)) {
    std::ofstream stream(path, std::ios::binary);
    stream << text << std::flush;
    if (!stream) ThrowErrno(path, "write");
    return;
  }
  AtomicFile file(path);
  file.Append(text.data(), text.size());
  file.Commit();
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
  std::string text = ReadWholeFile(path, max_bytes);
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

}  // namespace puzzle
