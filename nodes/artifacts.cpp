#include "nodes/artifacts.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

#include "io/error.h"
#include "model/files/hf_config.h"
#include "model/pch.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

namespace {

void WriteText(ArchiveWriter& out, const std::string& name, const std::string& text) {
  out.Write(name, {DType::kU8, {static_cast<int64_t>(text.size())}, text.data()});
}

std::string ReadText(const ArchiveReader& in, const std::string& name) {
  std::string text(static_cast<size_t>(NumElements(in.Info(name).shape)), '\0');
  in.Read(name, text.data());
  return text;
}

constexpr std::string_view kFilePrefix = "tokenizer/";

void WriteTokenizer(ArchiveWriter& out, const std::map<std::string, std::string>& files) {
  for (const auto& [name, bytes] : files) WriteText(out, std::string(kFilePrefix) + name, bytes);
}

std::map<std::string, std::string> ReadTokenizer(const ArchiveReader& in) {
  std::map<std::string, std::string> files;
  for (const std::string& name : in.ArrayNames())
    if (name.starts_with(kFilePrefix)) files[name.substr(kFilePrefix.size())] = ReadText(in, name);
  return files;
}

json Sums(const TokenMetrics& m) {
  return {{"tokens", m.tokens},
          {"sum", m.sum},
          {"squares", m.squares},
          {"nmse_products", m.nmse_products}};
}

TokenMetrics MetricsFromSums(const json& sums) {
  return {sums.at("tokens"), sums.at("sum"), sums.at("squares"), sums.at("nmse_products")};
}

// A mean and its standard error, for records and summaries.
void SaveMean(ArchiveWriter& out, const std::string& name, const TokenMetrics& m, Metric metric) {
  out.SetAttribute(name, m.Mean(metric));
  out.SetAttribute(name + "_se", m.Error(metric));
}

void SaveMetrics(ArchiveWriter& out, const TokenMetrics& m, bool with_parent) {
  out.SetAttribute("sums", Sums(m));
  out.SetAttribute("positions", m.tokens);
  for (const MetricInfo& info : AllMetrics())
    if (with_parent || !info.needs_parent) SaveMean(out, std::string(info.name), m, info.metric);
}

TokenMetrics LoadMetrics(const ArchiveReader& in) {
  return MetricsFromSums(in.Attribute("sums"));
}

std::string StateName(int64_t index) {
  return fmt::format("state/{:04}", index);
}

}  // namespace

void TextArtifact::Save(ArchiveWriter& out) const {
  out.SetAttribute("characters", text.size());
  WriteText(out, "text", text);
}

TextArtifact TextArtifact::Load(std::shared_ptr<const ArchiveReader> in) {
  return {ReadText(*in, "text")};
}

Tensor TokenSet::Batch(int64_t first, int64_t count) const {
  PUZZLE_CHECK(first >= 0 && first + count <= sequences(), "sequences out of range");
  return at::from_blob(const_cast<int32_t*>(ids.data()) + first * length, {count, length}, at::kInt)
      .to(at::kLong);
}

Tensor TokenSet::Rows(const std::vector<int64_t>& rows) const {
  std::vector<Tensor> batch;
  for (int64_t row : rows) batch.push_back(Batch(row, 1));
  return at::cat(batch);
}

void TokenSet::Save(ArchiveWriter& out) const {
  out.SetAttribute("sequences", sequences());
  out.SetAttribute("length", length);
  out.SetAttribute("vocab_size", vocab_size);
  out.Write("ids", {DType::kI32, {sequences(), length}, ids.data()});
  WriteTokenizer(out, tokenizer_files);
}

TokenSet TokenSet::Load(std::shared_ptr<const ArchiveReader> in) {
  TokenSet tokens;
  tokens.length = in->Attribute("length");
  tokens.vocab_size = in->Attribute("vocab_size");
  tokens.ids.resize(static_cast<size_t>(NumElements(in->Info("ids").shape)));
  in->Read("ids", tokens.ids.data());
  tokens.tokenizer_files = ReadTokenizer(*in);
  return tokens;
}

