#include "nodes/train/trained_parts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <utility>
#include <variant>

#include "io/error.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

namespace {

// A sub-block of one layer with its spec. The weights share the model's tensors.
struct Part {
  SubBlockWeights weights;
  VariantSpec spec;
};

std::vector<Part> PartsOf(const ModelWeights& model) {
  std::vector<Part> parts;
  for (int64_t layer = 0; layer < model.config.n_layers(); ++layer)
    for (const SubBlock which : {SubBlock::kAttention, SubBlock::kFfn})
      parts.push_back({SubBlockOf(model, layer, which), ParentVariant(model.config, layer, which)});
  return parts;
}

// The teacher's matrices may be rounded.
bool IsSame(const Tensor& student, const Tensor& teacher) {
  return student.sizes() == teacher.sizes() && student.to(teacher.scalar_type()).equal(teacher);
}

bool IsSame(Part student, Part teacher) {
  const auto own = Slots(student.weights, student.spec), its = Slots(teacher.weights, teacher.spec);
  if (own.size() != its.size()) return false;
  for (size_t i = 0; i < own.size(); ++i)
    if (own[i].first != its[i].first || !IsSame(*own[i].second, *its[i].second)) return false;
  return true;
}

using Places = std::set<const void*>;  // where tensors lie

void AddAll(Part part, Places& places) {
  for (const auto& [name, slot] : Slots(part.weights, part.spec)) places.insert(slot->data_ptr());
}

Places Changed(const ModelWeights& student, const ModelWeights& teacher) {
  const std::vector<Part> own = PartsOf(student), its = PartsOf(teacher);
  Places places;
  for (size_t i = 0; i < own.size(); ++i)
    if (!IsSame(own[i], its[i])) AddAll(own[i], places);
  return places;
}

Places NormsAndOutputs(ModelWeights student) {
  Places places;
  for (const auto& [name, slot] : Slots(student))
    if (slot->dim() < 2) places.insert(slot->data_ptr());
  for (Part& part : PartsOf(student))
    if (!IsNone(part.spec)) places.insert(OutputMatrix(part.weights, part.spec).data_ptr());
  return places;
}

bool IsFull(const VariantSpec& spec) {
  const auto* attention = std::get_if<AttentionSpec>(&spec);
  return attention != nullptr ? attention->is_full() : std::get<FfnSpec>(spec).is_full();
}

// Of all sub-blocks, or of full ones.
Places BlockMatrices(const ModelWeights& student, bool full_only) {
  Places places;
  for (Part& part : PartsOf(student)) {
    if (full_only && !IsFull(part.spec)) continue;
    for (const auto& [name, slot] : Slots(part.weights, part.spec))
      if (slot->dim() == 2) places.insert(slot->data_ptr());
  }
  return places;
}

Tensor Adapted(const Tensor& matrix, const Tensor& b, const Tensor& a) {
  return at::addmm(matrix, b, a);
}

// Read when it is used.
class AdaptedSource final : public TensorSource {
 public:
  AdaptedSource(Tensor matrix, Tensor b, Tensor a)
      : matrix_(std::move(matrix)), b_(std::move(b)), a_(std::move(a)) {}
  Tensor Read() const override {
    const at::NoGradGuard no_grad;
    return Adapted(matrix_, b_, a_);
  }

 private:
  Tensor matrix_, b_, a_;
};

Tensor AdaptedWhenRead(const Tensor& matrix, const Tensor& b, const Tensor& a) {
  return Unread(matrix.sizes().vec(), std::make_shared<const AdaptedSource>(matrix, b, a));
}

// The gradients of Adapted without its values.
struct GradientsOfAdapter : torch::autograd::Function<GradientsOfAdapter> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& b, const Tensor& a) {
    ctx->save_for_backward({b, a});
    const Tensor nothing = at::full({1, 1}, std::numeric_limits<float>::quiet_NaN(), b.options());
    return nothing.expand({b.size(0), a.size(1)}).detach();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {grads[0].mm(saved[1].t()), saved[0].t().mm(grads[0])};
  }
};

