#include "nodes/measure/task_accuracy.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

constexpr int64_t kTogether = 16;  // questions in a forward pass

// A choice behind its context: ids, of which the first `given` are not judged.
struct Candidate {
  std::vector<int32_t> ids;
  int64_t given = 0;
};

Candidate MakeCandidate(const Tokenizer& tokenizer, const Question& question,
                        const std::string& choice, int64_t positions) {
  auto encode = [&](const std::string& text) {
    std::vector<int32_t> ids = tokenizer.Encode(text);
    if (tokenizer.leading_id() >= 0) ids.insert(ids.begin(), tokenizer.leading_id());
    return ids;
  };
  Candidate candidate{encode(question.context + choice), 0};
  const std::vector<int32_t> context = encode(question.context);
  // The tokens at the seam may differ; what both have in common is given.
  const auto seam =
      std::mismatch(candidate.ids.begin(), candidate.ids.end(), context.begin(), context.end());
  candidate.given = std::max<int64_t>(1, seam.first - candidate.ids.begin());
  const auto length = static_cast<int64_t>(candidate.ids.size());
  if (length > positions)
    throw Error(fmt::format("a question has {} tokens, the model {} positions", length, positions));
  if (candidate.given >= length) throw Error("a choice adds no token to its question");
  return candidate;
}

// Log probability of every candidate's own tokens.
std::vector<double> LogProbabilities(const Transformer& model,
                                     const std::vector<Candidate>& candidates) {
  size_t longest = 0;
  for (const Candidate& candidate : candidates) longest = std::max(longest, candidate.ids.size());
  const auto rows = static_cast<int64_t>(candidates.size());
  Tensor ids = at::zeros({rows, static_cast<int64_t>(longest)}, at::kLong);
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<int32_t>& own = candidates[static_cast<size_t>(row)].ids;
    ids[row]
        .narrow(0, 0, static_cast<int64_t>(own.size()))
        .copy_(at::tensor(at::ArrayRef<int32_t>(own)).to(at::kLong));
  }
  ids = ids.to(model.weights().embedding.device());
  const Tensor log_p =
      model.Logits(ids.narrow(1, 0, static_cast<int64_t>(longest) - 1)).log_softmax(-1);
  const Tensor own =
      log_p.gather(2, ids.narrow(1, 1, static_cast<int64_t>(longest) - 1).unsqueeze(-1))
          .squeeze(-1)
          .to(at::kCPU, at::kDouble);
  std::vector<double> sums;
  for (int64_t row = 0; row < rows; ++row) {
    const Candidate& candidate = candidates[static_cast<size_t>(row)];
    const int64_t judged = static_cast<int64_t>(candidate.ids.size()) - candidate.given;
    sums.push_back(own[row].narrow(0, candidate.given - 1, judged).sum().item<double>());
  }
  return sums;
}

}  // namespace

TaskAccuracy AnswerQuestions(const Transformer& model, const Tokenizer& tokenizer,
                             std::span<const Question> questions,
                             const std::function<void(double)>& poll) {
  const at::NoGradGuard no_grad;
  TaskAccuracy result;
  for (size_t first = 0; first < questions.size(); first += kTogether) {
    const auto together =
        questions.subspan(first, std::min<size_t>(kTogether, questions.size() - first));
    std::vector<Candidate> candidates;
    for (const Question& question : together)
      for (const std::string& choice : question.choices)
        candidates.push_back(
            MakeCandidate(tokenizer, question, choice, model.config().max_positions));
    const std::vector<double> sums = LogProbabilities(model, candidates);
    auto next = sums.begin();
    for (const Question& question : together) {
      const auto end = next + static_cast<int64_t>(question.choices.size());
      const auto chosen = static_cast<size_t>(std::max_element(next, end) - next);
      result.right += chosen == question.answer ? 1 : 0;
      ++result.questions;
      next = end;
    }
    poll(static_cast<double>(result.questions) / static_cast<double>(questions.size()));
  }
  return result;
}

}  // namespace puzzle
