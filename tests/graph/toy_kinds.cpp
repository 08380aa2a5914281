#include "tests/graph/toy_kinds.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "io/error.h"
#include "io/fingerprint.h"
#include "io/references.h"

namespace puzzle::testing {
namespace {

Playground* play = nullptr;  // bodies are plain functions; one registry per test

/// Counts the bodies that run at once.
class Presence {
 public:
  Presence() {
    const int now = ++play->running;
    int peak = play->peak;
    while (now > peak && !play->peak.compare_exchange_weak(peak, now)) {
    }
  }
  ~Presence() { --play->running; }
};

void Started(const std::string& what) {
  if (play->on_start) play->on_start(what);
}

struct TextParams {
  std::string value;
  std::string display;
  int64_t log_every = 10;
};
Text MakeText(const TextParams& p, const Inputs&, RunContext&) {
  Started("text");
  return {p.value, p.display};
}

struct ConcatParams {
  std::string separator = ",";
};
Text Concat(const ConcatParams& p, const Inputs& in, RunContext&) {
  Started("concat");
  Text result;
  if (in.Has("first")) result.text = in.Get<Text>("first")->text + p.separator;
  std::vector<std::string> parts;  // a set arrives in no particular order
  for (const auto& part : in.List<Text>("parts")) parts.push_back(part.Load()->text);
  std::sort(parts.begin(), parts.end());
  for (size_t i = 0; i < parts.size(); ++i) result.text += (i > 0 ? p.separator : "") + parts[i];
  return result;
}

struct NoParams {};
Text Upper(const NoParams&, const Inputs& in, RunContext&) {
  Text result{in.Get<Text>("in")->text, ""};
  for (char& c : result.text) c = static_cast<char>(std::toupper(c));
  return result;
}

Number Count(const NoParams&, const Inputs& in, RunContext&) {
  return {static_cast<int64_t>(in.Get<Text>("in")->text.size())};
}

struct FailParams {
  std::string message = "it was meant to fail";
};
Text Fail(const FailParams& p, const Inputs&, RunContext&) {
  throw Error(p.message);
}

struct SleepParams {
  int64_t ms = 1;
  std::string value;
  int64_t memory_mib = 0;
  std::string device;
};
Text Sleep(const SleepParams& p, const Inputs& in, RunContext& context) {
  const Presence presence;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(p.ms);
  while (std::chrono::steady_clock::now() < end) {
    Started("sleep " + p.value);
    context.Poll(0.5, "zzz 0.25");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {p.value + (in.Has("in") ? in.Get<Text>("in")->text : ""), ""};
}

struct TogetherParams {
  int64_t lanes = 2;
  int64_t rounds = 3;
  std::string value;
  std::string device;
};
// "value: cpu cpu", the devices of its lanes, once each of them was heard in every round.
Text Together(const TogetherParams& p, const Inputs&, RunContext& context) {
  const Presence presence;
  const std::vector<Device> devices = context.devices();
  std::string names = p.value + ":";
  for (const Device& device : devices) names += " " + device.name();
  std::vector<int64_t> heard(devices.size());
  std::vector<std::thread::id> threads(devices.size());
  for (int64_t round = 0; round < p.rounds; ++round) {
    context.OnEach([&](size_t lane) {
      Started("together " + devices[lane].name() + " " + std::to_string(lane));
      if (round > 0 && threads[lane] != std::this_thread::get_id()) throw Error("another thread");
      threads[lane] = std::this_thread::get_id();
      ++heard[lane];
    });
    context.Poll(static_cast<double>(round) / static_cast<double>(p.rounds));
  }
  const std::set<std::thread::id> different(threads.begin(), threads.end());
  if (different.size() != devices.size() || threads.front() != std::this_thread::get_id())
    throw Error("the lanes have no threads of their own");
  for (const int64_t rounds : heard)
    if (rounds != p.rounds) throw Error("a lane missed a round");
  return {names, ""};
}

Text Measure(const SleepParams& p, const Inputs&, RunContext&) {
  const Presence presence;
  for (int i = 0; i < 20; ++i) {
    if (play->running > 1) ++play->alone_violations;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {p.value, ""};
}

struct StreamParams {
  int64_t rows = 3;
  bool fail = false;
};
void Stream(const StreamParams& p, const Inputs&, RunContext& context, ArchiveWriter& out) {
  out.Create("rows", DType::kI64, {p.rows, 2});
  for (int64_t i = 0; i < p.rows; ++i) {
    const int64_t row[2] = {i, static_cast<int64_t>(context.seed() % 1000)};
    out.Append("rows", {DType::kI64, {1, 2}, row});
    if (p.fail) throw Error("failed half way");
  }
  out.SetAttribute("text", std::to_string(p.rows));
}

struct ClimbParams {
  int64_t to = 10;
};
Text Climb(const ClimbParams& p, const Inputs&, RunContext& context) {
  int64_t at = 0;
  if (const auto saved = context.LastSavePoint()) at = saved->Attribute("at");
  const int64_t from = at;
  while (at < p.to) {
    Started("climb " + std::to_string(++at));
    context.KeepSavePoint([&](ArchiveWriter& out) { out.SetAttribute("at", at); });
    context.Poll(static_cast<double>(at) / static_cast<double>(p.to), "");
  }
  return {"from " + std::to_string(from), ""};
}

struct AgreeParams {
  int64_t size = 8;
  std::string value;
};
Text Agree(const AgreeParams& p, const Inputs&, RunContext&) {
  return {p.value + std::to_string(p.size), ""};
}

struct PathParams {
  std::string path;
};
std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
Text ReadFile(const PathParams& p, const Inputs&, RunContext&) {
  return {ReadAll(p.path), ""};
}
std::string DigestFolder(const std::string& path) {
  if (!std::filesystem::exists(path + "/a")) throw Error("\"" + path + "\" has no file \"a\"");
  return FingerprintText(ReadAll(path + "/a"));
}
Text ReadFolder(const PathParams& p, const Inputs&, RunContext&) {
  return {ReadAll(p.path + "/a"), ""};
}

struct PictureParams {
  std::string svg;
};
struct Drawn {
  static constexpr std::string_view kType = "drawn";
  std::string svg;
  void Save(ArchiveWriter& writer) const { writer.SetAttribute("picture_svg", svg); }
  static Drawn Load(const std::shared_ptr<const ArchiveReader>& reader) {
    return {reader->Attribute("picture_svg").get<std::string>()};
  }
  [[nodiscard]] size_t ResidentBytes() const { return svg.size(); }
};
Drawn DrawPicture(const PictureParams& p, const Inputs&, RunContext&) {
  return {p.svg};
}

struct Exported {
  static constexpr std::string_view kType = "exported";
  nlohmann::json files;
  void Save(ArchiveWriter& writer) const { writer.SetAttribute("files", files); }
  static Exported Load(const std::shared_ptr<const ArchiveReader>& reader) {
    return {reader->Attribute("files")};
  }
  [[nodiscard]] size_t ResidentBytes() const { return 1; }
};
Exported Export(const PathParams& p, const Inputs& in, RunContext&) {
  const std::string text = in.Get<Text>("in")->text;
  std::filesystem::create_directories(p.path);
  std::ofstream(p.path + "/out.txt") << text;
  return {{{"out.txt", text.size()}}};
}

/// A text that stays in the user's file.
struct Referring {
  static constexpr std::string_view kType = "referring";
  References references;
  void Save(ArchiveWriter& writer) const { WriteReferences(references, writer); }
  static Referring Load(const std::shared_ptr<const ArchiveReader>& reader) {
    return {ReadReferences(*reader)};
  }
  [[nodiscard]] size_t ResidentBytes() const { return 1; }
};
Referring Refer(const PathParams& p, const Inputs&, RunContext&) {
  const std::string text = ReadAll(p.path);
  Referring result;
  result.references.files[p.path] = *StampOf(p.path);
  result.references.arrays["text"] = {
      {DType::kU8, {static_cast<int64_t>(text.size())}}, FingerprintText(text), p.path, "all"};
  return result;
}
Text Characters(const NoParams&, const Inputs& in, RunContext&) {
  return {std::to_string(in.Get<Referring>("in")->references.arrays.at("text").info.shape.front()),
          ""};
}

struct EveryParams {
  int64_t integer = 1;
  double number = 1;
  bool boolean = false;
  std::string text = "a";
  std::vector<int64_t> integers;
  std::vector<double> numbers;
  std::vector<std::string> texts;
  nlohmann::json json;
  double required = 0;
};
Text Every(const EveryParams& p, const Inputs&, RunContext&) {
  return {p.text, ""};
}

template <class K>
NodeKind With(Playground& playground, K&& kind) {
  NodeKind result = kind;
  if (auto it = playground.kind_versions.find(result.name); it != playground.kind_versions.end()) {
    result.version = it->second;
  }
  return result;
}

}  // namespace

void Text::Save(ArchiveWriter& writer) const {
  writer.SetAttribute("text", text);
  writer.SetAttribute("length", text.size());
  if (!display.empty()) writer.SetAttribute("display", display);
  writer.Write("bytes", {DType::kU8, {static_cast<int64_t>(text.size())}, text.data()});
}

Text Text::Load(const std::shared_ptr<const ArchiveReader>& reader) {
  ++play->loads;
  return {reader->Attribute("text").get<std::string>(), ""};
}

void Number::Save(ArchiveWriter& writer) const {
  writer.SetAttribute("value", value);
}
Number Number::Load(const std::shared_ptr<const ArchiveReader>& reader) {
  return {reader->Attribute("value").get<int64_t>()};
}

Registry MakeToyRegistry(Playground& playground) {
  play = &playground;
  std::vector<NodeKind> kinds;
  const auto add = [&](auto&& kind) { kinds.push_back(With(playground, kind)); };
  add(Kind<TextParams>("text", 1, "A text.")
          .Param("value", &TextParams::value, {}, "the text")
          .Param("display", &TextParams::display, {}, "what to show")
          .Param("log_every", &TextParams::log_every, {AtLeast(1), Unkeyed()}, "changes nothing")
          .Out("text"));
  add(Kind<ConcatParams>("concat", 1, "Joins texts.")
          .InOptional("first", "text", "comes first")
          .InList("parts", "text", "sorted")
          .Param("separator", &ConcatParams::separator, {}, "between")
          .Out("text"));
  add(Kind<NoParams>("upper", 1, "Upper case.").In("in", "text", "a text").Out("text"));
  add(Kind<NoParams>("count", 1, "Length.").In("in", "text", "a text").Out("number"));
  add(Kind<FailParams>("fail", 1, "Fails.")
          .InOptional("in", "text", "ignored")
          .Param("message", &FailParams::message, {}, "how")
          .Out("text"));
  add(Kind<SleepParams>("sleep", 1, "Takes a while.")
          .InOptional("in", "text", "appended")
          .Param("ms", &SleepParams::ms, {AtLeast(0), Unkeyed()}, "how long")
          .Param("value", &SleepParams::value, {}, "the text")
          .Param("memory_mib", &SleepParams::memory_mib, {AtLeast(0), Unkeyed()}, "declared")
          .Param("device", &SleepParams::device, {Unkeyed()}, "where it can run")
          .Out("text")
          .On(Needs::kDevice)
          .Takes([](const SleepParams& p, const InputFacts& in) {
            const double mib = static_cast<double>(p.memory_mib) + in.Number("in", "length");
            return Resources{p.device, static_cast<uint64_t>(mib) << 20, 0};
          }));
  add(Kind<TogetherParams>("together", 1, "Takes several lanes.")
          .Param("lanes", &TogetherParams::lanes, {Between(1, 64), Unkeyed()}, "how many")
          .Param("rounds", &TogetherParams::rounds, {AtLeast(1), Unkeyed()}, "of all lanes")
          .Param("value", &TogetherParams::value, {}, "the text")
          .Param("device", &TogetherParams::device, {Unkeyed()}, "where it can run")
          .Out("text")
          .On(Needs::kDevice)
          .Takes([](const TogetherParams& p, const InputFacts&) {
            return Resources{p.device, 0, 0, static_cast<int>(p.lanes)};
          }));
  add(Kind<SleepParams>("measure", 1, "Wants to be alone.")
          .Param("value", &SleepParams::value, {}, "the text")
          .Param("device", &SleepParams::device, {Unkeyed()}, "where it can run")
          .Out("text")
          .On(Needs::kQuietDevice)
          .Takes([](const SleepParams& p, const InputFacts&) {
            return Resources{p.device, 0, 0};
          }));
  add(Kind<StreamParams>("stream", 1, "Writes as it goes.")
          .Param("rows", &StreamParams::rows, {Between(1, 1000)}, "how many")
          .Param("fail", &StreamParams::fail, {}, "half way")
          .Out("text")
          .On(Needs::kDevice));
  add(Kind<ClimbParams>("climb", 1, "Keeps save points on its way.")
          .Param("to", &ClimbParams::to, {AtLeast(1)}, "rounds")
          .Out("text"));
  add(Kind<AgreeParams>("agree", 1, "Has a size that a graph says once.")
          .Param("size", &AgreeParams::size, {AtLeast(1), OncePerGraph()}, "the same for all")
          .Param("value", &AgreeParams::value, {}, "the text")
          .Out("text"));
  add(Kind<PathParams>("file", 1, "Reads a file.")
          .Param("path", &PathParams::path, {Required(), InputFile()}, "the file")
          .Out("text"));
  add(Kind<PathParams>("folder", 1, "Reads a folder.")
          .Param("path", &PathParams::path, {Required(), InputFolder(DigestFolder)}, "the folder")
          .Out("text"));
  add(Kind<PathParams>("export", 1, "Writes a folder.")
          .In("in", "text", "what")
          .Param("path", &PathParams::path, {Required(), OutputFolder()}, "where")
          .Out("exported"));
  add(Kind<PathParams>("refer", 1, "Refers to a file.")
          .Param("path", &PathParams::path, {Required(), InputFile()}, "the file")
          .Out("referring"));
  add(Kind<NoParams>("characters", 1, "Counts them.").In("in", "referring", "what").Out("text"));
  add(Kind<PictureParams>("picture", 1, "Draws.")
          .Param("svg", &PictureParams::svg, {}, "what")
          .Out("drawn"));
  add(Kind<EveryParams>("every", 1, "One parameter of each type.")
          .Param("integer", &EveryParams::integer, {Between(0, 10)}, "")
          .Param("number", &EveryParams::number, {AtLeast(0)}, "")
          .Param("boolean", &EveryParams::boolean, {}, "")
          .Param("text", &EveryParams::text, {OneOf({"alpha", "beta", "a"})}, "")
          .Param("integers", &EveryParams::integers, {AtLeast(1)}, "")
          .Param("numbers", &EveryParams::numbers, {}, "")
          .Param("texts", &EveryParams::texts, {OneOf({"x", "y"})}, "")
          .Param("json", &EveryParams::json, {}, "")
          .Param("required", &EveryParams::required, {Required()}, "")
          .Check([](const EveryParams& p) -> std::optional<std::string> {
            if (p.number > 100 && !p.boolean) return "a number above 100 needs boolean";
            return std::nullopt;
          })
          .Out("text"));
  return Registry(std::move(kinds), {{"text", MakeBody(MakeText)},
                                     {"concat", MakeBody(Concat)},
                                     {"upper", MakeBody(Upper)},
                                     {"count", MakeBody(Count)},
                                     {"fail", MakeBody(Fail)},
                                     {"sleep", MakeBody(Sleep)},
                                     {"together", MakeBody(Together)},
                                     {"measure", MakeBody(Measure)},
                                     {"stream", MakeStreamingBody<Text>(Stream)},
                                     {"climb", MakeBody(Climb)},
                                     {"agree", MakeBody(Agree)},
                                     {"file", MakeBody(ReadFile)},
                                     {"folder", MakeBody(ReadFolder)},
                                     {"export", MakeBody(Export)},
                                     {"refer", MakeBody(Refer)},
                                     {"characters", MakeBody(Characters)},
                                     {"picture", MakeBody(DrawPicture)},
                                     {"every", MakeBody(Every)}});
}

}  // namespace puzzle::testing
