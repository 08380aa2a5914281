#include "nodes/states/walk.h"

#include <algorithm>
#include <exception>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "model/block/counts.h"
#include "model/files/matrix_rows.h"
#include "model/math/parallel.h"
#include "model/pch.h"
#include "model/transformer.h"
#include "model/unread.h"
#include "nodes/states/layer_input.h"

namespace puzzle {

using at::Tensor;

namespace {

// As the file has them where `to` is of its type; of what is converted a few rows exist in fp32 at
// a time.
void CopyValues(const Tensor& from, const Tensor& to) {
  const bool may_be_stored = to.scalar_type() == at::kBFloat16 && to.is_cpu() && to.is_contiguous();
  if (may_be_stored && CopyStoredRows(from, 0, from.size(0), DType::kBF16, to.data_ptr())) return;
  ForEachRows(from, [&](int64_t first, const Tensor& rows) {
    to.narrow(0, first, rows.size(0)).copy_(rows);
  });
}

// A matrix in memory, in `type`.
Tensor MatrixIn(at::ScalarType type, const Tensor& matrix, const at::Device& device) {
  if (SourceOf(matrix) == nullptr || type == at::kFloat || !HasRows(matrix))
    return InMemory(matrix).to(device, type);
  Tensor made = at::empty(matrix.sizes(), at::TensorOptions().dtype(type).device(device));
  CopyValues(matrix, made);
  return made;
}

// Flat room for tensors of one type, each of which begins at a cache line.
class Shelf {
 public:
  void Add(const Tensor& tensor) { elements_ += Place(tensor); }
  [[nodiscard]] int64_t elements() const { return elements_; }
  void Put(Tensor flat) { flat_ = std::move(flat); }
  // The next tensor's room.
  [[nodiscard]] Tensor Take(const Tensor& like) {
    const Tensor place = flat_.narrow(0, taken_, like.numel()).view(like.sizes());
    taken_ += Place(like);
    return place;
  }

 private:
  static int64_t Place(const Tensor& tensor) {
    constexpr int64_t kElements = 64;
    return (tensor.numel() + kElements - 1) / kElements * kElements;
  }

  int64_t elements_ = 0, taken_ = 0;
  Tensor flat_;
};

// The rows `ids` of a matrix; they are sorted, and there once.
Tensor ChosenRows(const Tensor& matrix, const Tensor& ids) {
  const int64_t count = ids.numel(), at_once = RowsAtOnce(matrix);
  Tensor rows = at::empty({count, matrix.size(1)}, at::kFloat);
  const auto* const id = ids.data_ptr<int64_t>();
  int64_t end = 0;
  for (int64_t begin = 0; begin < count; begin = end) {
    end = begin + 1;
    while (end < count && end - begin < at_once && id[end] == id[end - 1] + 1) ++end;
    rows.narrow(0, begin, end - begin).copy_(RowsInMemory(matrix, id[begin], end - begin));
  }
  return rows;
}

// Reads a block's matrices, in the types that their files have, and keeps nothing: on a thread of
// its own while another block computes, so that the system has them at hand when they are wanted.
// What fails here fails again where it is used, and is told there.
class BlockAhead {
 public:
  BlockAhead(const ModelWeights& model, int64_t layer) {
    SubBlockWeights block = SubBlockOf(model, layer, SubBlock::kBoth);
    std::vector<Tensor> matrices;
    for (const auto& [name, slot] : AllSlots(block))
      if (SourceOf(*slot) != nullptr && slot->dim() == 2) matrices.push_back(*slot);
    if (matrices.empty()) return;
    thread_ = std::jthread([matrices = std::move(matrices)](const std::stop_token& stop) {
      try {
        for (const Tensor& matrix : matrices)
          for (const DType type : {DType::kBF16, DType::kF16, DType::kF32})
            Read(matrix, type, stop);
      } catch (const std::exception&) {
      }
    });
  }

