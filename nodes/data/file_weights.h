// Checkpoints whose tensors lie in the user's files: how artifacts refer to them instead of holding
// a copy (io/references.h). Thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "io/archive.h"
#include "io/references.h"
#include "model/weights.h"

namespace puzzle {

/// A model from OpenCheckpoint(`checkpoint`), each of whose unread tensors knows the digest of its
/// values: reads them all for that. Calls `poll` with the share that is done.
[[nodiscard]] ModelWeights Digested(ModelWeights model, const std::string& checkpoint,
                                    const std::function<void(double)>& poll);
/// Refers to the tensor as `name` and is true, for what an archive need not hold itself; false for
/// tensors in memory, and those whose digest is not known.
[[nodiscard]] bool Refer(const std::string& name, const at::Tensor& tensor, References& references);

/// A model's tensors in an archive, unread: where they are in the archive itself, or in files.
class ArchivedWeights {
 public:
  /// Throws Error when a file that the archive refers to is gone, saying what to do, or is no such
  /// checkpoint any more.
  explicit ArchivedWeights(std::shared_ptr<const ArchiveReader> in);

  /// Reading it throws Error when its file was touched since and has other values. Throws Error
  /// when there is no such tensor.
  [[nodiscard]] at::Tensor Find(const std::string& name) const;

 private:
  std::shared_ptr<const ArchiveReader> in_;
  References references_;
  std::shared_ptr<const std::map<std::string, FileStamp>> stamps_;
  std::map<std::string, std::map<std::string, at::Tensor>> checkpoints_;  // by path, then name
};

}  // namespace puzzle
