#include "model/families/hf_fields.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/error.h"

namespace puzzle {

HfFields::HfFields(const Json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object.is_object()) throw Error(where_ + ": expected an object");
}

const HfFields::Json* HfFields::Find(const char* name) const {
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool HfFields::Has(const char* name) const {
  return object_.contains(name);
}

std::optional<int64_t> HfFields::FindInt(const char* name) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) Wrong(name, "an integer", *value);
  if (value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    Wrong(name, "a smaller integer", *value);
  return value->get<int64_t>();
}

int64_t HfFields::Int(const char* name) const {
  const auto value = FindInt(name);
  if (!value) throw Error(fmt::format("{}: {}: missing", where_, name));
  return *value;
}

double HfFields::Number(const char* name, double fallback) const {
  const Json* value = Find(name);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !std::isfinite(value->get<double>())) Wrong(name, "a number", *value);
  return value->get<double>();
}

bool HfFields::Bool(const char* name, bool fallback) const {
  const Json* value = Find(name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) Wrong(name, "true or false", *value);
  return value->get<bool>();
}

void HfFields::RequireBool(const char* name, bool value) const {
  if (Bool(name, value) != value)
    throw Error(fmt::format("{}: {}: {} is not supported", where_, name, !value));
}

std::string HfFields::Text(const char* name, const char* fallback) const {
  const Json* value = Find(name);
  if (value == nullptr) return fallback;
  if (!value->is_string()) Wrong(name, "a string", *value);
  return value->get<std::string>();
}

void HfFields::Wrong(const char* name, const char* expected, const Json& got) const {
  const bool finite = !got.is_number_float() || std::isfinite(got.get<double>());
  throw Error(fmt::format("{}: {}: expected {}, got {}", where_, name, expected,
                          finite ? got.dump() : fmt::format("{}", got.get<double>())));
}

}  // namespace puzzle
