// Tasks of any length in the manner of RULER (arXiv 2404.06654): texts that are made up, questions
// that only somebody who read all of the text can answer. Needs no model; thread-safe.
#pragma once

#include <string>

#include "graph/kind/kind.h"
#include "io/tokenizer.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// `count` questions of about `length` tokens, the choice included: at most so many, and short
/// of it by less than a sentence. The forms:
///   "needle"     numbers that belong to places, hidden in a text about nothing; which belongs to
///                one?
///   "variables"  chains of assignments, VAR B = VAR A, hidden likewise; which number has the last
///                of a chain?
///   "words"      a long list of words, of which one is told far more often than the others; which?
/// All are questions of four choices that occur in the text, so that chance answers a quarter.
/// Equal seeds give equal questions. Throws Error when even a text without filling is longer.
/// REQUIRES: one of these forms, count >= 1.
[[nodiscard]] Task MakeLongContext(const std::string& form, int64_t length, int64_t count,
                                   uint64_t seed, const Tokenizer& tokenizer);

[[nodiscard]] TaskSet RunLongContext(const LongContextParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