void Checkpoint::Save(ArchiveWriter& out) const {
  out.SetAttribute("config", json(ToHfJson(model.config)));
  out.SetAttribute("parameters",
                   CountBlockParameters(model.config) + CountNonBlockParameters(model.config));
  for (const auto& [name, value] : figures) out.SetAttribute("figure/" + name, value);
  ModelWeights handles = model;
  for (const auto& [name, slot] : Slots(handles)) WriteTensor(out, name, *slot);
  WriteTokenizer(out, tokenizer_files);
}

Checkpoint Checkpoint::Load(std::shared_ptr<const ArchiveReader> in) {
  Checkpoint checkpoint;
  checkpoint.model = Outline(ModelConfigFromJson(
      nlohmann::ordered_json::parse(in->Attribute("config").dump()), "checkpoint"));
  for (const auto& [name, slot] : Slots(checkpoint.model)) *slot = ReadTensor(*in, name);
  checkpoint.tokenizer_files = ReadTokenizer(*in);
  constexpr std::string_view kFigure = "figure/";
  for (const std::string& name : in->AttributeNames())
    if (name.starts_with(kFigure))
      checkpoint.figures[name.substr(kFigure.size())] = in->Attribute(name);
  return checkpoint;
}

namespace {

bool Kept(const Activations::Layout& layout, int64_t index) {
  return layout.stride > 0 && index % layout.stride == 0;
}

at::ScalarType ScalarTypeOf(const Activations::Layout& layout) {
  return layout.dtype == DType::kBF16 ? at::kBFloat16 : at::kFloat;
}

}  // namespace

Activations::Writer::Writer(ArchiveWriter& out, const Layout& layout,
                            const std::string& parent_digest)
    : out_(out), layout_(layout) {
  out.SetAttribute("states", layout.n_states);
  out.SetAttribute("sequences", layout.sequences);
  out.SetAttribute("length", layout.length);
  out.SetAttribute("hidden", layout.hidden);
  out.SetAttribute("dtype", std::string(DTypeName(layout.dtype)));
  out.SetAttribute("parent_digest", parent_digest);
  if (layout.stride != 1) out.SetAttribute("stride", layout.stride);
  for (int64_t i = 0; i < layout.n_states; ++i) {
    if (Kept(layout, i))
      out.Create(StateName(i), layout.dtype, {layout.sequences, layout.length, layout.hidden});
  }
  out.Create("ids", DType::kI32, {layout.sequences, layout.length});
}

void Activations::Writer::Append(const std::vector<Tensor>& states, const Tensor& ids) {
  for (int64_t i = 0; i < layout_.n_states; ++i) {
    if (!Kept(layout_, i)) continue;
    const Tensor host =
        states[static_cast<size_t>(i)].detach().to(at::kCPU, ScalarTypeOf(layout_)).contiguous();
    out_.Append(StateName(i), ViewOf(host));
  }
  const Tensor host_ids = ids.to(at::kCPU, at::kInt).contiguous();
  out_.Append("ids", ViewOf(host_ids));
}

void Activations::Save(ArchiveWriter&) const {
  throw BugError("activations are written while they are computed");
}

Activations Activations::Load(std::shared_ptr<const ArchiveReader> in) {
  Activations activations;
  Layout& layout = activations.layout_;
  layout.n_states = in->Attribute("states");
  layout.sequences = in->Attribute("sequences");
  layout.length = in->Attribute("length");
  layout.hidden = in->Attribute("hidden");
  layout.dtype = ParseDType(in->Attribute("dtype").get<std::string>()).value();
  if (in->HasAttribute("stride")) layout.stride = in->Attribute("stride");
  activations.parent_digest_ = in->Attribute("parent_digest");
  activations.reader_ = std::move(in);
  return activations;
}

bool Activations::Keeps(int64_t index) const {
  return Kept(layout_, index);
}

Tensor Activations::Read(int64_t index, int64_t first, int64_t count) const {
  PUZZLE_CHECK(Keeps(index), "this state was not kept");
  Tensor states = at::empty({count, layout_.length, layout_.hidden}, ScalarTypeOf(layout_));
  reader_->ReadRows(StateName(index), first, count, states.data_ptr());
  return states.to(at::kFloat);
}