 private:
  static void Read(const Tensor& matrix, DType type, const std::stop_token& stop) {
    constexpr int64_t kElements = 1 << 19;
    const int64_t rows = matrix.size(0), columns = std::max<int64_t>(1, matrix.size(1));
    const int64_t at_once = std::clamp<int64_t>(kElements / columns, 1, std::max<int64_t>(1, rows));
    std::vector<char> room(static_cast<size_t>(at_once * columns) * ElementSize(type));
    for (int64_t first = 0; first < rows && !stop.stop_requested(); first += at_once)
      if (!CopyStoredRows(matrix, first, std::min(at_once, rows - first), type, room.data()))
        return;
  }

  std::jthread thread_;
};

// The model with this block in memory, its matrices in the type of the products.
Transformer WithBlock(const WalkedModel& model, int64_t layer) {
  const at::Device device = model.weights.norm.device();
  const VariantSpec spec = ParentVariant(model.weights.config, layer, SubBlock::kBoth);
  SubBlockWeights block = SubBlockOf(model.weights, layer, SubBlock::kBoth);
  for (const auto& [name, slot] : Slots(block, spec))
    *slot = slot->dim() == 2 ? MatrixIn(model.products, *slot, device) : InMemory(*slot).to(device);
  ModelWeights one = model.weights;
  one.blocks[static_cast<size_t>(layer)] = std::get<BlockWeights>(std::move(block));
  return Transformer(std::move(one));
}

}  // namespace

bool HasUnreadBlocks(const ModelWeights& model) {
  for (int64_t layer = 0; layer < model.config.n_layers(); ++layer) {
    SubBlockWeights block = SubBlockOf(model, layer, SubBlock::kBoth);
    for (const auto& [name, slot] : AllSlots(block))
      if (SourceOf(*slot) != nullptr) return true;
  }
  return false;
}

bool IsWalked(const ModelWeights& model, at::ScalarType products, const RunContext& context) {
  if (context.device().type != "cpu" || !HasUnreadBlocks(model)) return false;
  const int64_t parameters =
      CountBlockParameters(model.config) + CountNonBlockParameters(model.config);
  return static_cast<uint64_t>(parameters) * at::elementSize(products) > context.resident_bytes();
}

ModelWeights ForWalk(const ModelWeights& model, at::ScalarType products,
                     const std::string& device) {
  ModelWeights made = PartInMemory(model, {}, device);
  const bool is_own = model.head.defined() || products != at::kFloat;  // else the embedding
  (is_own ? made.head : made.embedding) =
      MatrixIn(products, model.HeadMatrix(), at::Device(device));
  return made;
}

DataRoom RoomOfWalk(RunContext& context) {
  constexpr uint64_t kParts = 4;
  return {static_cast<size_t>(context.resident_bytes() / kParts),
          [&context] { return context.ScratchPath(); }};
}

std::unique_ptr<const LargePiecesApart> ApartIfLarge(const ModelConfig& model,
                                                     const RunContext& context) {
  constexpr uint64_t kLarge = 8;  // a part of the memory so large that holes of its size hurt
  const uint64_t bytes = sizeof(float) * static_cast<uint64_t>(block::CountLargestBlock(model));
  if (bytes <= context.memory_bytes() / kLarge) return nullptr;
  return std::make_unique<const LargePiecesApart>();
}

ModelWeights InRoom(const ModelWeights& model, at::ScalarType products, const DataRoom& room) {
  const at::NoGradGuard no_grad;
  ModelWeights made = model;
  const auto slots = Slots(made);
  const auto type_of = [&](const NamedSlot& slot) {
    return slot.second->dim() == 2 && slot.first.starts_with("model.layers.") ? products
                                                                              : at::kFloat;
  };
  std::map<at::ScalarType, Shelf> shelves;
  size_t bytes = 0;
  for (const NamedSlot& slot : slots) shelves[type_of(slot)].Add(*slot.second);
  for (const auto& [type, shelf] : shelves)
    bytes += static_cast<size_t>(shelf.elements()) * at::elementSize(type);
  const bool fits = bytes <= room.in_memory;
  for (auto& [type, shelf] : shelves)
    shelf.Put(fits ? at::empty({shelf.elements()}, type)
                   : FileTensor(room.path(), {shelf.elements()}, type));
  for (const NamedSlot& slot : slots) {
    const Tensor place = shelves[type_of(slot)].Take(*slot.second);
    CopyValues(*slot.second, place);
    *slot.second = place;
  }
  return made;
}

WalkedBatches InBatches(const Tensor& states, int64_t batch) {
  WalkedBatches batches;
  for (int64_t first = 0; first < states.size(0); first += batch)
    batches.push_back({{first, states.narrow(0, first, std::min(batch, states.size(0) - first))}});
  return batches;
}

WalkedBatches InParts(const Tensor& states, int64_t batch, const at::Device& device) {
  WalkedBatches batches;
  for (int64_t first = 0; first < states.size(0); first += batch) {
    const int64_t count = std::min(batch, states.size(0) - first);
    std::vector<WalkedPart> parts(static_cast<size_t>(RowParts(count, device)));
    ParallelOverRows(count, device, [&](int64_t part, int64_t begin, int64_t rows) {
      parts[static_cast<size_t>(part)] = {first + begin, states.narrow(0, first + begin, rows)};
    });
    batches.push_back(std::move(parts));
  }
  return batches;
}

void StepStates(const WalkedBatches& batches, const at::Device& device,
                const std::function<Tensor(const WalkedPart& part, const Tensor& x)>& step,
                const WalkPoll& poll) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < batches.size(); ++i) {
    const auto step_part = [&](int64_t index) {
      const WalkedPart& part = batches[i][static_cast<size_t>(index)];
      part.states.copy_(step(part, part.states.to(device)));
    };
    if (device.is_cpu()) {
      ParallelFor(std::ssize(batches[i]), step_part);
    } else {
      for (int64_t index = 0; index < std::ssize(batches[i]); ++index) step_part(index);
    }
    poll(static_cast<double>(i + 1) / static_cast<double>(batches.size()));
  }
}

