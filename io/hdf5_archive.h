// Archives as HDF5 files. The one home of HDF5: Debian's library is not to be trusted across
// threads, so every call holds one mutex; objects of this file may be used from any thread.
#pragma once

#include "io/archive.h"

namespace puzzle {

/// Creates and opens HDF5 archives: arrays are datasets (chunked along the first dimension when
/// streamed; bf16 as uint16 with a `dtype` attribute), attributes are UTF-8 JSON strings.
[[nodiscard]] ArchiveFormat Hdf5Format();

}  // namespace puzzle
