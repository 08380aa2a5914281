// The record of one finished step: a line of JSON beside its artifact. It answers everything about
// the artifact but its arrays, so that hit test, reasons, summaries and estimates open no archive.
// Values.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace puzzle {

/// What the hit test and the views need at once; `json` holds the rest. A view: it is copied
/// without an allocation and lives as long as the text it was parsed from, which is as long as the
/// store it came from.
struct Record {
  std::string_view key;
  std::string_view digest;  // of the artifact's content
  std::string_view step;    // name of the step that made it
  std::string_view type;    // of the artifact
  uint64_t bytes = 0;       // size of the artifact file
  int64_t mtime_ns = 0;
  double wall_s = 0;
  bool has_output_files = false;
  std::string_view json;  // the whole record
  uint32_t layer = 0;     // of its store: 0 the store's own folder, n its n-th shared store
};

/// The members of a record file. Text members that are JSON already are marked.
struct RecordDraft {
  std::string key, step, kind, type, digest;
  uint64_t bytes = 0;
  int64_t mtime_ns = 0;
  std::string recipe_json;        // as fingerprinted
  std::string inputs_json;        // port -> names of the steps behind the digests
  std::string parents_json;       // port -> keys of the same, in the same order
  std::string paths_json;         // external files and folders by parameter
  std::string scalars_json;       // scalar attributes of the artifact
  std::string display;            // what a user wants to read
  std::string output_files_json;  // {name: bytes} in the output folder, or ""
  std::string warnings_json;
  std::string curves_json;    // {name: [[part done, number], ...]} as told on the way, or ""
  std::string accepted_json;  // {"key", "change"} of the result that was kept (--accept), or ""
  std::string command;        // the command line that made it, without a selection of steps
  double wall_s = 0, cpu_s = 0, save_s = 0, peak_rss_mib = 0;
  double memory_mib = 0;                     // what the step added to the process; 0: not measured
  std::string environment_json;              // the numerical environment that made it, or ""
  std::string host, device, tool, finished;  // `finished` is UTC, ISO 8601
  int threads = 0;
};

/// One line of JSON, ending in a checksum of itself.
[[nodiscard]] std::string RecordText(const RecordDraft& draft);

/// True for exactly 64 hexadecimal digits: keys and digests, which become names of files.
[[nodiscard]] bool IsDigest(std::string_view text);

/// The whole record as JSON, every member of the type that it has to have. Throws Error when it
/// breaks a rule.
[[nodiscard]] nlohmann::json RecordJson(const Record& record);

/// What the step added to its process, in bytes; 0 when that was not measured. Parses no JSON.
[[nodiscard]] uint64_t RecordedMemory(const Record& record);

/// A record as a line of the index file, and back. The line holds the fields of Record in front,
/// so that no JSON is parsed for a hit.
[[nodiscard]] std::string IndexLine(const Record& record);
[[nodiscard]] std::optional<Record> ParseIndexLine(std::string_view line);
/// The index line for the text of a record file; nullopt when it is damaged, of another format, or
/// breaks a rule: other people's records are data, not friends.
[[nodiscard]] std::optional<std::string> IndexLineOf(std::string_view text);

}  // namespace puzzle
