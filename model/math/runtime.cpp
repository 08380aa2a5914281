#include "model/math/runtime.h"

#include <dlfcn.h>
#include <malloc.h>

#include <string_view>
#include <thread>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/cuda.h>

#include "io/error.h"
#include "model/math/compat.h"
#include "model/pch.h"

namespace puzzle {

namespace {
// OpenBLAS sits behind libblas.so.3, OpenMP in the library that libtorch brings, MKL within PyPI's
// libtorch: none is linked by name, so their functions are looked up.
template <class F>
F* FindFunction(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
}

std::string BlasDescription() {
  if (at::hasMKL()) return "MKL";
  if (auto* core = FindFunction<char*()>("openblas_get_corename"))
    return fmt::format("OpenBLAS kernel {}", core());
  return "no OpenBLAS (install libopenblas0-pthread: other BLAS are slower)";
}
}  // namespace

void PrepareTensorRuntime() {
  mallopt(M_ARENA_MAX, 1);  // the other arenas give memory back whatever the threshold says
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  mallopt(M_TOP_PAD, 64 << 20);
  at::set_num_threads(1);
  if (auto* set = FindFunction<void(int)>("openblas_set_num_threads")) set(1);
}

DeviceFailure ClassifyDeviceFailure(const std::exception& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) {
    return DeviceFailure::kOutOfMemory;
  }
  // The others have no type of their own.
  const std::string_view message = error.what();
  const auto says = [&](std::string_view words) {
    return message.find(words) != std::string_view::npos;
  };
  if (says("DefaultCPUAllocator: ") || says("CUDA error: out of memory")) {
    return DeviceFailure::kOutOfMemory;
  }
  // After any other error of the runtime every call of this process fails with the same one.
  return says("CUDA error: ") ? DeviceFailure::kLost : DeviceFailure::kNone;
}

void SetThreads(int threads) {
  // at::set_num_threads would also stop and start the threads of a pool that only QNNPACK uses, and
  // which spin before they sleep.
  static auto* const set = FindFunction<void(int)>("omp_set_num_threads");
  // MKL asks OpenMP only until libtorch gives a thread a count for MKL too: at::set_num_threads
  // does, and so does the first use on each thread after it.
  static auto* const set_mkl = FindFunction<int(int)>("MKL_Set_Num_Threads_Local");
  (void)at::get_num_threads();  // that first use
  if (set != nullptr) {
    set(threads);
  } else {
    at::set_num_threads(threads);
  }
  if (set_mkl != nullptr) set_mkl(1);
}

ThreadsGuard::ThreadsGuard(int threads) : before_(at::get_num_threads()) {
  SetThreads(threads);
}

ThreadsGuard::~ThreadsGuard() {
  SetThreads(before_);
}

void BindThreadToDevice(const std::string& name) {
  const at::Device device(name);
  if (device.is_cuda() && !at::hasCUDA())
    throw Error(
        fmt::format("{}: this libtorch ({}) finds no CUDA device", name, LibtorchVersion()));
  at::GradMode::set_enabled(false);
  try {
    if (device.is_cuda()) at::empty({1}, at::TensorOptions().device(device));
  } catch (const c10::Error& error) {
    throw Error(fmt::format("{}: {}", name, error.what_without_backtrace()));
  }
}

void Synchronize(const std::string& name) {
  const at::Device device(name);
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

bool HasFastBf16(const std::string& device) {
  if (at::Device(device).is_cuda()) return true;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  return at::hasMKLDNN() && __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

c10::ScalarType ProductType(const std::string& wanted, const std::string& device) {
  return wanted == "bf16" && HasFastBf16(device) ? at::kBFloat16 : at::kFloat;
}

std::string RuntimeDescription() {
  return fmt::format("libtorch {}, {}, {} cores{}", LibtorchVersion(), BlasDescription(),
                     std::thread::hardware_concurrency(),
                     HasFastBf16("cpu") ? ", bf16 products" : "");
}

}  // namespace puzzle
