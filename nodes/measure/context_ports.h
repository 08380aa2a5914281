// The ports of kinds that measure a replacement in a model that is not the parent itself.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "graph/kind/kind.h"

namespace puzzle {

/// `context` and `context_activations`, of which either both are connected or none.
template <class P>
Kind<P>& AddContext(Kind<P>& kind, std::string doc) {
  return kind.InOptional("context", "checkpoint", std::move(doc))
      .InOptional("context_activations", "activations", "the hidden states of that model")
      .CheckPorts([](const P&, const ConnectedPorts& has) -> std::optional<std::string> {
        if (has("context") == has("context_activations")) return std::nullopt;
        return "the ports `context` and `context_activations` belong together";
      });
}

}  // namespace puzzle
