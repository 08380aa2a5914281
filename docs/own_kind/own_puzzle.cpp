// The whole program with one kind more: `word_count` takes a text, ours or anybody's, and counts.
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/cli.h"
#include "model/files/checkpoint_config.h"
#include "nodes/catalogue.h"
#include "nodes/data/artifacts.h"

struct WordCount {  // a result: a name, a form in an archive, a size in memory
  static constexpr std::string_view kType = "word_count";
  int64_t words = 0;
  void Save(puzzle::ArchiveWriter& out) const { out.SetAttribute("words", words); }
  static WordCount Load(std::shared_ptr<const puzzle::ArchiveReader> in) {
    return {in->Attribute("words").get<int64_t>()};
  }
  size_t ResidentBytes() const { return sizeof *this; }
};

struct WordCountParams {  // what a graph may say, with defaults
  int64_t at_least = 1;
};

WordCount CountWords(const WordCountParams& params, const puzzle::Inputs& in, puzzle::RunContext&) {
  std::istringstream text(in.Get<puzzle::TextArtifact>("text")->text);
  WordCount count;
  for (std::string word; text >> word;)
    count.words += static_cast<int64_t>(word.size()) >= params.at_least ? 1 : 0;
  return count;
}

int main(int argc, char** argv) {
  auto kinds = puzzle::PuzzleKinds();
  auto bodies = puzzle::PuzzleBodies();
  kinds.push_back(puzzle::Kind<WordCountParams>("word_count", 1, "Counts the words of a text.")
                      .In("text", "text", "what to read")
                      .Param("at_least", &WordCountParams::at_least, {puzzle::AtLeast(1)},
                             "letters that a word has")
                      .Out("word_count"));
  bodies["word_count"] = puzzle::MakeBody(CountWords);
  puzzle::Hooks hooks;
  hooks.layers_of = puzzle::CountLayers;
  return puzzle::PuzzleMain(argc, argv, puzzle::Registry(kinds, bodies), hooks);
}
