// States of many sequences, carried through a model layer by layer: of a model that is not in
// memory (model/unread.h) one layer at a time is, and each is read once. Every part of a batch is
// computed as a model in memory computes it, so that the bits are the same. Called by the thread
// that runs the step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/kind/context.h"
#include "model/math/large_pieces.h"
#include "model/weights.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/file_tensor.h"

namespace puzzle {

/// Whether blocks of it are not in memory.
[[nodiscard]] bool HasUnreadBlocks(const ModelWeights& model);
/// Whether such a model, its matrices in `products`, is better walked through than brought into
/// memory: it is larger than what the run keeps for several steps, so that each would read all of
/// it. Devices have a memory of their own and hold it.
[[nodiscard]] bool IsWalked(const ModelWeights& model, at::ScalarType products,
                            const RunContext& context);

/// `model` on `device` to be walked through and measured: norm, learned positions and head are in
/// memory, the head in `products`. Embedding (unless it is the head) and blocks stay where they
/// are.
[[nodiscard]] ModelWeights ForWalk(const ModelWeights& model, at::ScalarType products,
                                   const std::string& device);

/// Where the states of a walk are kept: in memory if they are a small part of what the run keeps
/// there, else in a file. REQUIRES: `context` lives as long.
[[nodiscard]] DataRoom RoomOfWalk(RunContext& context);

/// For a step that has a block of the model in memory: while it lives, large pieces of memory are
/// apart. Null where a block is small beside what the run may take.
[[nodiscard]] std::unique_ptr<const LargePiecesApart> ApartIfLarge(const ModelConfig& model,
                                                                   const RunContext& context);

/// A model as a whole on the CPU that only is read, its blocks' matrices in `products`: in memory
/// where it is small enough, else in files. It is read and converted piece by piece. Throws Error
/// as FileTensor.
[[nodiscard]] ModelWeights InRoom(const ModelWeights& model, at::ScalarType products,
                                  const DataRoom& room);

/// Some sequences on their way.
struct WalkedPart {
  int64_t first = 0;  // of all sequences, the first one of these
  at::Tensor states;  // [rows, n, hidden], fp32, on the host
};
/// Batches one after another, the parts of one on several threads.
using WalkedBatches = std::vector<std::vector<WalkedPart>>;

/// The sequences of `states` [sequences, n, hidden] in batches of `batch`, each in the parts that
/// ParallelOverRows makes of it, or as one. Shares storage.
[[nodiscard]] WalkedBatches InParts(const at::Tensor& states, int64_t batch,
                                    const at::Device& device);
[[nodiscard]] WalkedBatches InBatches(const at::Tensor& states, int64_t batch);

/// A model to walk through. Its norm and learned positions are in memory, on the device to compute
/// on; some blocks may be.
struct WalkedModel {
  const ModelWeights& weights;
  at::ScalarType products;  // of the blocks
};
/// Gets the share that is done, behind every batch of every layer.
using WalkPoll = std::function<void(double)>;

/// Replaces the states of every part by what `step` makes of them; `x` are those on `device`.
void StepStates(const WalkedBatches& batches, const at::Device& device,
                const std::function<at::Tensor(const WalkedPart& part, const at::Tensor& x)>& step,
                const WalkPoll& poll);
/// The inputs of block 0: the embeddings of `ids`, int64 [sequences, length], of which a part has
/// the first as many as its states. Of an embedding that is not in memory only the rows of these
/// ids are read.
void EmbedStates(const ModelWeights& model, const at::Tensor& ids, const WalkedBatches& batches,
                 const WalkPoll& poll);
/// From the inputs of block `first` to those of block `last`. While a block computes the files of
/// the next one are read, those of block `last` too: whoever goes on from there finds them at hand.
void WalkBlocks(const WalkedModel& model, int64_t first, int64_t last, const WalkedBatches& batches,
                const WalkPoll& poll);
/// The inputs of block `layer` (what is behind the last one for n_layers) of sequences that were
/// captured from the model: read if they were kept, else walked to from below.
void WalkTo(const WalkedModel& model, const Activations& captured, int64_t layer,
            const WalkedBatches& batches, const WalkPoll& poll);

}  // namespace puzzle
