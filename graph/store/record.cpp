#include "graph/store/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "graph/store/line_file.h"
#include "io/error.h"
#include "io/json_text.h"
#include "io/references.h"

namespace puzzle {
namespace {

using nlohmann::json;

constexpr int kRecordFormat = 1;
constexpr std::string_view kSumMember = ",\"sum\":\"";

std::string Quoted(std::string_view text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

/// Takes the text up to `separator` off the front of `line`.
bool Take(std::string_view& line, char separator, std::string_view& field) {
  const size_t end = line.find(separator);
  if (end == std::string_view::npos) return false;
  field = line.substr(0, end);
  line.remove_prefix(end + 1);
  return true;
}

template <class T>
bool TakeNumber(std::string_view& line, T& number) {
  std::string_view field;
  if (!Take(line, ' ', field)) return false;
  return std::from_chars(field.data(), field.data() + field.size(), number).ptr ==
         field.data() + field.size();
}

// ---------------------------------------------------------------------------------------------
// The rules of a record

bool IsLine(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

bool IsText(const json& value) {
  return value.is_string();
}
bool IsName(const json& value) {
  return value.is_string() && !value.get_ref<const std::string&>().empty() &&
         IsLine(value.get_ref<const std::string&>());
}
bool IsKey(const json& value) {
  return value.is_string() && IsDigest(value.get_ref<const std::string&>());
}
bool IsFigure(const json& value) {
  return value.is_number() && std::isfinite(value.get<double>()) && value.get<double>() >= 0;
}
bool IsCount(const json& value) {
  return value.is_number_unsigned();
}
bool IsTime(const json& value) {
  return value.is_number_integer();
}
bool IsObject(const json& value) {
  return value.is_object();
}

template <bool good(const json&)>
bool IsListOf(const json& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), good);
}
template <bool good(const json&)>
bool IsObjectOf(const json& value) {
  return value.is_object() && std::all_of(value.begin(), value.end(), good);
}

bool IsRecipe(const json& value) {
  if (!value.is_object()) return false;
  const auto inputs = value.find("inputs");
  return inputs == value.end() || IsObjectOf<IsListOf<IsKey>>(*inputs);
}

/// Files of an output folder: relative paths that stay in it, with their sizes.
bool IsFileList(const json& value) {
  if (!IsObjectOf<IsCount>(value)) return false;
  const auto items = value.items();
  return std::all_of(items.begin(), items.end(), [](const auto& item) {
    const std::string path = '/' + item.key() + '/';
    return IsLine(path) && path.find("//") == std::string::npos &&
           path.find("/../") == std::string::npos;
  });
}

bool IsAcceptance(const json& value) {
  return value.is_object() && value.contains("key") && IsText(value["key"]) &&
         value.contains("change") && IsText(value["change"]);
}

bool IsPoint(const json& value) {
  const auto is_number = [](const json& n) {
    return n.is_number() && std::isfinite(n.get<double>());
  };
  return value.is_array() && value.size() == 2 &&
         std::all_of(value.begin(), value.end(), is_number);
}

struct Rule {
  const char* member;
  bool required;
  bool (*good)(const json&);
};

constexpr Rule kRules[] = {
    {"key", true, IsKey},
    {"digest", true, IsKey},
    {"step", true, IsName},
    {"kind", true, IsName},
    {"type", true, IsName},
    {"bytes", true, IsCount},
    {"mtime_ns", true, IsTime},
    {"wall_s", true, IsFigure},
    {"recipe", true, IsRecipe},
    {"cpu_s", false, IsFigure},
    {"save_s", false, IsFigure},
    {"peak_rss_mib", false, IsFigure},
    {"memory_mib", false, IsFigure},
    {"host", false, IsText},
    {"device", false, IsText},
    {"threads", false, IsTime},
    {"tool", false, IsText},
    {"finished", false, IsText},
    {"inputs", false, IsObjectOf<IsListOf<IsText>>},
    {"parents", false, IsObjectOf<IsListOf<IsKey>>},
    {"paths", false, IsObjectOf<IsText>},
    {"scalars", false, IsObject},
    {"warnings", false, IsListOf<IsText>},
    {"curves", false, IsObjectOf<IsListOf<IsPoint>>},
    {"output_files", false, IsFileList},
    {"environment", false, IsObjectOf<IsText>},
    {"accepted", false, IsAcceptance},
    {"command", false, IsText},
    {"display", false, IsText},
};

json ParseRecord(std::string_view text) {
  constexpr int kMaxDepth = 200;
  if (!IsNestedWithin(text, kMaxDepth)) return json::value_t::discarded;
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

/// Whether a parsed text is a record; a member that breaks its rule makes it none.
bool IsRecord(const json& value) {
  if (!value.is_object() || !value.contains("puzzle_record") ||
      value["puzzle_record"] != kRecordFormat) {
    return false;
  }
  return std::all_of(std::begin(kRules), std::end(kRules), [&](const Rule& rule) {
    const auto member = value.find(rule.member);
    return member == value.end() ? !rule.required : rule.good(*member);
  });
}

}  // namespace

bool IsDigest(std::string_view text) {
  // Asked twice for every step of a run that has nothing to do.
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string RecordText(const RecordDraft& d) {
  const auto or_empty = [](const std::string& object) { return object.empty() ? "{}" : object; };
  std::string text = fmt::format(
      R"({{"puzzle_record":{},"key":"{}","step":{},"kind":"{}","type":"{}","digest":"{}",)"
      R"("bytes":{},"mtime_ns":{},"wall_s":{:.6g},"cpu_s":{:.6g},"save_s":{:.6g},)"
      R"("peak_rss_mib":{:.6g},"memory_mib":{:.6g},"host":{},"device":{},"threads":{},"tool":{},)"
      R"("finished":{},"recipe":{},"inputs":{},"parents":{},"paths":{},"scalars":{},"warnings":{})",
      kRecordFormat, d.key, Quoted(d.step), d.kind, d.type, d.digest, d.bytes, d.mtime_ns, d.wall_s,
      d.cpu_s, d.save_s, d.peak_rss_mib, d.memory_mib, Quoted(d.host), Quoted(d.device), d.threads,
      Quoted(d.tool), Quoted(d.finished), d.recipe_json, or_empty(d.inputs_json),
      or_empty(d.parents_json), or_empty(d.paths_json), or_empty(d.scalars_json),
      d.warnings_json.empty() ? "[]" : d.warnings_json);
  if (!d.output_files_json.empty()) text += ",\"output_files\":" + d.output_files_json;
  if (!d.curves_json.empty()) text += ",\"curves\":" + d.curves_json;
  if (!d.environment_json.empty()) text += ",\"environment\":" + d.environment_json;
  if (!d.accepted_json.empty()) text += ",\"accepted\":" + d.accepted_json;
  if (!d.command.empty()) text += ",\"command\":" + Quoted(d.command);
  if (!d.display.empty()) text += ",\"display\":" + Quoted(d.display);
  const std::string sum = Checksum(text);
  return text.append(kSumMember).append(sum).append("\"}");
}

json RecordJson(const Record& record) {
  json value = ParseRecord(record.json);
  if (!IsRecord(value)) throw Error(fmt::format("record {} is damaged", record.key));
  return value;
}

uint64_t RecordedMemory(const Record& record) {
  constexpr std::string_view kMember = ",\"memory_mib\":";
  const size_t at = record.json.find(kMember);  // in a text its quotes would be escaped
  if (at == std::string_view::npos) return 0;
  double mib = 0;
  const std::string_view number = record.json.substr(at + kMember.size());
  std::from_chars(number.data(), number.data() + number.size(), mib);
  return mib > 0 ? static_cast<uint64_t>(mib * 1048576) : 0;
}

std::string IndexLine(const Record& r) {
  return fmt::format("{} {} {} {} {:.6g} {} {}\t{}\t{}", r.key, r.digest, r.bytes, r.mtime_ns,
                     r.wall_s, r.has_output_files ? 1 : 0, r.type, r.step, r.json);
}

std::optional<Record> ParseIndexLine(std::string_view line) {
  Record record;
  int has_output_files = 0;
  if (!Take(line, ' ', record.key) || !Take(line, ' ', record.digest) ||
      !TakeNumber(line, record.bytes) || !TakeNumber(line, record.mtime_ns) ||
      !TakeNumber(line, record.wall_s) || !TakeNumber(line, has_output_files) ||
      !Take(line, '\t', record.type) || !Take(line, '\t', record.step) || !IsDigest(record.key) ||
      !IsDigest(record.digest) || !std::isfinite(record.wall_s) || record.wall_s < 0 ||
      record.step.empty()) {
    return std::nullopt;
  }
  record.has_output_files = has_output_files != 0;
  record.json = line;
  return record;
}

std::optional<std::string> IndexLineOf(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const size_t tail = kSumMember.size() + 16 + 2;
  if (text.size() < tail) return std::nullopt;
  const std::string_view body = text.substr(0, text.size() - tail);
  const std::string_view sum = text.substr(body.size() + kSumMember.size(), 16);
  if (text.substr(body.size(), kSumMember.size()) != kSumMember || sum != Checksum(body)) {
    return std::nullopt;
  }
  const json value = ParseRecord(text);
  if (!IsRecord(value)) return std::nullopt;
  std::string line =
      IndexLine({value.at("key").get_ref<const std::string&>(),
                 value.at("digest").get_ref<const std::string&>(),
                 value.at("step").get_ref<const std::string&>(),
                 value.at("type").get_ref<const std::string&>(), value.at("bytes").get<uint64_t>(),
                 value.at("mtime_ns").get<int64_t>(), value.at("wall_s").get<double>(),
                 value.contains("output_files") ||
                     value.value("scalars", json::object()).contains(kReferredFiles),
                 text, 0});
  // Its line has to say the same: a line break inside would make two of it.
  if (line.find('\n') != std::string::npos || !ParseIndexLine(line)) return std::nullopt;
  return line;
}

}  // namespace puzzle
