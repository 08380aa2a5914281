#include "apps/report/report_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "apps/report/report_charts.h"
#include "graph/view/graph_svg.h"
#include "graph/view/svg.h"
#include "graph/view/timeline_svg.h"
#include "io/quantity.h"
#include "nodes/measure/kinds.h"
#include "nodes/measure/plot.h"

namespace puzzle {
namespace {

// One style sheet for screens, light and dark, phones and paper. Pictures of other rooms have
// colours of their own and lie on paper.
constexpr std::string_view kPageStyle = R"(
:root{color-scheme:light dark;--ink:#1c2333;--soft:#5d667a;--page:#fff;--card:#f2f4f8;--line:#d5dae4;
--heat:#1f5fbf;--bad:#b3261e;--c0:#1f5fbf;--c1:#c8622a;--c2:#3d8a4f;--c3:#8a4fa3;--c4:#b58900;--c5:#2a8c94;
--c6:#b8437b;--c7:#6b7280}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9f0;--soft:#a3acbf;--page:#14171f;--card:#1f2430;
--line:#3a4254;--heat:#6ea8ff;--bad:#ff8a80;--c0:#6ea8ff;--c1:#ffa066;--c2:#7fce8f;--c3:#cf9be6;--c4:#e6c35c;
--c5:#6fd0d8;--c6:#f08fbc;--c7:#aab2c0}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:0 auto;max-width:1180px;
padding:16px}
h1{font-size:24px;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:19px;margin:36px 0 8px;
border-top:1px solid var(--line);padding-top:16px}h3{font-size:15px;margin:16px 0 4px}
a{color:var(--c0)}nav{display:flex;flex-wrap:wrap;gap:4px 14px;margin:12px 0}
.soft{color:var(--soft)}.bad{color:var(--bad)}
table{border-collapse:collapse}td,th{padding:3px 14px 3px 0;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
pre,textarea{font:12px/1.4 ui-monospace,monospace;background:var(--card);color:var(--ink);
border:1px solid var(--line);border-radius:6px;padding:8px;width:100%;white-space:pre-wrap;
overflow-wrap:anywhere}textarea{height:12em;white-space:pre}
.cards{display:flex;flex-wrap:wrap;gap:10px;margin:12px 0}.card{background:var(--card);border-radius:8px;
padding:8px 16px}.card b{display:block;font-size:20px}
.wide{overflow-x:auto;max-width:100%}.beside{display:flex;flex-wrap:wrap;gap:20px}
.beside>div{min-width:0;max-width:100%}
.paper{background:#fff;color:#111;border-radius:6px;padding:6px}.paper img{max-width:100%}
svg.chart{font:11px system-ui,sans-serif}svg.chart text{fill:var(--ink)}rect.heat{fill:var(--heat)}
svg.chart text.on{fill:var(--page)}.whisker{stroke:var(--ink);stroke-width:1.2;fill:none}
.c0{fill:var(--c0);background:var(--c0)}.c1{fill:var(--c1);background:var(--c1)}
.c2{fill:var(--c2);background:var(--c2)}.c3{fill:var(--c3);background:var(--c3)}
.c4{fill:var(--c4);background:var(--c4)}.c5{fill:var(--c5);background:var(--c5)}
.c6{fill:var(--c6);background:var(--c6)}.c7{fill:var(--c7);background:var(--c7)}
.legend{margin:4px 0}.legend i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:5px}
.legend span{margin-right:14px}details{margin:6px 0}summary{cursor:pointer;color:var(--c0)}
:focus-visible{outline:3px solid var(--c1);outline-offset:2px}
.skip{position:absolute;left:-9999px}.skip:focus{position:static}
@media(max-width:600px){body{padding:10px;font-size:14px}h1{font-size:20px}.card{padding:6px 10px}}
@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--page:#fff;--card:#fff}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}nav,.csv,.skip{display:none}
.wide{overflow:visible}svg{max-width:100%;height:auto}h2{break-after:avoid}figure,svg,tr{break-inside:avoid}}
)";

// ---- pieces

class Rows {
 public:
  /// Columns after the first `texts` hold numbers.
  Rows(std::vector<std::string> heads, size_t texts) : texts_(texts), heads_(std::move(heads)) {}

  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }

