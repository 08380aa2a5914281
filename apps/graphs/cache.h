// `puzzle cache`: what is in a store, and making it smaller.
#pragma once

#include "apps/cli.h"

namespace puzzle {

void AddCacheVerb(Verbs& verbs);

}  // namespace puzzle
