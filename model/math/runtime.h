// Process- and thread-wide settings of libtorch and the BLAS behind it.
#pragma once

#include <c10/core/ScalarType.h>

#include <exception>
#include <string>

namespace puzzle {

/// Once per process: keeps freed large tensors mapped (each fresh page of a large tensor would cost
/// a fault on every step) and fixes thread pools to one thread until SetThreads says otherwise.
void PrepareTensorRuntime();

/// Threads that the calling thread may use: for elementwise operators and for ParallelFor
/// (model/math/parallel.h). Matrix products of a BLAS stay on one thread each: OpenBLAS has one
/// count for the whole process and its pool serves one caller at a time; MKL, which has one for
/// each thread, does not promise the same bits for every count.
void SetThreads(int threads);

/// SetThreads while it lives; then the thread has as many as before, whatever happened. Belongs to
/// that thread.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads);
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;
  ~ThreadsGuard();

 private:
  int before_;
};

/// Prepares the calling thread to compute on `device` ("cpu", "cuda:0"): current device, no
/// gradients unless asked for. Throws Error when there is no such device.
void BindThreadToDevice(const std::string& device);

/// Waits until `device` has done everything that was asked of it; the CPU always has.
void Synchronize(const std::string& device);

/// What an exception says about the device on which it was thrown.
enum class DeviceFailure {
  kNone,         // nothing
  kOutOfMemory,  // it had no memory left at that moment
  kLost,         // it is of no use to this process any more
};
[[nodiscard]] DeviceFailure ClassifyDeviceFailure(const std::exception& error);

/// Whether matrix products in bf16 are faster than in fp32 on `device`: CUDA, or a CPU with
/// AVX512-BF16 (libtorch then takes them from oneDNN).
[[nodiscard]] bool HasFastBf16(const std::string& device);

/// The type of products on `device` where `wanted` is "fp32" or "bf16": the latter only where it is
/// faster.
[[nodiscard]] c10::ScalarType ProductType(const std::string& wanted, const std::string& device);

/// "libtorch 1.13.1, OpenBLAS kernel Cooperlake, 2 cores", or "..., MKL, ...": what -v prints.
[[nodiscard]] std::string RuntimeDescription();

}  // namespace puzzle