  [[nodiscard]] std::string Table() const {
    std::string text =
        "<div class=\"wide\" tabindex=\"0\"><table><thead>" + Row(heads_, "th") + "</thead><tbody>";
    for (const auto& row : rows_) text += Row(row, "td");
    return text + "</tbody></table></div>\n";
  }
  /// To be copied: selecting all of it takes nothing else along.
  [[nodiscard]] std::string Csv(const std::string& name) const {
    std::string text = Line(heads_);
    for (const auto& row : rows_) text += Line(row);
    return fmt::format(
        "<details class=\"csv\"><summary>{0} as CSV</summary><textarea readonly=\"readonly\" "
        "aria-label=\"{0} "
        "as "
        "CSV\">\n{1}</textarea></details>\n",
        XmlText(name), XmlText(text));
  }

 private:
  [[nodiscard]] std::string Row(const std::vector<std::string>& cells, const char* tag) const {
    std::string text = "<tr>";
    for (size_t i = 0; i < cells.size(); ++i)
      text += fmt::format("<{0}{1}>{2}</{0}>", tag, i < texts_ ? "" : " class=\"n\"",
                          XmlText(cells[i]));
    return text + "</tr>\n";
  }
  [[nodiscard]] static std::string Line(const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) line += ',';
      if (cells[i].find_first_of(",\"\n\r") == std::string::npos) {
        line += cells[i];
        continue;
      }
      line += '"';
      for (const char c : cells[i]) line += c == '"' ? std::string("\"\"") : std::string(1, c);
      line += '"';
    }
    return line + '\n';
  }

  size_t texts_;
  std::vector<std::string> heads_;
  std::vector<std::vector<std::string>> rows_;
};

// All digits that the figure has.
std::string Exact(std::optional<double> value) {
  return value ? fmt::format("{}", *value) : "";
}

std::string Wide(const std::string& content, const char* more = "") {
  return fmt::format("<div class=\"wide{}\" tabindex=\"0\">{}</div>\n", more, content);
}

// Sections with something in them, and the links to them.
class Page {
 public:
  void Add(const std::string& id, const std::string& title, const std::string& content) {
    if (content.empty()) return;
    links_ += fmt::format("<a href=\"#{}\">{}</a> ", id, title);
    sections_ += fmt::format("<section id=\"{}\"><h2>{}</h2>\n{}</section>\n", id, title, content);
  }
  [[nodiscard]] std::string Links() const {
    return "<nav aria-label=\"Sections\">" + links_ + "</nav>\n";
  }
  [[nodiscard]] const std::string& sections() const { return sections_; }

 private:
  std::string links_, sections_;
};

// ---- models

// The model that was not measured against a parent; the largest, where others were not either.
const ReportedModel* ParentOf(const ReportData& data) {
  const ReportedModel* parent = nullptr;
  for (const ReportedModel& model : data.models)
    if (!model.Find("kl") &&
        (parent == nullptr || model.block_parameters > parent->block_parameters))
      parent = &model;
  return parent;
}

// The parent first, then by what is left of the blocks, the most first.
std::vector<const ReportedModel*> InOrder(const ReportData& data) {
  std::vector<const ReportedModel*> models;
  for (const ReportedModel& model : data.models) models.push_back(&model);
  const ReportedModel* parent = ParentOf(data);
  std::stable_sort(models.begin(), models.end(), [&](const auto* a, const auto* b) {
    if ((a == parent) != (b == parent)) return a == parent;
    return a->block_parameters > b->block_parameters;
  });
  return models;
}

std::string WithError(const ReportedModel& model, const std::string& figure, int digits = 4) {
  const auto value = model.Find(figure), error = model.Find(figure + "_se");
  if (!value) return "-";
  std::string text = fmt::format("{:.{}f}", *value, digits);
  if (error && *error > 0) text += fmt::format(" \xc2\xb1{:.{}f}", *error, digits);
  return text;
}

