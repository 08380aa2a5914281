// Times measured on a machine that others disturb. Values; thread-compatible.
#pragma once

#include <vector>

namespace puzzle {

/// A measured time: a median of rounds, and their robust standard deviation (1.4826 times the
/// median absolute deviation).
struct Timing {
  double ms = 0;
  double spread_ms = 0;
  bool operator==(const Timing&) const = default;
};

/// The middle one, of an even number the mean of the two. REQUIRES: values not empty.
[[nodiscard]] double Median(std::vector<double> values);

/// One round of a measurement: the time it was made for, perhaps a difference, and how long the
/// round took to measure it.
struct Round {
  double value_s = 0;
  double took_s = 0;
};

/// Of the quietest quarter of the rounds, those that took least (rounded up). What disturbs a
/// machine only ever adds to a round, and comes in phases of seconds: on a machine with neighbours
/// the median of all rounds tells what share of them was disturbed. Rounds are chosen by what they
/// took, not by their value, so that a difference stays unbiased. Never below zero.
/// REQUIRES: rounds not empty.
[[nodiscard]] Timing Summarize(std::vector<Round> rounds);

}  // namespace puzzle
