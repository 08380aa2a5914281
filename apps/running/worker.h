// A run as a worker of somebody else's: events go to standard output, and the end of standard input
// means stop (see graph/crew). Not thread-safe; one per process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "graph/plan/plan.h"
#include "graph/view/events.h"
#include "io/file.h"

namespace puzzle {

/// Options that a front gives to its workers; users never do.
struct WorkerOptions {
  std::string name;    // "": no worker
  std::string beacon;  // a file in <store>/tmp by which the front's store is known

  [[nodiscard]] bool given() const { return !name.empty(); }
};

/// Throws Error unless the store is the one in which the front left its beacon. Waits a little:
/// what another machine has made may show up late.
void CheckBeacon(const std::string& store, const std::string& beacon);

/// Introduces this process to its front.
void SayHello(const Plan& plan, const std::string& tool);

/// Writes events to standard output as they come. A front that is gone is no failure.
[[nodiscard]] std::unique_ptr<EventWriter> MakeWorkerEvents();

/// Calls `stop` when standard input ends, and ends the process with status 130 when it has not
/// ended by itself half a minute later: nobody waits for it any more.
class FrontWatch {
 public:
  explicit FrontWatch(std::function<void()> stop);
  ~FrontWatch();
  FrontWatch(const FrontWatch&) = delete;
  FrontWatch& operator=(const FrontWatch&) = delete;

 private:
  Descriptor wake_read_, wake_write_;
  std::thread thread_;
};

}  // namespace puzzle