std::string ModelsSection(const ReportData& data) {
  if (data.models.empty()) return "";
  const ReportedModel* parent = ParentOf(data);
  Rows table({"model", "parameters", "in blocks", "weights MiB", "NLL", "KL to the parent", "top-1",
              "top-5", "top-10"},
             1);
  Rows csv({"step", "label", "series", "parameters", "block_parameters", "weights_mib", "nll",
            "nll_se", "kl", "kl_se", "predicted_kl", "cosine", "nmse", "top_1", "top_5", "top_10"},
           3);
  BarChart bars;
  bars.series = {"block parameters, % of the parent's", "top-1 accuracy, % of the parent's"};
  for (const ReportedModel* model : InOrder(data)) {
    std::optional<double> part;  // of a parent that was not measured nobody knows
    if (parent != nullptr && parent->block_parameters > 0)
      part = 100 * model->block_parameters / parent->block_parameters;
    table.Add({model->label, fmt::format("{:.0f}", model->parameters),
               part ? fmt::format("{:.1f}%", *part) : "-",
               fmt::format("{:.2f}", model->weights_mib), WithError(*model, "nll"),
               WithError(*model, "kl"), WithError(*model, "token_accuracy_top_1", 3),
               WithError(*model, "token_accuracy_top_5", 3),
               WithError(*model, "token_accuracy_top_10", 3)});
    csv.Add({model->step, model->label, model->series, Exact(model->parameters),
             Exact(model->block_parameters), Exact(model->weights_mib), Exact(model->Find("nll")),
             Exact(model->Find("nll_se")), Exact(model->Find("kl")), Exact(model->Find("kl_se")),
             Exact(model->predicted_kl), Exact(model->Find("cosine")), Exact(model->Find("nmse")),
             Exact(model->Find("token_accuracy_top_1")), Exact(model->Find("token_accuracy_top_5")),
             Exact(model->Find("token_accuracy_top_10"))});
    const auto own = model->Find("token_accuracy_top_1");
    const auto parents = parent != nullptr ? parent->Find("token_accuracy_top_1") : std::nullopt;
    std::optional<BarChart::Value> kept;
    if (own && parents && *parents > 0)
      kept = {100 * *own / *parents,
              100 * model->Find("token_accuracy_top_1_se").value_or(0) / *parents};
    std::optional<BarChart::Value> size;
    if (part) size = {*part, 0};
    bars.groups.push_back(model->label);
    bars.values.push_back({size, kept});
  }
  return table.Table() + Wide(BarChartSvg(bars)) + csv.Csv("models");
}

// What the graph's own report calls the main series.
std::set<std::string> MainSeries(const Plan& plan) {
  std::set<std::string> main;
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    if (plan.kind(id).params_type != typeid(ReportParams)) continue;
    const auto& params = *static_cast<const ReportParams*>(plan.steps[id].params.value.get());
    main.insert(params.main.begin(), params.main.end());
  }
  return main;
}

std::string FrontierSection(const Plan& plan, const ReportData& data) {
  const ReportedModel* parent = ParentOf(data);
  if (parent == nullptr || parent->block_parameters <= 0) return "";
  const std::set<std::string> main = MainSeries(plan);
  Plot plot{"block parameters, % of the parent's", "KL to the parent", {}};
  Rows csv({"series", "label", "block_parameters_percent", "kl", "kl_se"}, 2);
  for (const ReportedModel* model : InOrder(data)) {
    const auto kl = model->Find("kl");
    if (!kl) continue;
    const std::string name = model->series.empty() ? model->label : model->series;
    auto series = std::find_if(plot.series.begin(), plot.series.end(),
                               [&](const PlotSeries& s) { return s.name == name; });
    if (series == plot.series.end())
      series = plot.series.insert(plot.series.end(), {name, {}, true, main.contains(name)});
    const double part = 100 * model->block_parameters / parent->block_parameters;
    series->points.push_back({part, *kl, model->Find("kl_se").value_or(0)});
    csv.Add({name, model->label, Exact(part), Exact(kl), Exact(model->Find("kl_se"))});
  }
  if (csv.empty()) return "";
  return "<p class=\"soft\">Lower is better, and so is further left. Bars are standard "
         "errors.</p>\n" +
         Wide(PlotSvg(plot), " paper") + csv.Csv("frontier");
}

// ---- layers

const ReportedVariant* FindVariant(const ReportData& data, int64_t layer, const std::string& name) {
  for (const ReportedVariant& variant : data.variants)
    if (variant.layer == layer && variant.variant == name) return &variant;
  return nullptr;
}

// Of attention and FFN; nothing where costs do not say it.
struct KeptParts {
  std::optional<double> attention, ffn;
};

// "attn:kv1" and "ffn:256" of the pair of them; twice the same of anything else.
std::pair<std::string, std::string> NamesOf(const ReportedChoice::Pick& pick) {
  const size_t plus = pick.variant.find('+');
  if (pick.part != "block" || plus == std::string::npos) return {pick.variant, pick.variant};
  return {pick.variant.substr(0, plus), pick.variant.substr(plus + 1)};
}

