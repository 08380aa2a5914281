#include "graph/store/record.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "graph/store/line_file.h"
#include "io/error.h"

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

}  // namespace

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
  if (!d.accepted_json.empty()) text += ",\"accepted\":" + d.accepted_json;
  if (!d.command.empty()) text += ",\"command\":" + Quoted(d.command);
  if (!d.display.empty()) text += ",\"display\":" + Quoted(d.display);
  const std::string sum = Checksum(text);
  return text.append(kSumMember).append(sum).append("\"}");
}

json RecordJson(const Record& record) {
  json value = json::parse(record.json, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) throw Error(fmt::format("record {} is damaged", record.key));
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
      !Take(line, '\t', record.type) || !Take(line, '\t', record.step)) {
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
  const json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    if (value.at("puzzle_record") != kRecordFormat) return std::nullopt;
    return IndexLine({value.at("key").get_ref<const std::string&>(),
                      value.at("digest").get_ref<const std::string&>(),
                      value.at("step").get_ref<const std::string&>(),
                      value.at("type").get_ref<const std::string&>(),
                      value.at("bytes").get<uint64_t>(), value.at("mtime_ns").get<int64_t>(),
                      value.at("wall_s").get<double>(), value.contains("output_files"), text, 0});
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

}  // namespace puzzle
