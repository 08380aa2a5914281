// Regular files by positioned I/O. An InputFile may be shared by threads; an OutputFile belongs to
// one. Every failure throws Error naming the file and the system's reason. No open here waits: what
// is no regular file is refused by its kind, except where a stream is welcome.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace puzzle {

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  [[nodiscard]] int get() const { return fd_; }
  /// Gives the descriptor up; the caller closes it.
  [[nodiscard]] int Release();

 private:
  int fd_;
};

/// Opens a regular file that others may have put there: never through a symbolic link at the end of
/// the path, and never waiting for somebody at the other end. Holds -1, with errno, when that
/// fails; ELOOP or EINVAL say that it is a link or no regular file.
[[nodiscard]] Descriptor OpenPlainFile(const std::string& path, int flags);
/// Creates a file that nobody has made before, not even as a dangling link. Throws Error.
[[nodiscard]] Descriptor CreateNewFile(const std::string& path);
/// All bytes of such a file; nullopt when there is none, or one of more than `max_bytes`.
[[nodiscard]] std::optional<std::string> ReadPlainFile(const std::string& path, uint64_t max_bytes);
/// Sixteen hex digits by chance: what no other process calls its files, whatever its number is and
/// whatever its machine is called.
[[nodiscard]] std::string RandomName();

/// Lets this process have as many files open as the system allows, up to 65,536, where a shell
/// gives it 1024: a library of a thousand blocks is a thousand archives. For the beginning of main.
void AllowManyOpenFiles();
/// Whether this process, or the machine, has so many files open that it can open hardly another
/// one: then a file that could not be read may be as good as ever.
[[nodiscard]] bool IsShortOfFiles();

/// True for a name that stays in the folder it is put into: no separator, no "..", nothing hidden
/// and nothing that a terminal obeys. For names that come from other people's files.
[[nodiscard]] bool IsPlainFileName(std::string_view name);

/// An existing file, opened for reading.
class InputFile {
 public:
  explicit InputFile(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Bytes when it was opened.
  [[nodiscard]] uint64_t size() const { return size_; }
  /// Reads exactly `bytes`; a shorter file is a failure.
  void ReadAt(uint64_t offset, void* out, size_t bytes) const;

 private:
  std::string path_;
  Descriptor fd_;
  uint64_t size_ = 0;
};

/// A new file, or a file emptied, to be written.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  /// Takes over a file that is open for writing; `path` is for messages.
  OutputFile(Descriptor file, std::string path);

  void WriteAt(uint64_t offset, const void* data, size_t bytes);
  /// Waits until the disk has what was written.
  void Sync();
  /// Closes the file; the destructor does the same but cannot report a failure.
  void Close();

 private:
  std::string path_;
  Descriptor fd_;
};

/// A file that appears at its path whole or not at all: written under a temporary name in the same
/// folder, which the destructor removes unless Commit() was reached.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void Append(const void* data, size_t bytes);
  /// Waits until the disk has what was appended, so that a loss of power after Commit() leaves the
  /// old file or the new one: for files that took long to make.
  void Sync() { file_.Sync(); }
  /// Closes and renames, replacing a file of that name.
  void Commit();

 private:
  std::string path_;
  std::string temporary_path_;
  OutputFile file_;
  uint64_t size_ = 0;
  bool committed_ = false;
};

/// Waits until the disk has a file that was written and closed, so that a loss of power after it
/// gets its place leaves no name without its bytes.
void SyncFile(const std::string& path);

/// Puts `text` into a file, whole or not at all. A symbolic link stays, the file behind it is
/// written; what is no ordinary file (/dev/stdout, a pipe, a device) is simply written to.
void WriteWholeFile(const std::string& path, std::string_view text);
/// The descriptor of this process that a path such as "/dev/stdin" or "/dev/fd/63" names; nullopt
/// for every other path.
[[nodiscard]] std::optional<int> OpenDescriptorOf(const std::string& path);
/// Whether WriteWholeFile would be able to begin, without touching what is there. Throws Error.
void CheckWritable(const std::string& path);

/// All bytes of a file of text. Throws Error for what is not UTF-8, saying where, and for UTF-16 by
/// name; a byte order mark in front is left out. More than `max_bytes` is a failure.
[[nodiscard]] std::string ReadTextFile(const std::string& path, uint64_t max_bytes);

/// All bytes of a file. More than `max_bytes` is a failure.
[[nodiscard]] std::string ReadWholeFile(const std::string& path, uint64_t max_bytes);
/// Likewise for what need not be a file: "-" and pipes such as "<(zcat x.gz)" are read to their
/// end.
[[nodiscard]] std::string ReadWholeStream(const std::string& path, uint64_t max_bytes);

}  // namespace puzzle
