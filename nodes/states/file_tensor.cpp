#include "nodes/states/file_tensor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

namespace {

// Makes a file that has its room on the disk: what is written through a mapping later cannot fail.
void MakeFile(const std::string& path, int64_t bytes) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) throw Error(fmt::format("cannot create \"{}\": {}", path, std::strerror(errno)));
  const int failure = ::posix_fallocate(fd, 0, bytes);
  ::close(fd);
  if (failure == 0) return;
  ::unlink(path.c_str());
  throw Error(fmt::format("no room for {} MiB of scratch data in \"{}\": {}", (bytes >> 20) + 1,
                          path, std::strerror(failure)));
}

}  // namespace

at::Tensor FileTensor(const std::string& path, const Shape& shape, at::ScalarType type) {
  const int64_t elements = NumElements(shape);
  if (elements == 0) return at::zeros(shape, type);  // there are no empty mappings
  MakeFile(path, elements * static_cast<int64_t>(at::elementSize(type)));
  try {
    at::Tensor tensor = at::from_file(path, /*shared=*/true, elements, type).view(shape);
    ::unlink(path.c_str());
    return tensor;
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
}

at::Tensor RoomFor(const Shape& shape, at::ScalarType type, const DataRoom& room) {
  const size_t bytes = static_cast<size_t>(NumElements(shape)) * at::elementSize(type);
  return bytes <= room.in_memory ? at::empty(shape, type) : FileTensor(room.path(), shape, type);
}

void ReadAhead(const at::Tensor& all, const std::vector<int64_t>& rows) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (const int64_t row : rows) {
    const at::Tensor one = all.select(0, row);
    const auto begin = reinterpret_cast<uintptr_t>(one.data_ptr());
    const uintptr_t first = begin / page * page;
    // A hint: what it answers is of no interest.
    (void)::madvise(reinterpret_cast<void*>(first), begin + one.nbytes() - first, MADV_WILLNEED);
  }
}

}  // namespace puzzle
