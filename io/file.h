// Regular files by positioned I/O. An InputFile may be shared by threads; an OutputFile belongs to
// one. Every failure throws Error naming the file and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
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

  void WriteAt(uint64_t offset, const void* data, size_t bytes);
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
  /// Closes and renames, replacing a file of that name.
  void Commit();

 private:
  std::string path_;
  std::string temporary_path_;
  OutputFile file_;
  uint64_t size_ = 0;
  bool committed_ = false;
};

/// Puts `text` into a file, whole or not at all; a path that exists and is no ordinary file
/// (/dev/stdout, a pipe) is simply written to.
void WriteWholeFile(const std::string& path, std::string_view text);

/// All bytes of a file of text. Throws Error for what is not UTF-8, saying where, and for UTF-16 by
/// name; a byte order mark in front is left out. More than `max_bytes` is a failure.
[[nodiscard]] std::string ReadTextFile(const std::string& path, uint64_t max_bytes);

/// All bytes of a file. More than `max_bytes` is a failure.
[[nodiscard]] std::string ReadWholeFile(const std::string& path, uint64_t max_bytes);

}  // namespace puzzle
