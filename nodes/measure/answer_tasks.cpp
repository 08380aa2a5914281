#include "nodes/measure/answer_tasks.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/likelihood.h"

namespace puzzle {

namespace {

// Texts as ids, the way the model was taught to see them.
class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, int64_t positions)
      : tokenizer_(tokenizer), positions_(positions) {}

  [[nodiscard]] std::vector<int32_t> Whole(const std::string& text) const {
    std::vector<int32_t> ids = tokenizer_.Encode(text);
    if (tokenizer_.leading_id() >= 0) ids.insert(ids.begin(), tokenizer_.leading_id());
    return ids;
  }

  // `context_ids` are those of `context`, encoded once for all that continue it.
  [[nodiscard]] Continuation Continue(const std::string& context,
                                      const std::vector<int32_t>& context_ids,
                                      const std::string& text) const {
    std::vector<int32_t> ids = context_ids;
    if (context.empty()) {
      const std::vector<int32_t> own = tokenizer_.Encode(text);
      ids.insert(ids.end(), own.begin(), own.end());
    } else {
      const std::vector<int32_t> whole = Whole(context + text);
      if (whole.size() > ids.size())
        ids.insert(ids.end(), whole.begin() + std::ssize(ids), whole.end());
    }
    const auto given = std::max<int64_t>(1, std::ssize(context_ids));
    if (given >= std::ssize(ids))
      throw Error(fmt::format("\"{}\" adds no token to its context", text));
    return {std::move(ids), given};
  }

  // What stands for an empty context.
  [[nodiscard]] std::vector<int32_t> Nothing() const {
    if (tokenizer_.bos_id() >= 0) return {tokenizer_.bos_id()};
    if (tokenizer_.eos_id() >= 0) return {tokenizer_.eos_id()};
    return {};
  }

  // Takes what the model has no positions for off the beginning; whether there was any.
  bool Cut(Continuation& continuation) const {
    const int64_t excess = std::ssize(continuation.ids) - (positions_ + 1);
    if (excess <= 0) return false;
    continuation.ids.erase(continuation.ids.begin(), continuation.ids.begin() + excess);
    continuation.given = std::max<int64_t>(1, continuation.given - excess);
    return true;
  }

 private:
  const Tokenizer& tokenizer_;
  int64_t positions_;
};

// A context, and what follows it, with the context's trailing white space.
std::pair<std::string, std::string> AtWord(std::string context, std::string text) {
  size_t end = context.size();
  while (end > 0 && std::isspace(static_cast<unsigned char>(context[end - 1])) != 0) --end;
  return {context.substr(0, end), context.substr(end) + std::move(text)};
}

std::vector<Continuation> Encode(const Encoder& encoder, const TaskItem& item) {
  std::vector<Continuation> continuations;
  std::vector<int32_t> ids;
  for (size_t c = 0; c < item.continuations.size(); ++c) {
    const auto [context, text] = AtWord(item.ContextOf(c), item.continuations[c]);
    if (c == 0 || item.contexts.size() > 1)
      ids = context.empty() ? encoder.Nothing() : encoder.Whole(context);
    continuations.push_back(encoder.Continue(context, ids, text));
  }
  return continuations;
}

int64_t CountWords(const std::string& text) {
  int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool blank = std::isspace(static_cast<unsigned char>(c)) != 0;
    words += !blank && !inside ? 1 : 0;
    inside = !blank;
  }
  return words;
}

TaskResult MeasureText(const Transformer& model, const Tokenizer& tokenizer, const Task& task,
                       const std::function<void(double)>& poll) {
  const int64_t positions = model.config().max_positions;
  TokenSet tokens{
      Encoder(tokenizer, positions).Whole(task.text), 0, tokenizer.vocab_size(), {}, {}};
  const int64_t all = std::ssize(tokens.ids);
  tokens.length = std::min({task.window, positions, all});
  if (tokens.length < 2) throw Error(fmt::format("task \"{}\": the text is empty", task.name));
  int64_t windows = all / tokens.length;
  if (task.windows > 0) windows = std::min(windows, task.windows);
  tokens.ids.resize(static_cast<size_t>(windows * tokens.length));
  constexpr int64_t kTogether = 4;  // windows
  const TokenMetrics metrics = EvaluateModel(model, nullptr, tokens, 0, kTogether, poll);
  TaskResult result;
  result.name = task.name;
  result.n = metrics.tokens;
  const double nats = metrics.Mean(Metric::kNll), count = static_cast<double>(all);
  result.figures["token_ppl"] = std::exp(nats);
  result.figures["word_ppl"] = std::exp(nats * count / static_cast<double>(CountWords(task.text)));
  result.figures["byte_ppl"] = std::exp(nats * count / static_cast<double>(task.text.size()));
  return result;
}

}  // namespace

TaskAnswers AskTask(const Transformer& model, const Tokenizer& tokenizer, const Task& task,
                    const std::function<void(double)>& poll) {
  PUZZLE_CHECK(task.scoring != TaskScoring::kPerplexity, "a text asks nothing");
  const Encoder encoder(tokenizer, model.config().max_positions);
  std::vector<std::vector<Continuation>> questions;
  int64_t cut = 0;
  for (const TaskItem& item : task.items) {
    questions.push_back(Encode(encoder, item));
    bool is_cut = false;
    for (Continuation& continuation : questions.back()) is_cut |= encoder.Cut(continuation);
    cut += is_cut ? 1 : 0;
  }
  return {ScoreContinuations(model, questions, poll), cut};
}

TaskResult AnswerTask(const Transformer& model, const Tokenizer& tokenizer, const Task& task,
                      const std::function<void(double)>& poll) {
  if (task.scoring == TaskScoring::kPerplexity) return MeasureText(model, tokenizer, task, poll);
  const TaskAnswers answers = AskTask(model, tokenizer, task, poll);
  TaskResult result = JudgeTask(task, answers.scores);
  result.cut = answers.cut;
  return result;
}

}  // namespace puzzle