Tensor Activations::Ids(int64_t first, int64_t count) const {
  Tensor ids = at::empty({count, layout_.length}, at::kInt);
  reader_->ReadRows("ids", first, count, ids.data_ptr());
  return ids.to(at::kLong);
}

void Importance::Save(ArchiveWriter& out) const {
  out.SetAttribute("layers", channel_order.size());
  for (size_t i = 0; i < channel_order.size(); ++i) {
    if (channel_order[i].defined())
      WriteTensor(out, fmt::format("channel_order/{:04}", i), channel_order[i]);
    if (head_scores[i].defined())
      WriteTensor(out, fmt::format("head_scores/{:04}", i), head_scores[i]);
  }
}

Importance Importance::Load(std::shared_ptr<const ArchiveReader> in) {
  Importance importance;
  const size_t layers = in->Attribute("layers");
  auto read = [&](const std::string& name) {
    return in->HasArray(name) ? ReadTensor(*in, name) : Tensor();
  };
  for (size_t i = 0; i < layers; ++i) {
    importance.channel_order.push_back(read(fmt::format("channel_order/{:04}", i)));
    importance.head_scores.push_back(read(fmt::format("head_scores/{:04}", i)));
  }
  return importance;
}

size_t Importance::ResidentBytes() const {
  size_t bytes = 0;
  for (const Tensor& order : channel_order)
    if (order.defined()) bytes += order.nbytes();
  return bytes;
}

void Block::Save(ArchiveWriter& out) const {
  out.SetAttribute("layer", layer);
  out.SetAttribute("variant", variant);
  out.SetAttribute("spec", ToJson(spec));
  out.SetAttribute("parents_own", parents_own);
  out.SetAttribute("init_loss", init_loss);
  out.SetAttribute("loss", loss);
  if (parents_own) return;
  SubBlockWeights handles = Weights();
  for (const auto& [name, slot] : Slots(handles, spec)) WriteTensor(out, name, *slot);
}

SubBlockWeights Block::Weights() const {
  PUZZLE_CHECK(!parents_own, "the parent's own block has no weights of its own");
  if (reader == nullptr) return trained;
  SubBlockWeights weights = NoWeights(WhichSubBlock(spec));
  for (const auto& [name, slot] : AllSlots(weights))
    if (reader->HasArray(name)) *slot = ReadTensor(*reader, name);
  return weights;
}

Block Block::Load(std::shared_ptr<const ArchiveReader> in) {
  Block block;
  block.layer = in->Attribute("layer");
  block.variant = in->Attribute("variant");
  block.spec = VariantFromJson(in->Attribute("spec"));
  block.parents_own = in->Attribute("parents_own");
  block.init_loss = in->Attribute("init_loss");
  block.loss = in->Attribute("loss");
  block.reader = std::move(in);
  return block;
}
void Score::Save(ArchiveWriter& out) const {
  out.SetAttribute("layer", layer);
  out.SetAttribute("variant", variant);
  out.SetAttribute("spec", ToJson(spec));
  SaveMetrics(out, metrics, /*with_parent=*/true);
  out.SetAttribute("increase_sums", Sums(increase));
  for (const MetricInfo& info : AllMetrics())
    SaveMean(out, fmt::format("{}_increase", info.objective), increase, info.metric);
}

Score Score::Load(std::shared_ptr<const ArchiveReader> in) {
  Score score;
  score.layer = in->Attribute("layer");
  score.variant = in->Attribute("variant");
  score.spec = VariantFromJson(in->Attribute("spec"));
  score.metrics = LoadMetrics(*in);
  score.increase = MetricsFromSums(in->Attribute("increase_sums"));
  return score;
}

