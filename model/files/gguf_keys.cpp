#include "model/files/gguf_keys.h"

#include <fmt/format.h>

#include "io/error.h"

namespace puzzle {

GgufKeys::GgufKeys(const GgufReader& reader, std::string_view architecture)
    : reader_(reader), architecture_(architecture) {}

std::string GgufKeys::Name(const char* key) const {
  return architecture_ + "." + key;
}

std::optional<int64_t> GgufKeys::FindInt(const char* key) const {
  return reader_.FindInt(Name(key));
}

std::optional<double> GgufKeys::FindNumber(const char* key) const {
  return reader_.FindNumber(Name(key));
}

std::optional<std::string> GgufKeys::FindText(const char* key) const {
  return reader_.FindText(Name(key));
}

int64_t GgufKeys::Int(const char* key) const {
  const auto value = FindInt(key);
  if (!value) Fail(key, "missing");
  return *value;
}

bool GgufKeys::IsList(const char* key) const {
  const auto found = reader_.metadata().find(Name(key));
  return found != reader_.metadata().end() &&
         std::holds_alternative<std::vector<int64_t>>(found->second);
}

std::vector<int64_t> GgufKeys::PerLayer(const char* key, int64_t layers,
                                        const std::vector<int64_t>& otherwise) const {
  if (!IsList(key)) {
    const auto value = FindInt(key);
    if (!value && otherwise.empty()) Fail(key, "missing");
    return value ? std::vector<int64_t>(static_cast<size_t>(layers), *value) : otherwise;
  }
  const std::vector<int64_t>& values = *reader_.FindInts(Name(key));
  if (static_cast<int64_t>(values.size()) != layers)
    Fail(key, fmt::format("has {} numbers for {} layers", values.size(), layers));
  return values;
}

void GgufKeys::Fail(const char* key, const std::string& what) const {
  throw Error(fmt::format("{}: {}: {}", reader_.path(), Name(key), what));
}

}  // namespace puzzle
