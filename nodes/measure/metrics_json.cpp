#include "nodes/measure/metrics_json.h"

#include <nlohmann/json.hpp>

namespace puzzle {

nlohmann::json ToJson(const TokenMetrics& metrics) {
  return {{"tokens", metrics.tokens},
          {"sum", metrics.sum},
          {"squares", metrics.squares},
          {"nmse_products", metrics.nmse_products}};
}

TokenMetrics MetricsFromJson(const nlohmann::json& json) {
  return {json.at("tokens"), json.at("sum"), json.at("squares"), json.at("nmse_products")};
}

}  // namespace puzzle