// What a pick leaves of its layer's parameters; nothing of a sub-block that it is not about.
KeptParts KeptOf(const ReportData& data, const ReportedChoice::Pick& pick) {
  if (static_cast<size_t>(pick.layer) >= data.layers.size() || pick.layer < 0) return {};
  const ReportedLayer& layer = data.layers[static_cast<size_t>(pick.layer)];
  const auto share = [&](const std::string& name, double own) -> std::optional<double> {
    if (name == layer.attention || name == layer.ffn) return 1;
    if (name == "none") return 0;  // of both sub-blocks, which costs list apart
    const ReportedVariant* variant = FindVariant(data, pick.layer, name);
    if (variant == nullptr || !variant->parameters || own <= 0) return std::nullopt;
    return *variant->parameters / own;
  };
  const auto [attention, ffn] = NamesOf(pick);
  KeptParts kept;
  if (pick.part != "ffn") kept.attention = share(attention, layer.attention_parameters);
  if (pick.part != "attn") kept.ffn = share(ffn, layer.ffn_parameters);
  if (pick.part != "block" || (kept.attention && kept.ffn)) return kept;
  const auto whole = share(pick.variant, layer.attention_parameters + layer.ffn_parameters);
  return whole ? KeptParts{whole, whole} : kept;  // costs may list pairs alone
}

// What it leaves of all that it is about, 0 to 1.
std::optional<double> Kept(const ReportData& data, const ReportedChoice::Pick& pick) {
  const KeptParts kept = KeptOf(data, pick);
  if (pick.part == "attn") return kept.attention;
  if (pick.part == "ffn") return kept.ffn;
  if (!kept.attention || !kept.ffn) return std::nullopt;
  const ReportedLayer& layer = data.layers[static_cast<size_t>(pick.layer)];
  const double own = layer.attention_parameters + layer.ffn_parameters;
  if (own <= 0) return std::nullopt;
  return (*kept.attention * layer.attention_parameters + *kept.ffn * layer.ffn_parameters) / own;
}

// "choice[budget=80%]" -> "80%".
std::string ShortStep(const std::string& step) {
  const size_t open = step.find('[');
  if (open == std::string::npos) return step.substr(step.rfind('/') + 1);
  std::string name;
  for (size_t at = open; at != std::string::npos && at + 1 < step.size();) {
    const size_t equals = step.find('=', at);
    if (equals == std::string::npos) break;
    const size_t end = step.find_first_of(",]", equals);
    name += (name.empty() ? "" : " ") + step.substr(equals + 1, end - equals - 1);
    at = end;
  }
  return name;
}

// What a search found, as opposed to a baseline.
bool IsAnswer(const ReportedChoice& choice) {
  return choice.method == "exact" || choice.method == "cbc";
}

// "80%", or "mem 80%" of another node than the first.
std::string ChoiceName(const ReportData& data, const ReportedChoice& choice) {
  const auto node = [](const std::string& step) {
    const std::string name = step.substr(0, step.find('['));
    return name.substr(name.rfind('/') + 1);
  };
  const auto first = std::find_if(data.choices.begin(), data.choices.end(), IsAnswer);
  const std::string name(Shortened(ShortStep(choice.step), 9));
  if (first == data.choices.end() || node(first->step) == node(choice.step)) return name;
  return node(choice.step).substr(0, 3) + " " + name;
}

int64_t CountLayers(const ReportData& data) {
  auto count = static_cast<int64_t>(data.layers.size());
  for (const ReportedVariant& variant : data.variants) count = std::max(count, variant.layer + 1);
  return count;
}

