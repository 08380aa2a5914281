#include "tests/graph/graph_test_fixture.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle::testing {
namespace {

using nlohmann::json;

/// Everything in one JSON object, written by Close.
class JsonWriter final : public ArchiveWriter {
 public:
  JsonWriter(std::string path, std::function<bool(const std::string&)> fail)
      : path_(std::move(path)), fail_(std::move(fail)) {
    Call("create");
    std::ofstream file(path_);
    if (!file) throw Error("cannot create " + path_);
  }
  void SetAttribute(std::string_view name, const json& value) override {
    Call("attribute");
    document_["attributes"][std::string(name)] = value;
  }
  void Write(std::string_view name, const ArrayView& array) override {
    Call("write");
    Create(name, array.dtype, array.shape);
    Append(name, array);
  }
  void Create(std::string_view name, DType dtype, const Shape& shape) override {
    Call("begin");
    document_["arrays"][std::string(name)] = {
        {"dtype", DTypeName(dtype)}, {"shape", shape}, {"bytes", json::array()}};
  }
  void Append(std::string_view name, const ArrayView& rows) override {
    Call("append");
    json& bytes = document_["arrays"][std::string(name)]["bytes"];
    const auto* data = static_cast<const uint8_t*>(rows.data);
    for (size_t i = 0; i < rows.bytes(); ++i) bytes.push_back(data[i]);
  }
  void Close() override {
    Call("close");
    std::ofstream file(path_);
    file << document_.dump();
    file.close();
    if (!file) throw Error("cannot write " + path_);
  }

 private:
  void Call(const std::string& what) {
    if (fail_ && fail_(what)) throw Error(what + " " + path_ + ": No space left on device");
  }

  std::string path_;
  std::function<bool(const std::string&)> fail_;
  json document_ = {{"attributes", json::object()}, {"arrays", json::object()}};
};

class JsonReader final : public ArchiveReader {
 public:
  explicit JsonReader(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw Error("cannot open " + path);
    document_ = json::parse(file, nullptr, false);
    if (!document_.is_object()) throw Error(path + " is damaged");
  }
  bool HasAttribute(std::string_view name) const override {
    return document_.at("attributes").contains(std::string(name));
  }
  json Attribute(std::string_view name) const override {
    if (!HasAttribute(name)) throw Error("no attribute " + std::string(name));
    return document_.at("attributes").at(std::string(name));
  }
  std::vector<std::string> AttributeNames() const override { return Names("attributes"); }
  std::vector<std::string> ArrayNames() const override { return Names("arrays"); }
  bool HasArray(std::string_view name) const override {
    return document_.at("arrays").contains(std::string(name));
  }
  ArrayInfo Info(std::string_view name) const override {
    const json& array = Array(name);
    return {ParseDType(array.at("dtype").get<std::string>()).value(),
            array.at("shape").get<Shape>()};
  }
  void Read(std::string_view name, void* out) const override {
    const auto bytes = Array(name).at("bytes").get<std::vector<uint8_t>>();
    std::copy(bytes.begin(), bytes.end(), static_cast<uint8_t*>(out));
  }
  void ReadRows(std::string_view name, int64_t first, int64_t count, void* out) const override {
    const auto bytes = Array(name).at("bytes").get<std::vector<uint8_t>>();
    const ArrayInfo info = Info(name);
    const auto row = static_cast<int64_t>(bytes.size()) / std::max<int64_t>(info.shape[0], 1);
    std::copy(bytes.begin() + first * row, bytes.begin() + (first + count) * row,
              static_cast<uint8_t*>(out));
  }

 private:
  std::vector<std::string> Names(const char* what) const {
    std::vector<std::string> names;
    for (const auto& [name, unused] : document_.at(what).items()) names.push_back(name);
    return names;
  }
  const json& Array(std::string_view name) const {
    if (!HasArray(name)) throw Error("no array " + std::string(name));
    return document_.at("arrays").at(std::string(name));
  }

  json document_;
};

}  // namespace

void RecordingObserver::OnEvent(const RunEvent& event) {
  std::string line;
  const std::string step = event.has_step ? event.plan->steps[event.step].name : "";
  switch (event.type) {
    case RunEvent::Type::kRunStarted:
      line = "run";
      break;
    case RunEvent::Type::kStepWaits:
      line = "wait " + step + ": " + std::string(event.message);
      break;
    case RunEvent::Type::kStepStarted:
      line = "start " + step;
      reasons[step] = event.reason;
      lanes[step] = event.lane;
      break;
    case RunEvent::Type::kProgress:
      line = "progress " + step;
      break;
    case RunEvent::Type::kStepRetried:
      line = "again " + step + ": " + std::string(event.reason);
      break;
    case RunEvent::Type::kStepSaving:
      line = "saving " + step;
      break;
    case RunEvent::Type::kStepDone:
      line = std::string(OutcomeName(event.outcome)) + " " + step;
      if (!event.message.empty()) line += ": " + std::string(event.message);
      break;
    case RunEvent::Type::kWarning:
      warnings.push_back((step.empty() ? "" : step + ": ") + std::string(event.message));
      line = "warning " + warnings.back();
      break;
    case RunEvent::Type::kRunDone:
      line = "done";
      break;
  }
  lines.push_back(line);
  if (also) also(event);
}