void CostTable::Save(ArchiveWriter& out) const {
  out.SetAttribute("parent", json(ToHfJson(parent)));
  out.SetAttribute("batch", scenario.batch);
  out.SetAttribute("prefill", scenario.prefill_length);
  out.SetAttribute("generation", scenario.generation_length);
  out.SetAttribute("weights", scenario.weights);
  out.SetAttribute("activations", scenario.activations);
  out.SetAttribute("kv", scenario.kv);
  out.SetAttribute("timing", timing);
  out.SetAttribute("resources", resources);
  out.SetAttribute("fixed", fixed);
  out.SetAttribute("parent_total", parent_total);
  json table = json::array();
  for (const Row& row : rows)
    table.push_back({{"layer", row.layer},
                     {"variant", row.variant},
                     {"spec", ToJson(row.spec)},
                     {"parents_own", row.parents_own},
                     {"costs", row.costs}});
  out.SetAttribute("rows", table);
}

CostTable CostTable::Load(std::shared_ptr<const ArchiveReader> in) {
  CostTable table;
  table.parent = ModelConfigFromJson(nlohmann::ordered_json::parse(in->Attribute("parent").dump()),
                                     "cost table");
  table.scenario = {in->Attribute("batch"),       in->Attribute("prefill"),
                    in->Attribute("generation"),  in->Attribute("weights"),
                    in->Attribute("activations"), in->Attribute("kv")};
  table.timing = in->Attribute("timing");
  table.resources = in->Attribute("resources").get<std::vector<std::string>>();
  table.fixed = in->Attribute("fixed").get<std::vector<double>>();
  table.parent_total = in->Attribute("parent_total").get<std::vector<double>>();
  for (const json& row : in->Attribute("rows"))
    table.rows.push_back({row.at("layer"), row.at("variant"), VariantFromJson(row.at("spec")),
                          row.at("parents_own"), row.at("costs").get<std::vector<double>>()});
  return table;
}

std::string Choice::Listing() const {
  std::map<int64_t, BlockSpec> blocks;
  std::set<int64_t> coupled;
  for (const Pick& pick : picks) {
    Place(pick.spec, blocks[pick.layer]);
    if (WhichSubBlock(pick.spec) == SubBlock::kBoth && !IsNone(pick.spec))
      coupled.insert(pick.layer);
  }
  std::string text;
  for (const auto& [layer, block] : blocks)
    text += fmt::format("block_{}:  attention {:<7} ffn {}\n", layer, Describe(block.attention),
                        coupled.contains(layer) ? fmt::format("{:<7} coupled", Describe(block.ffn))
                                                : Describe(block.ffn));
  return text;
}

std::string Choice::Report() const {
  std::string text = fmt::format("{} ({}): objective {:.6f}, bound {:.6f}, gap {:.3g} %\n", status,
                                 method, objective, bound, 100 * gap);
  for (const auto& [resource, total] : totals)
    text += fmt::format("    {:<20} {:>18.12g}\n", resource, total);
  if (!timing.empty()) text += fmt::format("    times: {}, batch {}\n", timing, batch);
  text += Listing();
  if (!comparison.empty()) text += '\n' + comparison;
  return text;
}

void Choice::Save(ArchiveWriter& out) const {
  json list = json::array();
  for (const Pick& pick : picks)
    list.push_back({{"layer", pick.layer}, {"variant", pick.variant}, {"spec", ToJson(pick.spec)}});
  out.SetAttribute("picks", list);
  out.SetAttribute("method", method);
  out.SetAttribute("status", status);
  out.SetAttribute("objective", objective);
  out.SetAttribute("bound", bound);
  out.SetAttribute("gap", gap);
  out.SetAttribute("batch", batch);
  out.SetAttribute("timing", timing);
  out.SetAttribute("totals", totals);
  out.SetAttribute("comparison", comparison);
  out.SetAttribute("display", Report());
  for (const auto& [resource, total] : totals) out.SetAttribute(resource, total);
}

Choice Choice::Load(std::shared_ptr<const ArchiveReader> in) {
  Choice choice;
  for (const json& pick : in->Attribute("picks"))
    choice.picks.push_back(
        {pick.at("layer"), pick.at("variant"), VariantFromJson(pick.at("spec"))});
  choice.method = in->Attribute("method");
  choice.status = in->Attribute("status");
  choice.objective = in->Attribute("objective");
  choice.bound = in->Attribute("bound");
  choice.gap = in->Attribute("gap");
  choice.batch = in->Attribute("batch");
  choice.timing = in->Attribute("timing");
  choice.totals = in->Attribute("totals").get<std::map<std::string, double>>();
  choice.comparison = in->Attribute("comparison");
  return choice;
}