std::string ChoiceMap(const ReportData& data, int64_t layers, Rows& csv) {
  if (data.choices.empty()) return "";
  HeatMap map;
  map.unit = " of the parameters stay";
  for (int64_t layer = 0; layer < layers; ++layer)
    map.rows.push_back(fmt::format("layer {}", layer));
  map.values.resize(map.rows.size());
  map.labels.resize(map.rows.size());
  for (const ReportedChoice& choice : data.choices) {
    for (const ReportedChoice::Pick& pick : choice.picks)
      csv.Add({choice.step, choice.method, std::to_string(pick.layer), pick.part, pick.variant,
               Exact(Kept(data, pick))});
    if (!IsAnswer(choice)) continue;  // baselines are figures, too many for a picture
    const size_t first = map.columns.size();
    for (const char* part : {"attn", "ffn"})
      map.columns.push_back(fmt::format("{} {}", ChoiceName(data, choice), part));
    for (size_t r = 0; r < map.rows.size(); ++r) {
      map.values[r].resize(first + 2);
      map.labels[r].resize(first + 2);
    }
    for (const ReportedChoice::Pick& pick : choice.picks) {
      if (pick.layer < 0 || pick.layer >= layers) continue;
      const KeptParts kept = KeptOf(data, pick);
      const auto names = NamesOf(pick);
      const auto row = static_cast<size_t>(pick.layer);
      for (size_t part = 0; part < 2; ++part) {
        if (pick.part == (part == 0 ? "ffn" : "attn")) continue;
        const std::string& name = part == 0 ? names.first : names.second;
        map.values[row][first + part] = part == 0 ? kept.attention : kept.ffn;
        map.labels[row][first + part] = name.substr(name.find(':') + 1);
      }
    }
  }
  if (map.columns.empty()) return "";
  return "<div><h3>What was chosen, and how much of it is left</h3>" + Wide(HeatMapSvg(map)) +
         "</div>";
}

// A map of one figure of all variants.
std::string VariantMap(const ReportData& data, int64_t layers, const char* title,
                       std::optional<double> ReportedVariant::*figure) {
  HeatMap map;
  map.logarithmic = true;
  std::vector<std::string> names;
  for (const ReportedVariant& variant : data.variants) {
    if (!(variant.*figure)) continue;
    if (std::find(names.begin(), names.end(), variant.variant) == names.end())
      names.push_back(variant.variant);
  }
  if (names.empty()) return "";
  // Attention before FFN before whole blocks.
  std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    const auto rank = [](const std::string& name) {
      return name == "none" || name.find('+') != std::string::npos ? 2 : name.starts_with("ffn:");
    };
    return rank(a) < rank(b);
  });
  for (const std::string& name : names) map.columns.push_back(name.substr(name.find(':') + 1));
  for (int64_t layer = 0; layer < layers; ++layer) {
    map.rows.push_back(fmt::format("layer {}", layer));
    map.values.emplace_back(names.size());
  }
  for (const ReportedVariant& variant : data.variants) {
    const auto at = std::find(names.begin(), names.end(), variant.variant);
    if (at == names.end() || variant.layer < 0) continue;
    map.values[static_cast<size_t>(variant.layer)][static_cast<size_t>(at - names.begin())] =
        variant.*figure;
  }
  return fmt::format("<div><h3>{}</h3>", title) + Wide(HeatMapSvg(map)) + "</div>";
}

std::string LayersSection(const ReportData& data) {
  const int64_t layers = CountLayers(data);
  if (layers == 0) return "";
  Rows choices({"step", "method", "layer", "part", "variant", "parameters_kept"}, 5);
  Rows variants({"layer", "variant", "kl", "kl_se", "lm_loss", "init_loss", "loss", "parameters",
                 "memory_mib"},
                2);
  for (const ReportedVariant& v : data.variants)
    variants.Add({std::to_string(v.layer), v.variant, Exact(v.kl), Exact(v.kl_se), Exact(v.lm_loss),
                  Exact(v.init_loss), Exact(v.loss), Exact(v.parameters), Exact(v.memory_mib)});
  const std::string scores =
      VariantMap(data, layers, "What a variant loses (KL, logarithmic)", &ReportedVariant::kl);
  const std::string chosen = ChoiceMap(data, layers, choices);
  if (chosen.empty() && scores.empty()) return "";
  return "<div class=\"beside\">" + chosen + scores + "</div>\n" +
         (choices.empty() ? "" : choices.Csv("choices")) +
         (variants.empty() ? "" : variants.Csv("variants"));
}

// What a choice leaves of the layer, in parameters.
KeptParts Left(const ReportData& data, const ReportedChoice& choice, size_t layer) {
  const ReportedLayer& own = data.layers[layer];
  KeptParts left;
  for (const ReportedChoice::Pick& pick : choice.picks) {
    if (pick.layer != static_cast<int64_t>(layer)) continue;
    const KeptParts kept = KeptOf(data, pick);
    if (kept.attention) left.attention = *kept.attention * own.attention_parameters;
    if (kept.ffn) left.ffn = *kept.ffn * own.ffn_parameters;
  }
  return left;
}

