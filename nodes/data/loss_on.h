// Which predictions a loss is taken on: one parameter of all kinds that take losses.
#pragma once

#include <string>

#include "graph/kind/kind.h"
#include "graph/kind/unkeyed_as.h"

namespace puzzle {

/// Base of the parameters of such kinds.
struct LossOn {
  std::string on = "all";  // or "answers"

  [[nodiscard]] bool answers_only() const { return on == "answers"; }
};

/// Its row in a table. What was computed before there was a choice was computed on all.
template <class P>
Kind<P>& AddLossOn(Kind<P>& kind) {
  return kind.Param("on", &LossOn::on, {OneOf({"all", "answers"}), UnkeyedAs("all")},
                    "all predictions, or those of what is said in answers: the tokens then come "
                    "from conversations");
}

}  // namespace puzzle
