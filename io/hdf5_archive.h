// Archives as HDF5 files. Objects of this file may be used from any thread, and readers may be
// shared: HDF5 itself is called under one mutex (io/hdf5_file.h), bytes move outside of it.
#pragma once

#include "io/archive.h"

namespace puzzle {

/// Creates and opens HDF5 archives: arrays are contiguous datasets (f16 and bf16 as uint16, bool as
/// uint8, each with a `dtype` attribute), attributes are datasets of UTF-8 JSON text. The byte
/// layout is in io/README.md. HDF5 is loaded with the first of them (io/module.h).
[[nodiscard]] ArchiveFormat Hdf5Format();

}  // namespace puzzle
