// Archives as HDF5 files. The one home of HDF5: the library is not to be trusted across threads, so
// every call holds one mutex. Objects of this file may be used from any thread; readers may be
// shared, and bytes are moved outside the mutex.
#pragma once

#include "io/archive.h"

namespace puzzle {

/// Creates and opens HDF5 archives: arrays are contiguous datasets (f16 and bf16 as uint16, bool as
/// uint8, each with a `dtype` attribute), attributes are datasets of UTF-8 JSON text. The byte
/// layout is in io/README.md.
[[nodiscard]] ArchiveFormat Hdf5Format();

}  // namespace puzzle
