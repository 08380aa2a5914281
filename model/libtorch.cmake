# Finds libtorch: TORCH_INCLUDE_DIRS, TORCH_LIBRARIES, TORCH_CXX_FLAGS, Torch_VERSION, and CUDA_VERSION
# where it has CUDA.
#
# PUZZLE_LIBTORCH is the folder `torch` of PyPI's package (./demo --libtorch pip downloads it). That
# package's own TorchConfig.cmake asks for the whole CUDA toolkit, compiler included, of which nothing
# here is compiled with: its libraries are linked by path instead. Empty: find_package(Torch), which
# is Debian's, or what CMAKE_PREFIX_PATH says.
set(PUZZLE_LIBTORCH "" CACHE PATH "The folder torch of PyPI's package")

if(NOT PUZZLE_LIBTORCH)
  find_package(Torch REQUIRED)
  return()
endif()

set(libtorch_version_file ${PUZZLE_LIBTORCH}/version.py)
if(NOT EXISTS ${libtorch_version_file} OR NOT EXISTS ${PUZZLE_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "PUZZLE_LIBTORCH=${PUZZLE_LIBTORCH} is not the folder torch of PyPI's package: "
                      "it has no version.py or no lib/libtorch_cpu.so")
endif()
file(STRINGS ${libtorch_version_file} libtorch_version REGEX "^__version__ = ")
string(REGEX REPLACE "^__version__ = '([0-9.]*[0-9]).*'$" "\\1" Torch_VERSION "${libtorch_version}")
file(STRINGS ${libtorch_version_file} libtorch_cuda REGEX "^cuda.* = '")
string(REGEX REPLACE "^.*'(.*)'$" "\\1" CUDA_VERSION "${libtorch_cuda}")

# libtorch brings the headers of another fmt than the one we link: ours come first.
set(libtorch_first ${CMAKE_BINARY_DIR}/libtorch_first)
file(MAKE_DIRECTORY ${libtorch_first})
find_path(FMT_INCLUDE_DIR fmt/format.h REQUIRED NO_PACKAGE_ROOT_PATH PATHS /usr/include)
file(CREATE_LINK ${FMT_INCLUDE_DIR}/fmt ${libtorch_first}/fmt SYMBOLIC)
set(TORCH_INCLUDE_DIRS $<BUILD_INTERFACE:${libtorch_first}> ${PUZZLE_LIBTORCH}/include
                       ${PUZZLE_LIBTORCH}/include/torch/csrc/api/include)

# Since 2.7 PyPI's libraries have the ABI that compilers have anyway.
set(TORCH_CXX_FLAGS "")
if(Torch_VERSION VERSION_LESS 2.7)
  set(TORCH_CXX_FLAGS "-D_GLIBCXX_USE_CXX11_ABI=0")
endif()

# libtorch_cuda registers its kernels when it is loaded; nothing refers to it by name. It is left out
# where NVIDIA's libraries are not beside it: the program then knows the CPU alone.
set(TORCH_LIBRARIES ${PUZZLE_LIBTORCH}/lib/libtorch_cpu.so ${PUZZLE_LIBTORCH}/lib/libc10.so)
file(GLOB libtorch_cublas ${PUZZLE_LIBTORCH}/../nvidia/*/lib/libcublas.so.*)
if(EXISTS ${PUZZLE_LIBTORCH}/lib/libtorch_cuda.so AND libtorch_cublas)
  list(PREPEND TORCH_LIBRARIES -Wl,--push-state,--no-as-needed ${PUZZLE_LIBTORCH}/lib/libtorch_cuda.so
       ${PUZZLE_LIBTORCH}/lib/libc10_cuda.so -Wl,--pop-state)
else()
  set(CUDA_VERSION "")
endif()
message(STATUS "libtorch ${Torch_VERSION} of ${PUZZLE_LIBTORCH}, CUDA: ${CUDA_VERSION}")
