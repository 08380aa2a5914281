#include "model/files/checkpoint_config.h"

#include "model/files/hf_config.h"

namespace puzzle {

ModelConfig ReadCheckpointConfig(const std::string& path) {
  return ReadHfConfig(path);
}

int64_t CountLayers(const std::string& path) {
  return ReadHfLayerCount(path);
}

}  // namespace puzzle
