// The processes of a fleet: started, listened to, started again, ended. Not thread-safe.
#pragma once

#include <stop_token>

#include "apps/running/fleet.h"
#include "graph/crew/crew.h"

namespace puzzle {

struct FleetTimes {
  double first_pause_s = 1;  // before a lost worker starts again; twice as long every time
  double lasting_s = 10;     // a worker that spoke and lived this long did not fail at once
  int tries = 5;             // of a worker that fails at once, before it is given up
  double grace_s = 30;       // from being asked to stop to being killed
};

/// Runs a fleet and feeds `crew` until every worker is done or given up, or none of them may go on
/// because of `stop` or a failure. Whatever it started has ended when it returns.
void RunFleet(const Fleet& fleet, Crew& crew, const std::stop_token& stop,
              const FleetTimes& times = {});

}  // namespace puzzle
