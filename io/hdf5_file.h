// The structure of an archive on disk, which HDF5 keeps: what there is and where its bytes lie. The
// bytes themselves are contiguous and moved by whoever asked. The one home of HDF5: the library is
// not to be trusted across threads, so every call holds one mutex. Objects may be used from any
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/array.h"
#include "io/file.h"

namespace puzzle {

/// The two kinds of things in an archive; names are apart.
enum class Section { kAttributes, kArrays };

/// Where an array lies in its file. The offset of an empty array means nothing.
struct Extent {
  ArrayInfo info;
  uint64_t offset = 0;
  bool halved = false;  // of f32: the file has the upper 16 bits of each, the lower ones are 0

  /// What lies there.
  [[nodiscard]] ArrayInfo InFile() const { return {halved ? DType::kU16 : info.dtype, info.shape}; }
};

/// An open archive file. Every failure throws Error naming the file.
class Hdf5File {
 public:
  /// Creates a file that Open refuses until Commit() returned.
  static Hdf5File Create(const std::string& path);
  /// Opens a committed file.
  static Hdf5File Open(const InputFile& file);

  Hdf5File(Hdf5File&&) noexcept;
  Hdf5File& operator=(Hdf5File&&) = delete;
  ~Hdf5File();

  /// Makes room for an array, `halved` as in Extent. REQUIRES: created here.
  Extent Allocate(Section section, std::string_view name, const ArrayInfo& info,
                  bool halved = false);
  /// Marks the file complete and closes it. REQUIRES: created here; nothing is called afterwards.
  void Commit();

  [[nodiscard]] bool Has(Section section, std::string_view name) const;
  /// Sorted.
  [[nodiscard]] std::vector<std::string> Names(Section section) const;
  /// The extent, checked to lie inside the file. REQUIRES: opened here.
  [[nodiscard]] Extent Find(Section section, std::string_view name) const;

 private:
  struct State;
  explicit Hdf5File(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;  // null after Commit
};

}  // namespace puzzle
