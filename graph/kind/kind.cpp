#include "graph/kind/kind.h"

#include <fmt/format.h>

#include "io/error.h"

namespace puzzle {

std::string Device::name() const {
  return type == "cpu" ? type : fmt::format("{}:{}", type, index);
}

std::vector<std::shared_ptr<const InputHandle>> Inputs::Checked(std::string_view port,
                                                                std::string_view type) const {
  auto handles = Handles(port);
  for (const auto& handle : handles) {
    PUZZLE_CHECK(handle->type() == type,
                 fmt::format("port \"{}\" holds an artifact of type \"{}\", asked for as \"{}\"",
                             port, handle->type(), type));
  }
  return handles;
}

std::shared_ptr<const InputHandle> Inputs::Single(std::string_view port,
                                                  std::string_view type) const {
  auto handles = Checked(port, type);
  PUZZLE_CHECK(handles.size() == 1,
               fmt::format("port \"{}\" holds {} artifacts, not one", port, handles.size()));
  return handles.front();
}

ParamRule Required() {
  return {ParamRule::Type::kRequired, 0, 0, {}, {}};
}
ParamRule AtLeast(double low) {
  return {ParamRule::Type::kAtLeast, low, 0, {}, {}};
}
ParamRule Between(double low, double high) {
  return {ParamRule::Type::kBetween, low, high, {}, {}};
}
ParamRule OneOf(std::vector<std::string> options) {
  return {ParamRule::Type::kOneOf, 0, 0, std::move(options), {}};
}
ParamRule InputFile() {
  return {ParamRule::Type::kInputFile, 0, 0, {}, {}};
}
ParamRule InputFolder(std::function<std::string(const std::string&)> digest) {
  return {ParamRule::Type::kInputFolder, 0, 0, {}, std::move(digest)};
}
ParamRule OutputFolder() {
  return {ParamRule::Type::kOutputFolder, 0, 0, {}, {}};
}
ParamRule Unkeyed() {
  return {ParamRule::Type::kUnkeyed, 0, 0, {}, {}};
}
ParamRule OncePerGraph() {
  return {ParamRule::Type::kOncePerGraph, 0, 0, {}, {}};
}

}  // namespace puzzle
