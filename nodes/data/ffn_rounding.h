// How percentages of an FFN's channels become a number of channels. The kinds that train variants,
// count what they cost and measure them mean the same ones only if they round alike, hence one
// default here, and one value per graph (OncePerGraph in their tables).
#pragma once

#include <cstdint>

namespace puzzle {

/// Base of the parameters of kinds that take names of variants.
struct FfnRounding {
  int64_t multiple_of = 8;
};

}  // namespace puzzle
