// Texts as documents, one at a time: files with a separator between documents, JSON lines of texts
// or conversations, folders of both, and mixtures of several. Files are read in pieces, so that no
// more than a document is held. A reader belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/chat_template.h"

namespace puzzle {

struct Document {
  std::string text;
  std::vector<ChatMessage> messages;  // a conversation instead of a text
  std::string where;                  // "file:line", for messages
  uint64_t bytes = 0;                 // of its source
};

/// Where documents come from.
class DocumentReader {
 public:
  virtual ~DocumentReader() = default;
  /// The next document that is not empty, blanks around it taken off; nullopt at the end. Throws
  /// Error "file:line: ..." for text that is not UTF-8 and for lines that are no JSON, or hold
  /// neither a "text" nor "messages" of roles and contents.
  virtual std::optional<Document> Next() = 0;
  /// Bytes in all.
  [[nodiscard]] virtual uint64_t bytes() const = 0;
};

/// Of a text in memory, which has to outlive the reader. It is not checked.
[[nodiscard]] std::unique_ptr<DocumentReader> ReadDocuments(std::string_view text,
                                                            std::string separator);
/// Of a file; JSON lines if its name ends in .jsonl.
[[nodiscard]] std::unique_ptr<DocumentReader> ReadDocumentFile(const std::string& path,
                                                               std::string separator);
/// Of files and folders (their .txt and .jsonl files), interleaved: document by document the one
/// goes on that has given least of its share. Shares are bytes in proportion to `weights`, one for
/// each path, those of a folder divided by size; without weights every file gives in proportion to
/// its size, so that all end together. When one ends, the others go on. Throws Error for a folder
/// without such files. REQUIRES: weights are positive.
[[nodiscard]] std::unique_ptr<DocumentReader> MixDocuments(const std::vector<std::string>& paths,
                                                           const std::vector<double>& weights,
                                                           const std::string& separator);

/// Content digest of a text: a file, or a folder's files in the order of their names.
[[nodiscard]] std::string DigestText(const std::string& path);

}  // namespace puzzle