Tensor AdaptedWithoutValues(const Tensor& /*matrix*/, const Tensor& b, const Tensor& a) {
  return GradientsOfAdapter::apply(b, a);
}

// Of the slots of a model.
std::vector<size_t> Among(ModelWeights student, const Places& places) {
  const auto slots = Slots(student);
  std::vector<size_t> indices;
  for (size_t i = 0; i < slots.size(); ++i)
    if (places.count(slots[i].second->data_ptr()) > 0) indices.push_back(i);
  return indices;
}

}  // namespace

TrainedParts::TrainedParts(const GkdParams& params, const ModelWeights& teacher,
                           const Transformer& student, uint64_t seed)
    : student_(student) {
  ModelWeights weights = student.weights();
  const auto slots = Slots(weights);
  if (params.train == "adapters") {
    adapted_ = Among(weights, BlockMatrices(weights, false));
    const Places of_full = BlockMatrices(weights, true);
    auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    for (const size_t index : adapted_) {
      const Tensor& matrix = *slots[index].second;
      is_of_full_.push_back(of_full.count(matrix.data_ptr()) > 0);
      const int64_t rank = std::min({params.rank, matrix.size(0), matrix.size(1)});
      const Tensor a = at::randn({rank, matrix.size(1)}, generator) /
                       std::sqrt(static_cast<double>(matrix.size(1)));
      parameters_.push_back(at::zeros({matrix.size(0), rank}, matrix.options()));
      parameters_.push_back(a.to(matrix.options()));
    }
  } else if (params.train == "all") {
    for (size_t i = 0; i < slots.size(); ++i) trained_.push_back(i);
  } else {
    trained_ = Among(
        weights, params.train == "changed" ? Changed(weights, teacher) : NormsAndOutputs(weights));
  }
  for (const size_t index : trained_) parameters_.push_back(*slots[index].second);
  if (parameters_.empty())
    throw Error(
        "nothing to train: the student has no " +
        std::string(params.train == "changed" ? "sub-block that is not the teacher's" : "blocks") +
        "; expected a child, or another `train`");
}

ModelWeights TrainedParts::OthersOn(const at::Device& device) const {
  ModelWeights weights = student_.weights();
  const auto slots = Slots(weights);
  for (size_t i = 0; i < slots.size(); ++i)
    if (std::find(trained_.begin(), trained_.end(), i) == trained_.end())
      *slots[i].second = slots[i].second->to(device);
  return weights;
}

Transformer TrainedParts::With(const std::vector<Tensor>& tensors, const ModelWeights& others,
                               Adapt plain, Adapt of_full) const {
  ModelWeights weights = others;
  const auto slots = Slots(weights);
  for (size_t i = 0; i < trained_.size(); ++i) *slots[trained_[i]].second = tensors[i];
  for (size_t i = 0; i < adapted_.size(); ++i) {
    Tensor& matrix = *slots[adapted_[i]].second;
    matrix = (is_of_full_[i] ? of_full : plain)(matrix, tensors[2 * i], tensors[2 * i + 1]);
  }
  return Transformer(std::move(weights));
}

Transformer TrainedParts::With(const std::vector<Tensor>& tensors,
                               const ModelWeights& others) const {
  return With(tensors, others, Adapted, Adapted);
}

Transformer TrainedParts::ForFused(const std::vector<Tensor>& tensors,
                                   const ModelWeights& others) const {
  return With(tensors, others, Adapted, AdaptedWithoutValues);
}

Transformer TrainedParts::NowForFused() const {
  return With(parameters_, student_.weights(), Adapted, AdaptedWhenRead);
}

void TrainedParts::Merge() {
  const at::NoGradGuard no_grad;
  ModelWeights weights = student_.weights();
  const auto slots = Slots(weights);
  for (size_t i = 0; i < adapted_.size(); ++i)
    slots[adapted_[i]].second->addmm_(parameters_[2 * i], parameters_[2 * i + 1]);
  adapted_.clear();
}

}  // namespace puzzle
