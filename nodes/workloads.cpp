#include "nodes/workloads.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/run/machine.h"
#include "io/error.h"
#include "io/percentage.h"
#include "model/block/counts.h"
#include "model/files/checkpoint_config.h"
#include "model/shape/config.h"
#include "model/shape/variant.h"
#include "nodes/data/documents.h"
#include "nodes/data/kinds.h"
#include "nodes/measure/kinds.h"
#include "nodes/precision/kinds.h"
#include "nodes/states/kinds.h"
#include "nodes/train/kinds.h"
#include "nodes/train/step_memory.h"
#include "nodes/train/trained_share.h"

namespace puzzle {
namespace {

// What a step's result is like, for those that take it.
struct Facts {
  std::optional<ModelConfig> model;  // a checkpoint, or what activations are of
  double sequences = 0, length = 0;  // tokens, activations
  double text_bytes = 0;             // a text
  bool is_online = false;            // activations: nothing is stored
  int64_t vocab = 0;                 // tokens: of a byte tokenizer
  double questions = 0;              // tasks
  int64_t layer = 0;                 // a block
  bool is_users = false;             // a checkpoint: its tensors lie in a file of the user's
  std::optional<VariantSpec> spec;

  [[nodiscard]] double tokens() const { return sequences * length; }
};

// Figures of experience, where counting ends.
constexpr double kDiskBytesPerS = 300e6;     // read or written, converted and digested
constexpr double kTextBytesPerS = 4e6;       // tokenized
constexpr double kBytesPerToken = 4.2;       // of a subword tokenizer, English text
constexpr double kBytesPerStory = 740;       // of synthetic_text
constexpr double kTokensPerQuestion = 130;   // of the usual tasks, choices after a shared context
constexpr double kSmall_s = 0.1;             // kinds that only look at tables
constexpr double kTrainedCopies = 4;         // weights, gradients, two moments
constexpr double kVariantsOfASubBlock = 6;   // that share what the parent answers
constexpr double kMostDataInMemory = 256e6;  // of a sub-block; more lives in files
constexpr int64_t kByteVocabulary = 259;

double Double(int64_t value) {
  return static_cast<double>(value);
}

// The share of the machine's speed that products of a model of this width reach: narrow ones spend
// their time around them.
double Efficiency(const ModelConfig& config) {
  constexpr double kWidthOfHalf = 96;
  return Double(config.hidden_size) / (Double(config.hidden_size) + kWidthOfHalf);
}

// In fp32, of a model that is read layer by layer.
double LargestBlockBytes(const ModelConfig& config) {
  return 4 * Double(block::CountLargestBlock(config));
}

// Floating-point operations for a token of a sequence of `length`, forward.
double ForwardFlops(const VariantSpec& spec, const ModelConfig& config, double length) {
  double flops = 2 * Double(CountParameters(spec, config));
  for (const VariantSpec& part : PartsOf(spec)) {
    const auto* attention = std::get_if<AttentionSpec>(&part);
    if (attention == nullptr || !attention->is_full()) continue;
    const double keys =
        attention->window > 0 ? std::min(length, Double(attention->window)) : length;
    flops += 2 * keys * Double(QueryHeads(*attention, config) * config.head_dim);
  }
  return flops;
}

// The layers from `first` on.
double BlockFlops(const ModelConfig& config, double length, int64_t first = 0) {
  double flops = 0;
  for (int64_t layer = first; layer < config.n_layers(); ++layer) {
    flops += ForwardFlops(config.blocks[static_cast<size_t>(layer)], config, length);
  }
  return flops;
}

double HeadFlops(const ModelConfig& config) {
  return 2 * Double(config.vocab_size) * Double(config.hidden_size);
}

double WeightBytes(const ModelConfig& config) {
  return 4 * Double(CountBlockParameters(config) + CountNonBlockParameters(config));
}

class Ports {
 public:
  Ports(const NodeKind& kind, const PortWorkloads& inputs) : kind_(kind), inputs_(inputs) {}

  [[nodiscard]] bool Has(std::string_view port) const { return !At(port).empty(); }
  // nullptr when nothing is connected, or nothing is known of it.
  [[nodiscard]] const Facts* Get(std::string_view port) const {
    const auto& loads = At(port);
    if (loads.empty() || !loads.front()->is_known) return nullptr;
    return static_cast<const Facts*>(loads.front()->facts.get());
  }