TemporaryFolder::TemporaryFolder() {
  // Memory where there is some: many thousand small files are slow to create on some disks.
  const std::filesystem::path memory = "/dev/shm";
  const auto parent =
      ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
  std::string name = (parent / "puzzle_test_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw Error("cannot make " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ArchiveFormat JsonFormat(std::function<bool(const std::string&)> fail) {
  return {[fail](const std::string& path) { return std::make_unique<JsonWriter>(path, fail); },
          [](const std::string& path) { return std::make_shared<JsonReader>(path); }};
}

GraphTest::GraphTest() : format_(JsonFormat()) {
  ReopenStore();
}

void GraphTest::ReopenStore() {
  if (store_) closed_stores_.push_back(std::move(store_));
  store_ = std::make_unique<Store>(folder() + "/store", format_, shared_stores_);
}

void GraphTest::WriteFile(const std::string& name, const std::string& text) const {
  const std::filesystem::path path = folder() + "/" + name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

void GraphTest::Load(const std::string& graph) {
  graph_ = graph;
}

std::string GraphTest::Problems(bool for_run) {
  diagnostics_ = {};
  registry_ = std::make_unique<Registry>(MakeToyRegistry(playground_));
  FileDigester files(folder() + "/files");
  try {
    const auto text = std::make_shared<const JsonText>(JsonText::Parse(graph_, source_));
    const GraphSpec spec = ParseSpec(text, settings_, diagnostics_);
    PlanOptions options;
    options.files = &files;
    options.environment = [this](const std::string& type) { return environments_[type]; };
    options.layers_of = [](const std::string& checkpoint) -> int64_t {
      if (checkpoint != "of-two-layers") throw Error(checkpoint + ": no such checkpoint");
      return 2;
    };
    plan_ = MakePlan(spec, *registry_, options, diagnostics_);
    if (!diagnostics_.empty()) return diagnostics_.Text();
    SelectedPlan selected = Select(std::move(*plan_), selection_, diagnostics_);
    plan_ = std::move(selected.plan);
    orders_ = std::move(selected.orders);
    ReopenStore();
    if (for_run) store_->AnnounceRun();
    forecast_ = MarkStale(*plan_, *store_, orders_);
    CheckOutside({*plan_, orders_}, forecast_, diagnostics_);
  } catch (const Error& error) {
    return error.what() + std::string("\n");
  }
  return diagnostics_.Text();
}

void GraphTest::Plan() {
  ASSERT_EQ(Problems(), "");
}

std::vector<std::string> GraphTest::Forecasts() {
  Plan();
  std::vector<std::string> lines;
  for (StepId id = 0; id < plan_->steps.size(); ++id) {
    const StepForecast& step = forecast_.steps[id];
    std::string line = step.accepts              ? "KEEP "
                       : step.fate == Fate::kHit ? "HIT "
                       : step.fate == Fate::kRun ? "RUN "
                                                 : "WAIT ";
    line += plan_->steps[id].name;
    if (!step.reason.empty()) line += ": " + step.reason;
    lines.push_back(line);
  }
  return lines;
}

void GraphTest::Run() {
  ASSERT_EQ(Problems(/*for_run=*/true), "");
  observer_.lines.clear();
  observer_.warnings.clear();
  observer_.reasons.clear();
  observer_.lanes.clear();
  LocalLanesOptions lane_options;
  lane_options.devices = devices_;
  lane_options.memory_bytes = memory_bytes_;
  const auto lanes =
      make_lanes_ ? make_lanes_()
                  : std::unique_ptr<Lanes>(std::make_unique<LocalLanes>(std::move(lane_options)));
  report_ = Execute(*plan_, forecast_, *store_, *lanes, &observer_, options_);
}

std::set<std::string> GraphTest::With(Outcome outcome) const {
  std::set<std::string> names;
  for (StepId id = 0; id < report_.steps.size(); ++id) {
    if (report_.steps[id].outcome == outcome) names.insert(plan_->steps[id].name);
  }
  return names;
}

StepId GraphTest::Find(const std::string& step) const {
  for (StepId id = 0; id < plan_->steps.size(); ++id) {
    if (plan_->steps[id].name == step) return id;
  }
  throw Error("no step " + step);
}

std::string GraphTest::TextOf(const std::string& step) {
  const auto reader = store_->Open(report_.steps[Find(step)].record);
  return reader->Attribute("text").get<std::string>();
}

std::string GraphTest::KeyOfStep(const std::string& step) {
  return std::string(report_.steps[Find(step)].record.key);
}

std::string GraphTest::DigestOfStep(const std::string& step) {
  return std::string(report_.steps[Find(step)].record.digest);
}

std::string GraphTest::FileOf(const std::string& step) {
  return store_->PathOf(report_.steps[Find(step)].record);
}

}  // namespace puzzle::testing
