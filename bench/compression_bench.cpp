// Would compression pay? Takes the arrays of a store of one's own, packs them as HDF5's filters
// would (byte shuffle, deflate, chunks of 1 MiB) and compares with writing and reading them as they
// are.
//
//   compression_bench STORE [MIB]     MIB: how much of each kind of array is looked at (64)
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "bench/arguments.h"
#include "graph/store/inventory.h"
#include "graph/store/store.h"
#include "io/error.h"
#include "io/file.h"
#include "io/hdf5_archive.h"

namespace puzzle {
namespace {

using Bytes = std::vector<unsigned char>;
constexpr size_t kChunk = size_t{1} << 20;
constexpr double kMib = 1048576;

/// Arrays of one type in artifacts of one type: how much there is of them, and a part of it.
struct Sample {
  size_t element_bytes = 1;
  uint64_t total_bytes = 0;
  Bytes bytes;
};

size_t SizeOf(const ArrayInfo& info) {
  return static_cast<size_t>(NumElements(info.shape)) * ElementSize(info.dtype);
}

/// Calls `visit(artifact type, reader, array name)` for every array of the store.
void ForEachArray(Store& store, const auto& visit) {
  for (const StoredResult& result : TakeInventory(store).results) {
    const auto reader = store.Open(result.record);
    for (const std::string& name : reader->ArrayNames()) visit(result.record.type, *reader, name);
  }
}

/// Adds `part` of an array: runs of rows, evenly apart.
void Take(const ArchiveReader& reader, const std::string& name, double part, Sample& sample) {
  constexpr int64_t kRuns = 8;
  const ArrayInfo info = reader.Info(name);
  if (info.shape.empty() || SizeOf(info) == 0) return;
  const int64_t rows = info.shape[0];
  const size_t row_bytes = SizeOf(info) / static_cast<size_t>(rows);
  const auto wanted = static_cast<int64_t>(part * static_cast<double>(rows) / kRuns);
  const int64_t taken = std::clamp<int64_t>(wanted, 1, rows);
  for (int64_t first = 0; first + taken <= rows; first += std::max(rows / kRuns, taken)) {
    const size_t before = sample.bytes.size();
    sample.bytes.resize(before + row_bytes * static_cast<size_t>(taken));
    reader.ReadRows(name, first, taken, &sample.bytes[before]);
  }
}

/// "activations, bf16" -> such arrays, about `limit` bytes of each.
std::map<std::string, Sample> Collect(Store& store, size_t limit) {
  std::map<std::string, Sample> samples;
  const auto sample_of = [&](std::string_view type, const ArrayInfo& info) -> Sample& {
    return samples[fmt::format("{}, {}", type, DTypeName(info.dtype))];
  };
  ForEachArray(store,
               [&](std::string_view type, const ArchiveReader& reader, const std::string& name) {
                 const ArrayInfo info = reader.Info(name);
                 Sample& sample = sample_of(type, info);
                 sample.element_bytes = ElementSize(info.dtype);
                 sample.total_bytes += SizeOf(info);
               });
  ForEachArray(
      store, [&](std::string_view type, const ArchiveReader& reader, const std::string& name) {
        Sample& sample = sample_of(type, reader.Info(name));
        const double part = static_cast<double>(limit) / static_cast<double>(sample.total_bytes);
        Take(reader, name, std::min(part, 1.0), sample);
      });
  return samples;
}

double Seconds(const auto& action) {
  const auto begin = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// First bytes first: what HDF5's shuffle filter does to a chunk.
Bytes Shuffled(const unsigned char* chunk, size_t n, size_t element_bytes) {
  Bytes out(chunk, chunk + n);
  const size_t elements = n / element_bytes;
  for (size_t b = 0; b < element_bytes; ++b) {
    for (size_t i = 0; i < elements; ++i) out[b * elements + i] = chunk[i * element_bytes + b];
  }
  return out;
}

Bytes Unshuffled(const Bytes& chunk, size_t element_bytes) {
  Bytes out = chunk;
  const size_t elements = chunk.size() / element_bytes;
  for (size_t b = 0; b < element_bytes; ++b) {
    for (size_t i = 0; i < elements; ++i) out[i * element_bytes + b] = chunk[b * elements + i];
  }
  return out;
}

struct Packed {
  double ratio = 1;
  double pack_s = 0, unpack_s = 0;
};

Packed Pack(const Sample& sample, int level) {
  Packed result;
  std::vector<Bytes> chunks;
  size_t packed_bytes = 0;
  result.pack_s = Seconds([&] {
    for (size_t at = 0; at < sample.bytes.size(); at += kChunk) {
      const size_t n = std::min(kChunk, sample.bytes.size() - at);
      const Bytes plain = Shuffled(&sample.bytes[at], n, sample.element_bytes);
      uLongf size = compressBound(n);
      Bytes& packed = chunks.emplace_back(size);
      PUZZLE_CHECK(compress2(packed.data(), &size, plain.data(), n, level) == Z_OK, "zlib failed");
      packed.resize(size);
      packed_bytes += size;
    }
  });
  result.unpack_s = Seconds([&] {
    size_t at = 0;
    for (const Bytes& packed : chunks) {
      Bytes plain(std::min(kChunk, sample.bytes.size() - at));
      uLongf size = plain.size();
      PUZZLE_CHECK(uncompress(plain.data(), &size, packed.data(), packed.size()) == Z_OK, "zlib");
      plain = Unshuffled(plain, sample.element_bytes);
      PUZZLE_CHECK(std::equal(plain.begin(), plain.end(), &sample.bytes[at]), "not what went in");
      at += plain.size();
    }
  });
  result.ratio = static_cast<double>(sample.bytes.size()) /
                 static_cast<double>(std::max<size_t>(packed_bytes, 1));
  return result;
}

/// Writes the bytes as they are, until the disk has them, and reads them.
Packed Plain(const Sample& sample, const std::string& path) {
  Packed result;
  result.pack_s = Seconds([&] {
    OutputFile file(path);
    file.WriteAt(0, sample.bytes.data(), sample.bytes.size());
    file.Close();
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (::fsync(fd.get()) != 0) throw Error("cannot sync " + path);
  });
  Bytes back(sample.bytes.size());
  result.unpack_s = Seconds([&] { InputFile(path).ReadAt(0, back.data(), back.size()); });
  ::unlink(path.c_str());
  return result;
}

void Report(const std::string& name, const Sample& sample, uint64_t all, const std::string& path) {
  const double mb = static_cast<double>(sample.bytes.size()) / 1e6;
  const Packed plain = Plain(sample, path), fast = Pack(sample, 1), small = Pack(sample, 6);
  fmt::print(
      "| {} | {:.1f} | {:.0f} % | {:.0f} / {:.0f} | {:.2f} | {:.0f} / {:.0f} | {:.2f} | {:.0f} / "
      "{:.0f} |\n",
      name, static_cast<double>(sample.total_bytes) / kMib,
      100 * static_cast<double>(sample.total_bytes) / static_cast<double>(all), mb / plain.pack_s,
      mb / plain.unpack_s, fast.ratio, mb / fast.pack_s, mb / fast.unpack_s, small.ratio,
      mb / small.pack_s, mb / small.unpack_s);
}

void Run(int argc, char** argv) {
  if (argc < 2) throw Error("usage: compression_bench STORE [MIB]");
  const auto mib = static_cast<size_t>(Arguments{argc, argv}.Number(2, 64));
  Store store(argv[1], Hdf5Format());
  const std::map<std::string, Sample> samples = Collect(store, mib << 20);
  if (samples.empty()) throw Error(fmt::format("{}: there are no arrays in this store", argv[1]));
  uint64_t all = 0;
  for (const auto& [name, sample] : samples) all += sample.total_bytes;
  fmt::print("zlib {}; rates are MB/s of arrays, out / in, one thread\n\n", zlibVersion());
  fmt::print(
      "| arrays | MiB | of the store | as they are, synced | deflate 1: ratio | rates | "
      "deflate 6: ratio | rates |\n|---|---|---|---|---|---|---|---|\n");
  for (const auto& [name, sample] : samples) {
    Report(name, sample, all, store.folder() + "/compression_bench.tmp");
  }
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  return puzzle::ExitStatusOf([&] { puzzle::Run(argc, argv); });
}