 private:
  [[nodiscard]] const std::vector<const Workload*>& At(std::string_view port) const {
    static const std::vector<const Workload*> kNothing;
    for (size_t p = 0; p < kind_.ports.size(); ++p) {
      if (kind_.ports[p].name == port) return inputs_[p];
    }
    return kNothing;
  }

  const NodeKind& kind_;
  const PortWorkloads& inputs_;
};

Workload Known(Facts facts) {
  Workload work;
  work.is_known = true;
  work.facts = std::make_shared<const Facts>(std::move(facts));
  return work;
}

void AddProducts(double flops, const ModelConfig& config, const std::string& compute,
                 Workload& work) {
  (compute == "bf16" ? work.bf16_flops : work.flops) += flops / Efficiency(config);
}

// A checkpoint that a step writes without much else.
Workload Written(Facts model) {
  model.is_users = false;
  Workload work = Known(model);
  work.disk_bytes = WeightBytes(*model.model);
  work.host_s = work.disk_bytes / kDiskBytesPerS;
  work.shared_bytes = work.disk_bytes;
  work.memory_bytes = work.disk_bytes;
  return work;
}

Workload Of(const LoadModelParams& p, const Ports&) {
  Facts facts;
  try {
    facts.model = ReadCheckpointConfig(p.path);
  } catch (const Error&) {
    return {};  // the step itself says what is wrong
  }
  Workload work = Written(facts);
  facts.is_users = true;
  work.facts = std::make_shared<const Facts>(facts);
  work.disk_bytes = work.shared_bytes = 0;  // the weights stay where they are
  work.memory_bytes = 4 * Double(facts.model->vocab_size) * Double(facts.model->hidden_size);
  return work;
}

Workload Of(const SyntheticTextParams& p, const Ports&) {
  Facts facts;
  facts.text_bytes = kBytesPerStory * Double(p.stories);
  Workload work = Known(facts);
  work.host_s = kSmall_s;
  work.disk_bytes = facts.text_bytes;
  return work;
}

Workload Of(const TokenizeParams& p, const Ports& ports) {
  double bytes = 0;
  if (const Facts* text = ports.Get("text")) bytes = text->text_bytes;
  std::vector<std::string> files = p.texts;
  if (!p.text.empty()) files.push_back(p.text);
  if (!files.empty()) {
    try {
      bytes += static_cast<double>(MixDocuments(files, {}, p.separator)->bytes());
    } catch (const Error&) {
      return {};  // the step itself says what is wrong
    }
  }
  if (bytes == 0) return {};
  Facts facts;
  const bool is_byte = p.tokenizer == "byte";
  if (is_byte) facts.vocab = kByteVocabulary;
  facts.length = Double(p.length);
  facts.sequences = std::floor(bytes / (is_byte ? 1 : kBytesPerToken) / facts.length);
  if (p.sequences > 0) facts.sequences = std::min(facts.sequences, Double(p.sequences));
  Workload work = Known(facts);
  work.host_s = kSmall_s + bytes / kTextBytesPerS;
  work.disk_bytes = 4 * facts.tokens();
  work.memory_bytes = 3 * bytes;
  return work;
}

// Asked of the system once: every step of a plan wants to know.
int Cores() {
  static const int cores = AvailableCores();
  return cores;
}

// Of a parent of its own.
ModelConfig ShapeOf(const PretrainParams& p, const Facts& tokens) {
  ModelConfig config;
  config.vocab_size = tokens.vocab;
  config.hidden_size = p.hidden;
  config.n_heads = p.heads;
  config.head_dim = p.hidden / p.heads;
  config.max_positions = static_cast<int64_t>(tokens.length);
  config.tied_embeddings = true;
  config.blocks.assign(static_cast<size_t>(p.layers),
                       {{SubBlockForm::kFull, p.kv_heads}, {SubBlockForm::kFull, p.ffn}});
  return config;
}

Workload Of(const PretrainParams& p, const Ports& ports) {
  const Facts *tokens = ports.Get("tokens"), *like = ports.Get("like");
  if (tokens == nullptr || (ports.Has("like") && like == nullptr)) return {};
  if (like == nullptr && tokens->vocab == 0) return {};
  const ModelConfig config = like != nullptr ? *like->model : ShapeOf(p, *tokens);
  Facts facts;
  facts.model = config;
  Workload work = Known(facts);
  const double trained = Double(p.steps * p.batch) * tokens->length;
  AddProducts(3 * trained * (BlockFlops(config, tokens->length) + HeadFlops(config)), config,
              "fp32", work);
  work.disk_bytes = WeightBytes(config);
  work.memory_bytes = PretrainingBytes(p, config, static_cast<int64_t>(tokens->length), Cores());
  return work;
}

Workload Of(const ActivationsParams& p, const Ports& ports) {
  const Facts *parent = ports.Get("parent"), *tokens = ports.Get("tokens");
  if (parent == nullptr || tokens == nullptr) return {};
  Facts facts = *tokens;
  facts.model = parent->model;
  facts.is_online = p.keep == "online";
  Workload work = Known(facts);
  const ModelConfig& config = *facts.model;
  work.disk_bytes = 4 * facts.tokens();
  if (facts.is_online) return work;
  const double states = facts.tokens() * Double(config.hidden_size * (config.n_layers() + 1)) *
                        (p.dtype == "bf16" ? 2 : 4);
  work.disk_bytes += p.max_mib > 0 ? std::min(states, Double(p.max_mib) * 1048576) : states;
  work.host_s = work.disk_bytes / kDiskBytesPerS;
  AddProducts(facts.tokens() * BlockFlops(config, facts.length), config, p.compute, work);
  const double between = 4 * facts.tokens() * Double(config.hidden_size);  // two layers
  work.memory_bytes = 0.4e9 + LargestBlockBytes(config) + std::min(between, kMostDataInMemory);
  return work;
}

Workload Of(const ImportanceParams& p, const Ports& ports) {
  const Facts* states = ports.Get("activations");
  if (states == nullptr) return {};
  const ModelConfig& config = *states->model;
  Workload work = Known({});
  const double tokens = std::min(states->sequences, Double(p.batches * p.batch)) * states->length;
  double widest = 0, ranking = 0;
  for (const BlockSpec& block : config.blocks) {
    widest = std::max(widest, Double(block.ffn.size));
    // Distances of every token to every channel, roots included, beside a product.
    if (p.method == "iterative") {
      ranking += Double(block.ffn.size) * (2 * Double(config.hidden_size) + 100);
    }
  }
  const double recomputed = states->is_online ? Double(config.n_layers()) / 2 : 1;
  AddProducts(tokens * (recomputed * BlockFlops(config, states->length) + ranking), config, "fp32",
              work);
  work.disk_bytes = 8 * widest * Double(config.n_layers());
  work.shared_bytes = states->is_online ? WeightBytes(config) : LargestBlockBytes(config);
  // Of the FFN's last matrix the columns that are ranked, and their squares.
  const double ranked = p.method == "iterative" ? 8 * widest * Double(config.hidden_size) : 0;
  work.memory_bytes = 4 * tokens * (3 * widest + 4 * Double(config.hidden_size)) + ranked;
  return work;
}

// Nothing where the name is wrong, which validation says.
std::optional<VariantSpec> SpecOf(const BldParams& p, const ModelConfig& parent,
                                  const Facts* start) {
  if (p.variant == kVariantOfStart) return start != nullptr ? start->spec : std::nullopt;
  try {
    return ResolveVariant(p.variant, parent, p.layer, p.multiple_of);
  } catch (const Error&) {
    return std::nullopt;
  }
}

Workload Of(const BldParams& p, const Ports& ports) {
  const Facts *parent = ports.Get("parent"), *data = ports.Get("activations");
  if (parent == nullptr || data == nullptr) return {};
  const ModelConfig& config = *parent->model;
  const std::optional<VariantSpec> spec = SpecOf(p, config, ports.Get("start"));
  if (!spec) return {};
  Facts facts;
  facts.model = config;
  facts.layer = p.layer;
  facts.spec = spec;
  Workload work = Known(facts);
  const double weights = 4 * Double(CountParameters(*spec, config));
  work.disk_bytes = weights;
  work.host_s = kSmall_s;
  const VariantSpec own = ParentVariant(config, p.layer, WhichSubBlock(*spec));
  if (IsNone(*spec) || *spec == own) return work;
  const double held_out = std::min(Double(p.holdout), data->sequences / 2) * data->length;
  const double trained = p.epochs * (data->tokens() - held_out);
  const double forward = ForwardFlops(*spec, config, data->length);
  const double answers = ForwardFlops(own, config, data->length) / kVariantsOfASubBlock *
                         (data->is_online ? Double(p.layer + 1) : 1);
  double flops =
      3 * trained * forward + (p.epochs + 2) * held_out * forward + data->tokens() * answers;
  double widest = Double(config.hidden_size);
  for (const VariantSpec& part : PartsOf(*spec)) {
    if (const auto* ffn = std::get_if<FfnSpec>(&part)) widest = std::max(widest, Double(ffn->size));
  }
  const double refit = std::min(Double(p.refit_tokens), data->tokens());
  flops += refit * (forward + 2 * widest * widest) + widest * widest * widest;
  AddProducts(flops, config, p.compute, work);
  const double states = 8 * data->tokens() * Double(config.hidden_size);
  work.shared_bytes = (data->is_online ? WeightBytes(config) : LargestBlockBytes(config)) +
                      std::min(states, kMostDataInMemory);
  work.memory_bytes = kTrainedCopies * weights + Double(p.batch) * data->length * 4 *
                                                     (6 * Double(config.hidden_size) + 5 * widest);
  return work;
}

Workload Of(const ScoreParams& p, const Ports& ports) {
  const Facts *states = ports.Get("activations"), *block = ports.Get("block");
  const Facts* tasks = ports.Get("tasks");
  if (states == nullptr || block == nullptr || !block->spec) return {};
  if (ports.Has("tasks") && tasks == nullptr) return {};
  const ModelConfig& config = *states->model;
  Workload work = Known({});
  const int64_t after = std::min(block->layer + 1, config.n_layers());
  double flops = states->tokens() * (ForwardFlops(*block->spec, config, states->length) +
                                     BlockFlops(config, states->length, after) + HeadFlops(config));
  if (tasks != nullptr) {
    flops += tasks->questions * kTokensPerQuestion * BlockFlops(config, kTokensPerQuestion);
  }
  AddProducts(flops, config, p.compute, work);
  work.disk_bytes = 1e5;
  work.shared_bytes = WeightBytes(config) * (p.compute == "bf16" ? 1.5 : 1) +
                      4 * states->tokens() * Double(2 * config.hidden_size);
  // Of a large model a block at a time is there, and the replacement, also as it was stored.
  const double of_products = p.compute == "bf16" ? 0.5 : 1;
  work.memory_bytes =
      std::max(0.3e9, 0.1e9 + of_products * LargestBlockBytes(config) +
                          (1 + of_products) * 4 * Double(CountParameters(*block->spec, config)));
  return work;
}

Workload Of(const PrecisionScoreParams& p, const Ports& ports) {
  const Facts* states = ports.Get("activations");
  const Facts* model = ports.Get(ports.Has("context") ? "context" : "parent");
  if (states == nullptr || model == nullptr) return {};
  const ModelConfig& config = *model->model;
  Workload work = Known({});
  const bool is_sub_block = p.part == "attn" || p.part == "ffn";
  const double blocks = BlockFlops(config, states->length, is_sub_block ? p.layer : 0);
  AddProducts(Double(std::ssize(p.types)) * states->tokens() * (blocks + HeadFlops(config)), config,
              "fp32", work);
  work.disk_bytes = 1e5;
  work.shared_bytes = WeightBytes(config) + 4 * states->tokens() * Double(2 * config.hidden_size);
  work.memory_bytes = 0.3e9 + WeightBytes(config);
  return work;
}

Workload Of(const QuantizeParams&, const Ports& ports) {
  const Facts* model = ports.Get("model");
  return model == nullptr ? Workload() : Written(*model);
}

// Each removal runs every candidate from its layer on: half the blocks, and the head.
Workload Of(const RemoveBlocksParams& p, const Ports& ports) {
  const Facts *parent = ports.Get("parent"), *tokens = ports.Get("tokens");
  const auto part = ParsePercentage(p.block_parameters);
  if (parent == nullptr || tokens == nullptr || !part) return {};
  const ModelConfig& config = *parent->model;
  Workload work = Known(*parent);
  const double candidates = Double(config.n_layers()) * (p.unit == "block" ? 1 : 2);
  const double removals = std::ceil(std::max(0.0, 1 - *part) * candidates);
  const double tried = candidates * (1 + *part) / 2;  // of those that are left, on average
  AddProducts(removals * tried * tokens->tokens() *
                  (BlockFlops(config, tokens->length) * (1 + *part) / 4 + HeadFlops(config)),
              config, p.compute, work);
  work.disk_bytes = WeightBytes(config);
  work.shared_bytes = WeightBytes(config) * (p.compute == "bf16" ? 1.5 : 1);
  work.memory_bytes =
      0.3e9 + 4 * Double(p.batch) * tokens->length * Double(config.hidden_size * config.n_layers());
  return work;
}

// Gradients of the states, two products of attention for each of the forward pass, and those of
// what is trained.
double BackwardFlops(const TrainedShare& share, const ModelConfig& config, double length) {
  double products = 0;  // of the states with matrices
  for (int64_t layer = share.first_layer; layer < config.n_layers(); ++layer)
    products += 2 * Double(CountParameters(ParentVariant(config, layer, SubBlock::kBoth), config));
  const double forward = BlockFlops(config, length, share.first_layer);
  return products + 2 * (forward - products) + 2 * share.matrices;
}

Workload Of(const TeacherLogitsParams& p, const Ports& ports) {
  const Facts *parent = ports.Get("parent"), *tokens = ports.Get("tokens");
  if (parent == nullptr || tokens == nullptr) return {};
  const ModelConfig& config = *parent->model;
  Workload work = Known({});
  AddProducts(tokens->tokens() * (BlockFlops(config, tokens->length) + HeadFlops(config)), config,
              p.compute, work);
  const double word = 2 + (config.vocab_size <= kMostShortIds ? 2 : 4);
  work.disk_bytes = tokens->sequences * (tokens->length - 1) *
                    (word * Double(std::min(p.k, config.vocab_size)) + 4);
  work.host_s = work.disk_bytes / kDiskBytesPerS;
  const double states = 4 * tokens->tokens() * Double(config.hidden_size);
  work.memory_bytes = 0.4e9 + LargestBlockBytes(config) + std::min(states, kMostDataInMemory) +
                      4 * Double(config.vocab_size * config.hidden_size);
  return work;
}

Workload Of(const GkdParams& p, const Ports& ports) {
  const Facts *teacher = ports.Get("teacher"), *student = ports.Get("student"),
              *tokens = ports.Get("tokens");
  if (teacher == nullptr || student == nullptr || tokens == nullptr) return {};
  const ModelConfig& config = *student->model;
  Facts made = *student;
  made.is_users = false;
  Workload work = Known(std::move(made));
  const Facts* states = ports.Get("activations");
  const bool has_words = ports.Has("teacher_logits");
  const bool runs_teacher = p.AsksForStates(has_words) && (states == nullptr || states->is_online);
  const double trained = Double(p.steps * p.batch) * tokens->length;
  const TrainedShare share = ShareOf(p, *teacher->model, config);
  const double heads = (has_words || p.kl_weight == 0 ? 2 : 3) + (share.head ? 1 : 0);
  const double head = HeadFlops(config) * (p.kl_weight > 0 || p.lm_weight > 0 ? heads : 0);
  const double blocks = BlockFlops(config, tokens->length);
  AddProducts(trained * (blocks + BackwardFlops(share, config, tokens->length) + head +
                         (runs_teacher ? blocks : 0)),
              config, p.compute, work);
  work.disk_bytes = WeightBytes(config) * (p.dtype == "bf16" ? 0.5 : 1);
  DistillationShape shape = DistillationShapeOf(p, *teacher->model, config,
                                                static_cast<int64_t>(tokens->length), Cores());
  shape.held_out = std::min(Double(p.holdout), tokens->sequences / 4);
  shape.stored = ports.Has("precision");
  if (has_words) shape.TakeTeachersWords(p);
  work.memory_bytes = DistillationBytes(shape, {p.recompute == "on", false});
  return work;
}

Workload Of(const EvaluateParams& p, const Ports& ports) {
  const Facts *model = ports.Get("model"), *tokens = ports.Get("tokens");
  const Facts* tasks = ports.Get("tasks");
  if (model == nullptr || tokens == nullptr || !p.questions.empty()) return {};
  if (ports.Has("tasks") && tasks == nullptr) return {};
  const ModelConfig& config = *model->model;
  Workload work = Known({});
  const double seen =
      p.positions > 0 ? std::min(tokens->tokens(), Double(p.positions)) : tokens->tokens();
  // The parent's states are computed once for all its children.
  const double models = ports.Has("parent") ? 2 : 1;
  double flops = seen * (BlockFlops(config, tokens->length) + models * HeadFlops(config));
  if (tasks != nullptr) {
    flops += tasks->questions * kTokensPerQuestion * BlockFlops(config, kTokensPerQuestion);
  }
  AddProducts(flops, config, p.compute, work);
  work.host_s = Double(p.sample_tokens) * (WeightBytes(config) / 10e9 + 1e-3);
  work.disk_bytes = 1e5;
  work.shared_bytes = models * WeightBytes(config);
  work.memory_bytes = 0.4e9;
  return work;
}

// How many questions there are only their files say, unless there is a limit.
Workload Of(const TasksParams& p, const Ports&) {
  if (p.limit == 0 || p.tasks.empty()) return {};
  Facts facts;
  facts.questions = Double(p.limit * static_cast<int64_t>(p.tasks.size()));
  Workload work = Known(facts);
  work.host_s = kSmall_s;
  work.disk_bytes = 500 * facts.questions;
  return work;
}

Workload Of(const LongContextParams& p, const Ports&) {
  const auto asked = static_cast<double>(p.forms.size()) * Double(p.questions);
  Facts facts;
  for (const int64_t length : p.lengths) {
    facts.questions += asked * Double(length) / kTokensPerQuestion;  // as many as cost as much
  }
  Workload work = Known(facts);
  work.host_s = kSmall_s;
  work.disk_bytes = 500 * facts.questions;
  return work;
}

Workload Of(const ExportParams&, const Ports& ports) {
  const Facts* model = ports.Get("model");
  return model == nullptr ? Workload() : Written(*model);
}

Workload Of(const AssembleParams&, const Ports& ports) {
  constexpr double kReplaced = 0.25;  // of all blocks' weights; how much the search decides
  const Facts* parent = ports.Get("parent");
  if (parent == nullptr) return {};
  Workload work = Written(*parent);
  if (!parent->is_users) return work;
  // It refers to the file for all but the blocks that were chosen.
  work.disk_bytes = kReplaced * 4 * Double(CountBlockParameters(*parent->model));
  work.host_s = work.disk_bytes / kDiskBytesPerS;
  return work;
}

template <class P>
Workload As(const void* params, const Ports& ports) {
  return Of(*static_cast<const P*>(params), ports);
}

// Looks at tables and figures.
Workload Small(const void*, const Ports&) {
  Workload work = Known({});
  work.host_s = kSmall_s;
  work.disk_bytes = 1e5;
  return work;
}

using KindLoad = Workload (*)(const void*, const Ports&);

const std::map<std::string, KindLoad, std::less<>>& Loads() {
  static const std::map<std::string, KindLoad, std::less<>> loads = {
      {"synthetic_text", As<SyntheticTextParams>},
      {"load_model", As<LoadModelParams>},
      {"tokenize", As<TokenizeParams>},
      {"pretrain", As<PretrainParams>},
      {"activations", As<ActivationsParams>},
      {"importance", As<ImportanceParams>},
      {"bld", As<BldParams>},
      {"score", As<ScoreParams>},
      {"precision_score", As<PrecisionScoreParams>},
      {"precision", Small},
      {"quantize", As<QuantizeParams>},
      {"remove_blocks", As<RemoveBlocksParams>},
      {"teacher_logits", As<TeacherLogitsParams>},
      {"gkd", As<GkdParams>},
      {"evaluate", As<EvaluateParams>},
      {"export", As<ExportParams>},
      {"assemble", As<AssembleParams>},
      {"cost", Small},
      {"search", Small},
      {"sweep", Small},
      {"block_library", Small},
      {"report", Small},
      {"additivity", Small},
      {"verdict", Small},
      {"bisect", Small},
      {"speed_report", Small},
      {"long_context", As<LongContextParams>},
      {"tasks", As<TasksParams>}};
  return loads;
}

}  // namespace

Workload WorkloadOf(const NodeKind& kind, const void* params, const PortWorkloads& inputs) {
  const auto load = Loads().find(kind.name);
  return load == Loads().end() ? Workload() : load->second(params, Ports(kind, inputs));
}

}  // namespace puzzle