std::string CostSection(const ReportData& data) {
  if (data.layers.empty()) return "";
  HeatMap map;
  map.columns = {"parent"};
  map.unit = " parameters";
  std::vector<const ReportedChoice*> shown;
  for (const ReportedChoice& choice : data.choices)
    if (IsAnswer(choice)) shown.push_back(&choice);
  for (const ReportedChoice* choice : shown) map.columns.push_back(ChoiceName(data, *choice));
  StackedBars memory{{}, {"attention, KV cache included", "FFN"}, {}, " MiB"};
  Rows csv({"layer", "model", "attention_parameters", "ffn_parameters", "attention_mib", "ffn_mib"},
           2);
  for (size_t layer = 0; layer < data.layers.size(); ++layer) {
    const ReportedLayer& own = data.layers[layer];
    map.rows.push_back(fmt::format("layer {}", layer));
    map.values.push_back({own.attention_parameters + own.ffn_parameters});
    csv.Add({std::to_string(layer), "parent", Exact(own.attention_parameters),
             Exact(own.ffn_parameters), Exact(own.attention_mib), Exact(own.ffn_mib)});
    for (const ReportedChoice* choice : shown) {
      const KeptParts left = Left(data, *choice, layer);
      std::optional<double> both;
      if (left.attention && left.ffn) both = *left.attention + *left.ffn;
      map.values.back().push_back(both);
      csv.Add(
          {std::to_string(layer), choice->step, Exact(left.attention), Exact(left.ffn), "", ""});
    }
    std::vector<std::string>& labels = map.labels.emplace_back();
    for (const auto& value : map.values.back()) labels.push_back(value ? ShortNumber(*value) : "");
    memory.rows.push_back(map.rows.back());
    memory.values.push_back({own.attention_mib, own.ffn_mib});
  }
  return "<div class=\"beside\"><div><h3>Parameters of each layer</h3>" + Wide(HeatMapSvg(map)) +
         "</div><div><h3>Memory of each layer of the parent</h3>" + Wide(StackedBarsSvg(memory)) +
         "</div></div>\n" + csv.Csv("costs");
}

// ---- training

std::string GkdCurves(const ReportData& data, Rows& csv) {
  Plot plot{"% of the steps", "loss", {}};
  const auto add = [&](const std::string& step, const std::string& name, const char* number,
                       const ReportedCurve& curve) {
    if (curve.empty()) return;
    PlotSeries series{name, {}};
    for (const auto& [part, loss] : curve) {
      series.points.push_back({100 * part, loss, 0});
      csv.Add({step, number, Exact(part), Exact(loss)});
    }
    plot.series.push_back(std::move(series));
  };
  for (const ReportedTraining& training : data.trainings) {
    const std::string name = ShortStep(training.step);
    add(training.step, name, "loss", training.curve);
    add(training.step, name + ", held out", "held out", training.held_out);
  }
  if (plot.series.empty()) return "";
  return "<h3>Distillation of whole children: loss</h3>" + Wide(PlotSvg(plot), " paper");
}

// The mean over layers, a curve per variant.
std::string BldCurves(const ReportData& data, Rows& csv) {
  constexpr int kBins = 10;
  std::map<std::string, std::vector<std::pair<double, int>>> sums;  // by variant and bin
  for (const auto& [step, curve] : data.block_curves) {
    const size_t at = step.find("variant=");
    const std::string variant = at == std::string::npos
                                    ? step.substr(0, step.find('['))
                                    : step.substr(at + 8, step.find_first_of(",]", at) - at - 8);
    auto& bins = sums[variant];
    bins.resize(kBins);
    for (const auto& [part, loss] : curve) {
      csv.Add({step, "loss", Exact(part), Exact(loss)});
      auto& [sum, count] = bins[static_cast<size_t>(std::clamp(part * kBins, 0.0, kBins - 0.5))];
      sum += loss;
      ++count;
    }
  }
  if (sums.empty()) return "";
  Plot plot{"% of the steps", "relative error, mean over layers", {}};
  for (const auto& [variant, bins] : sums) {
    PlotSeries series{variant, {}};
    for (int b = 0; b < kBins; ++b) {
      const auto& [sum, count] = bins[static_cast<size_t>(b)];
      if (count > 0) series.points.push_back({100.0 * (b + 0.5) / kBins, sum / count, 0});
    }
    plot.series.push_back(std::move(series));
  }
  return "<h3>Block by block: loss while they learn</h3>" + Wide(PlotSvg(plot), " paper");
}

