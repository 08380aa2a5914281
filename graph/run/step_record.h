// What the record of a step says about where its result came from. Thread-safe.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "graph/plan/plan.h"
#include "graph/store/record.h"
#include "graph/store/store.h"

namespace puzzle {

/// The members of a record that plan and inputs decide: step, kind, type, recipe, key, names and
/// keys of the inputs, external paths. `key_of` tells the key of an input.
[[nodiscard]] RecordDraft DescribeStep(const Plan& plan, StepId step, const std::string& recipe,
                                       const std::function<std::string_view(StepId)>& key_of);

/// Stores the content of `earlier` once more as the result that `record` describes, marked as
/// accepted in spite of `change`. Figures are those of `earlier`. Throws Error.
[[nodiscard]] Record AdoptResult(Store& store, const Record& earlier, RecordDraft record,
                                 const std::string& change);

}  // namespace puzzle