void EmbedStates(const ModelWeights& model, const Tensor& ids, const WalkedBatches& batches,
                 const WalkPoll& poll) {
  const at::Device device = model.norm.device();
  ModelWeights own = model;
  Tensor rows = ids;  // of its embedding
  if (SourceOf(model.embedding) != nullptr && HasRows(model.embedding)) {
    const auto [wanted, places, unused] =
        at::_unique2(ids, /*sorted=*/true, /*return_inverse=*/true);
    own.embedding = ChosenRows(model.embedding, wanted).to(device);
    rows = places;
  } else {
    own.embedding = InMemory(model.embedding).to(device);
  }
  const Transformer embedding(std::move(own));
  StepStates(
      batches, device,
      [&](const WalkedPart& part, const Tensor& x) {
        const Tensor some = rows.narrow(0, part.first, x.size(0)).narrow(1, 0, x.size(1));
        return embedding.Embed(some.to(device));
      },
      poll);
}

void WalkBlocks(const WalkedModel& model, int64_t first, int64_t last, const WalkedBatches& batches,
                const WalkPoll& poll) {
  for (int64_t layer = first; layer < last; ++layer) {
    const Transformer one = WithBlock(model, layer);
    std::optional<BlockAhead> next;
    if (layer + 1 < model.weights.config.n_layers()) next.emplace(model.weights, layer + 1);
    StepStates(
        batches, model.weights.norm.device(),
        [&](const WalkedPart&, const Tensor& x) { return one.Blocks(x, layer, layer + 1); },
        [&](double fraction) {
          poll((static_cast<double>(layer - first) + fraction) / static_cast<double>(last - first));
        });
  }
}

void WalkTo(const WalkedModel& model, const Activations& captured, int64_t layer,
            const WalkedBatches& batches, const WalkPoll& poll) {
  const int64_t below = StartBelow(captured, layer);
  if (captured.Keeps(below)) {
    for (const std::vector<WalkedPart>& batch : batches)
      for (const WalkedPart& part : batch)
        part.states.copy_(captured.Read(below, part.first, part.states.size(0)));
  } else {
    EmbedStates(model.weights, captured.Ids(0, captured.sequences()), batches,
                [&](double) { poll(0); });
  }
  WalkBlocks(model, below, layer, batches, poll);
}

}  // namespace puzzle