std::string TrainingSection(const ReportData& data) {
  Rows table({"child", "held-out KL before", "after", "last loss"}, 1);
  Rows curves({"step", "number", "part", "value"}, 2);
  for (const ReportedTraining& training : data.trainings) {
    const auto figure = [&](const char* name) {
      const auto found = training.figures.find(name);
      return found == training.figures.end() ? std::string() : ShortNumber(found->second);
    };
    table.Add({training.step, figure("held_out_kl_before"), figure("held_out_kl"), figure("loss")});
  }
  const std::string blocks = VariantMap(
      data, CountLayers(data), "Blocks: error after training, relative to none (logarithmic)",
      &ReportedVariant::loss);
  const std::string text = GkdCurves(data, curves) + BldCurves(data, curves);
  if (table.empty() && blocks.empty() && text.empty()) return "";
  const std::string none =
      text.empty() && !table.empty()
          ? "<p class=\"soft\">No curves: these results were made by a version that kept none. "
            "Those of a run come from puzzle run --events FILE and puzzle report --events "
            "FILE.</p>\n"
          : "";
  return (table.empty() ? "" : table.Table() + table.Csv("distillation")) + none + text + blocks +
         (curves.empty() ? "" : curves.Csv("curves"));
}

// ---- the rest

std::string TasksSection(const ReportData& data) {
  BarChart chart;
  Rows csv({"model", "task", "metric", "value", "stderr", "n"}, 3);
  std::vector<const ReportedModel*> models;
  for (const ReportedModel* model : InOrder(data))
    if (!model->tasks.empty()) models.push_back(model);
  for (const ReportedModel* model : models) {
    chart.series.push_back(model->label);
    for (const ReportedTask& task : model->tasks) {
      csv.Add({model->label, task.name, task.metric, Exact(task.value), Exact(task.error),
               std::to_string(task.n)});
      const std::string group = task.name + " " + task.metric;
      if (task.value > 1) continue;  // perplexities are no accuracies
      if (std::find(chart.groups.begin(), chart.groups.end(), group) == chart.groups.end())
        chart.groups.push_back(group);
    }
  }
  if (models.empty()) return "";
  for (const std::string& group : chart.groups) {
    std::vector<std::optional<BarChart::Value>> values;
    for (const ReportedModel* model : models) {
      std::optional<BarChart::Value> value;
      for (const ReportedTask& task : model->tasks)
        if (task.name + " " + task.metric == group) value = {task.value, task.error};
      values.push_back(value);
    }
    chart.values.push_back(std::move(values));
  }
  return "<p class=\"soft\">Whiskers are standard errors.</p>\n" + Wide(BarChartSvg(chart)) +
         csv.Csv("tasks");
}

std::string SamplesSection(const ReportData& data) {
  std::string text;
  for (const ReportedModel* model : InOrder(data)) {
    if (model->sample.empty()) continue;
    text += fmt::format("<h3>{}</h3><pre><span class=\"soft\">{}</span>{}</pre>\n",
                        XmlText(model->label), XmlText(model->prompt), XmlText(model->sample));
  }
  return text;
}

std::string TimeSection(const Plan& plan, const ReportData& data) {
  if (data.timeline.spans.empty()) return "";
  Rows csv({"step", "node", "kind", "state", "device", "host", "finished", "wall_s", "cpu_s",
            "memory_mib"},
           7);
  std::map<std::string, std::pair<double, double>> devices;
  for (const ReportedStep& step : data.steps) {
    csv.Add({step.step, step.node, step.kind, step.state, step.device, step.host, step.finished,
             Exact(step.wall_s), Exact(step.cpu_s), Exact(step.memory_mib)});
    auto& [wall, cpu] = devices[step.device.empty() ? "host" : step.device];
    wall += step.wall_s;
    cpu += step.cpu_s;
  }
  Rows table({"device", "seconds of steps", "processor seconds"}, 1);
  for (const auto& [device, seconds] : devices)
    if (seconds.first > 0)
      table.Add(
          {device, fmt::format("{:.1f}", seconds.first), fmt::format("{:.1f}", seconds.second)});
  return "<p class=\"soft\">When the results were made, in all runs; times at which nothing ran "
         "are "
         "left out.</p>\n" +
         Wide(TimelineSvg(plan, data.timeline, {}), " paper") + table.Table() + csv.Csv("steps");
}

// As images, in which nothing is executed.
std::string PicturesSection(const ReportData& data) {
  std::string text;
  for (const auto& [step, svg] : data.pictures)
    text += fmt::format(
        "<figure class=\"paper\"><figcaption>{0}</figcaption><img alt=\"{0}\" "
        "src=\"data:image/svg+xml;base64,{1}\"/></figure>\n",
        XmlText(step), Base64(svg));
  return text;
}

