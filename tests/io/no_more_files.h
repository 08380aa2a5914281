// A process that has as many files open as it may.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

namespace puzzle {

/// While it lives, this process can open no file.
class NoMoreFiles {
 public:
  NoMoreFiles() {
    constexpr rlim_t kFew = 200;  // so that it takes no time
    getrlimit(RLIMIT_NOFILE, &old_);
    const rlimit few = {kFew, old_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (int fd; (fd = ::open("/", O_RDONLY | O_CLOEXEC)) >= 0;) taken_.push_back(fd);
  }
  NoMoreFiles(const NoMoreFiles&) = delete;
  NoMoreFiles& operator=(const NoMoreFiles&) = delete;
  ~NoMoreFiles() {
    for (const int fd : taken_) ::close(fd);
    setrlimit(RLIMIT_NOFILE, &old_);
  }

 private:
  rlimit old_ = {};
  std::vector<int> taken_;
};

}  // namespace puzzle