void FrontierArtifact::Save(ArchiveWriter& out) const {
  json list = json::array();
  for (const Point& point : points)
    list.push_back({{"budget", point.budget},
                    {"method", point.method},
                    {"batch", point.batch},
                    {"status", point.status},
                    {"objective", point.objective},
                    {"bound", point.bound},
                    {"dominated", point.dominated},
                    {"totals", point.totals},
                    {"variants", point.variants}});
  out.SetAttribute("resource", resource);
  out.SetAttribute("points", list);
  out.SetAttribute("display", table);
  out.SetAttribute("picture_svg", picture_svg);
}

FrontierArtifact FrontierArtifact::Load(std::shared_ptr<const ArchiveReader> in) {
  FrontierArtifact frontier;
  frontier.resource = in->Attribute("resource");
  for (const json& point : in->Attribute("points"))
    frontier.points.push_back({point.at("budget"), point.at("method"), point.at("batch"),
                               point.at("status"), point.at("objective"), point.at("bound"),
                               point.at("dominated"),
                               point.at("totals").get<std::map<std::string, double>>(),
                               point.at("variants").get<std::vector<std::string>>()});
  frontier.table = in->Attribute("display");
  frontier.picture_svg = in->Attribute("picture_svg");
  return frontier;
}

void Evaluation::Save(ArchiveWriter& out) const {
  out.SetAttribute("label", label);
  out.SetAttribute("series", series);
  out.SetAttribute("model_digest", model_digest);
  out.SetAttribute("has_kl", has_kl);
  if (predicted) out.SetAttribute("predicted_kl", *predicted);
  if (tasks.questions > 0) {
    out.SetAttribute("questions", tasks.questions);
    out.SetAttribute("questions_right", tasks.right);
    out.SetAttribute("task_accuracy", tasks.Mean());
    out.SetAttribute("task_accuracy_se", tasks.StandardError());
  }
  out.SetAttribute("parameters", parameters);
  out.SetAttribute("block_parameters", block_parameters);
  out.SetAttribute("weights_mib", weights_mib);
  out.SetAttribute("prompt", prompt);
  out.SetAttribute("sample", sample);
  SaveMetrics(out, metrics, has_kl);
}

Evaluation Evaluation::Load(std::shared_ptr<const ArchiveReader> in) {
  Evaluation evaluation;
  evaluation.label = in->Attribute("label");
  evaluation.series = in->Attribute("series");
  evaluation.model_digest = in->Attribute("model_digest").get<std::string>();
  evaluation.has_kl = in->Attribute("has_kl");
  if (in->HasAttribute("predicted_kl"))
    evaluation.predicted = in->Attribute("predicted_kl").get<double>();
  if (in->HasAttribute("questions"))
    evaluation.tasks = {in->Attribute("questions"), in->Attribute("questions_right")};
  evaluation.parameters = in->Attribute("parameters");
  evaluation.block_parameters = in->Attribute("block_parameters");
  evaluation.weights_mib = in->Attribute("weights_mib");
  evaluation.prompt = in->Attribute("prompt");
  evaluation.sample = in->Attribute("sample");
  evaluation.metrics = LoadMetrics(*in);
  return evaluation;
}

void ExportManifest::Save(ArchiveWriter& out) const {
  out.SetAttribute("folder", folder);
  out.SetAttribute("files", files);
}

ExportManifest ExportManifest::Load(std::shared_ptr<const ArchiveReader> in) {
  return {in->Attribute("folder"), in->Attribute("files").get<std::map<std::string, uint64_t>>()};
}

void ReportText::Save(ArchiveWriter& out) const {
  out.SetAttribute("display", text);
  if (!picture_svg.empty()) out.SetAttribute("picture_svg", picture_svg);
}

ReportText ReportText::Load(std::shared_ptr<const ArchiveReader> in) {
  ReportText report{in->Attribute("display"), {}};
  if (in->HasAttribute("picture_svg")) report.picture_svg = in->Attribute("picture_svg");
  return report;
}

}  // namespace puzzle