std::string GraphSection(const Plan& plan, const Forecast& forecast) {
  Report report;
  report.steps.resize(plan.steps.size());
  for (StepId id = 0; id < plan.steps.size(); ++id)
    report.steps[id].outcome =
        forecast.steps[id].fate == Fate::kHit ? Outcome::kCached : Outcome::kSkipped;
  Rows table({"node", "kind", "steps", "found", "missing"}, 2);
  for (const PlanNode& node : plan.nodes) {
    size_t found = 0;
    for (StepId id = node.first; id < node.first + node.count; ++id)
      found += forecast.steps[id].fate == Fate::kHit ? 1 : 0;
    table.Add({node.name, node.kind->name, std::to_string(node.count), std::to_string(found),
               std::to_string(node.count - found)});
  }
  return Wide(GraphSvg(plan, report), " paper") + table.Csv("nodes");
}

std::string ConfigurationSection(const ReportData& data, const ReportHead& head) {
  std::string text = "<pre>" + XmlText(head.command) + "</pre>\n";
  Rows environment({"what", "value"}, 2);
  for (const auto& [name, value] : data.environment) environment.Add({name, value});
  if (!environment.empty()) text += environment.Table() + environment.Csv("environment");
  for (const auto& [name, content] : data.files)
    text += fmt::format("<details><summary>{}</summary><pre tabindex=\"0\">{}</pre></details>\n",
                        XmlText(name), XmlText(content));
  return text;
}

std::string Cards(const Forecast& forecast, const ReportData& data) {
  std::string text = "<div class=\"cards\">";
  const auto card = [&](const std::string& value, const std::string& what) {
    text += fmt::format("<div class=\"card\"><b>{}</b>{}</div>", XmlText(value), XmlText(what));
  };
  const ReportedModel* parent = ParentOf(data);
  if (parent != nullptr) card(ShortNumber(parent->parameters), "parameters of the parent");
  if (parent != nullptr) card(ShortNumber(parent->Find("nll").value_or(0)), "its NLL");
  const auto children =
      std::count_if(data.models.begin(), data.models.end(),
                    [](const ReportedModel& model) { return model.Find("kl").has_value(); });
  if (children > 0) card(std::to_string(children), "children measured");
  card(fmt::format("{} of {}", forecast.hits, forecast.steps.size()), "steps have their results");
  double wall = 0;
  for (const ReportedStep& step : data.steps) wall += step.wall_s;
  card(DurationText(wall), "of work in them");
  return text + "</div>\n";
}

}  // namespace

std::string ReportPage(const Plan& plan, const Forecast& forecast, const ReportData& data,
                       const ReportHead& head) {
  Page page;
  page.Add("models", "Parent against child", ModelsSection(data));
  page.Add("frontier", "Frontier", FrontierSection(plan, data));
  page.Add("layers", "Layers", LayersSection(data));
  page.Add("cost", "Cost by layer", CostSection(data));
  page.Add("training", "Training", TrainingSection(data));
  page.Add("tasks", "Tasks", TasksSection(data));
  page.Add("samples", "Samples", SamplesSection(data));
  page.Add("pictures", "Pictures of results", PicturesSection(data));
  page.Add("time", "Time", TimeSection(plan, data));
  page.Add("graph", "Graph", GraphSection(plan, forecast));
  page.Add("configuration", "Configuration", ConfigurationSection(data, head));
  const std::string missing =
      forecast.hits == plan.steps.size()
          ? ""
          : fmt::format(
                "<p class=\"bad\">{} steps have no result yet, and are not in the figures: "
                "run the command under Configuration.</p>\n",
                plan.steps.size() - forecast.hits);
  return fmt::format(
             "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
             "'unsafe-inline'; img-src data:\"/>\n"
             "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n"
             "<title>{0}</title>\n<style>{1}</style></head>\n<body>\n"
             "<a class=\"skip\" href=\"#models\">To the results</a>\n<header><h1>{0}</h1>\n"
             "<p class=\"soft\">{2} &#183; {3}</p></header>\n",
             XmlText(head.title), kPageStyle, XmlText(head.date), XmlText(head.tool)) +
         Cards(forecast, data) + missing + page.Links() + "<main>\n" + page.sections() +
         "</main></body></html>\n";
}

}  // namespace puzzle
