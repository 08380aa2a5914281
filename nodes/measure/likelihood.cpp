#include "nodes/measure/likelihood.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "io/error.h"
#include "model/kv_cache.h"
#include "model/math/losses.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

using Ids = std::span<const int32_t>;

constexpr int64_t kBatchTokens = 2048;               // in a forward pass, where questions are short
constexpr int64_t kCacheBytes = int64_t{256} << 20;  // of keys and values, likewise
constexpr int64_t kHeadRows = 1024;                  // states that go through the head together
constexpr int64_t kSharedByQuestions = 64;           // a shorter beginning is not worth a cache

int64_t CommonPrefix(Ids a, Ids b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

// A judged token: the state at `position` of a row predicts it.
struct Judged {
  int64_t position;
  int32_t target;
  size_t question, choice;
};

// What the model reads for one or several continuations: those whose input is the beginning of
// another's input need no row of their own.
struct Row {
  Ids input;  // without the last token, which predicts nothing
  std::vector<Judged> judged;
};

struct Question {
  std::vector<Row> rows;
  int64_t shared = 0;   // tokens that all rows begin with, and that predict nothing that is judged
  int64_t longest = 0;  // tokens of the longest row
};

void AddRow(Question& question, Row row) {
  for (Row& other : question.rows) {
    const int64_t common = CommonPrefix(row.input, other.input);
    if (common != std::min(std::ssize(row.input), std::ssize(other.input))) continue;
    if (row.input.size() > other.input.size()) other.input = row.input;
    other.judged.insert(other.judged.end(), row.judged.begin(), row.judged.end());
    return;
  }
  question.rows.push_back(std::move(row));
}

Question Prepare(const RopeConfig& rope, const std::vector<Continuation>& continuations,
                 size_t index) {
  Question question;
  int64_t first_judged = INT64_MAX;
  for (size_t c = 0; c < continuations.size(); ++c) {
    const Continuation& own = continuations[c];
    PUZZLE_CHECK(own.given >= 1 && own.given < std::ssize(own.ids), "nothing to judge");
    Row row{Ids(own.ids).first(own.ids.size() - 1), {}};
    for (int64_t i = own.given; i < std::ssize(own.ids); ++i)
      row.judged.push_back({i - 1, own.ids[static_cast<size_t>(i)], index, c});
    first_judged = std::min(first_judged, own.given - 1);
    question.longest = std::max(question.longest, std::ssize(row.input));
    AddRow(question, std::move(row));
  }
  question.shared = first_judged;
  for (const Row& row : question.rows)
    question.shared = std::min(question.shared, CommonPrefix(row.input, question.rows[0].input));
  // The keys of its beginning would have been rotated as those of a short text are.
  if (rope.IsLong(question.longest)) question.shared = 0;
  return question;
}

int64_t CacheBytesPerToken(const ModelConfig& config) {
  int64_t heads = 0;
  for (const BlockSpec& block : config.blocks)
    if (block.attention.is_full()) heads += block.attention.n_kv_heads;
  return heads * config.head_dim * 2 * static_cast<int64_t>(sizeof(float));
}

// A cache of the given sequences of `cache`'s batch, each as often as it occurs, with memory of its
// own for `capacity` positions.
KvCache CopyRows(const KvCache& cache, const Tensor& rows, int64_t batch, int64_t capacity,
                 const Transformer& model) {
  const ModelConfig& config = model.config();
  const Tensor& embedding = model.weights().embedding;
  KvCache copy(config.n_layers(), capacity);
  copy.positions = cache.positions;
  for (size_t i = 0; i < cache.layers.size(); ++i) {
    const AttentionSpec& spec = config.blocks[i].attention;
    if (!spec.is_full()) continue;
    LayerCache held = cache.layers[i];  // shares the memory; no position more is written
    const Tensor nothing =
        at::empty({batch, 0, spec.n_kv_heads, config.head_dim}, embedding.options());
    const auto [k, v] = held.Append(nothing, nothing, /*window=*/0);
    const Tensor chosen = rows.to(embedding.device());
    (void)copy.layers[i].Append(k.index_select(0, chosen), v.index_select(0, chosen), spec.window);
  }
  return copy;
}

// Runs questions through a model and collects what is judged.
class Scorer {
 public:
  Scorer(const Transformer& model, std::vector<std::vector<ContinuationScore>>& scores)
      : model_(model),
        device_(model.weights().embedding.device()),
        bytes_per_token_(CacheBytesPerToken(model.config())),
        scores_(scores) {}

  // Questions that all begin with the same `begun` tokens, computed once.
  void RunFamily(std::span<const Question> questions, int64_t begun,
                 const std::function<void(int64_t)>& done) {
    std::optional<KvCache> beginning;
    if (begun > 0) {
      beginning.emplace(model_.config().n_layers(), begun);
      (void)Forward({questions[0].rows[0].input.first(static_cast<size_t>(begun))}, 0, *beginning);
    }
    for (size_t first = 0; first < questions.size();) {
      const size_t count = BatchSize(questions.subspan(first));
      RunBatch(questions.subspan(first, count), beginning ? &*beginning : nullptr);
      first += count;
      done(static_cast<int64_t>(count));
    }
  }

  // Judges what was collected.
  void Finish() {
    if (judged_.empty()) return;
    std::vector<int64_t> targets;
    for (const Judged& judged : judged_) targets.push_back(judged.target);
    const Tensor& matrix = model_.weights().HeadMatrix();
    const Likelihood of =
        LikelihoodOf({model_.FinalNorm(at::cat(states_)), matrix, matrix.scalar_type()},
                     at::tensor(at::ArrayRef<int64_t>(targets), at::kLong).to(device_));
    const Tensor log_p = of.log_probability.cpu(), greedy = of.greedy.cpu();
    const double chance = -std::log(static_cast<double>(model_.config().vocab_size));
    for (size_t i = 0; i < judged_.size(); ++i) {
      ContinuationScore& score = scores_[judged_[i].question][judged_[i].choice];
      const double own = log_p.data_ptr<double>()[i];
      score.log_probability += own;
      // Where all words tie, none is the likeliest.
      score.greedy = score.greedy && greedy.data_ptr<bool>()[i] && own > chance + 1e-6;
    }
    judged_.clear();
    states_.clear();
  }

 private:
  // How many of the first questions go together: of like prefixes, not too many tokens.
  [[nodiscard]] size_t BatchSize(std::span<const Question> questions) const {
    const int64_t shared = questions[0].shared, slack = std::max<int64_t>(3, shared / 16);
    const RopeConfig& rope = model_.config().rope;
    int64_t rows = 0, longest = 0;
    size_t count = 0;
    for (const Question& question : questions) {
      rows += std::ssize(question.rows);
      longest = std::max(longest, question.longest);
      const int64_t tokens = rows * (longest - shared);
      const bool fits = rope.IsLong(question.longest) == rope.IsLong(questions[0].longest) &&
                        question.shared <= shared + slack && tokens <= kBatchTokens &&
                        (std::ssize(questions.first(count)) + 1) * shared <= kBatchTokens &&
                        rows * longest * bytes_per_token_ <= kCacheBytes;
      if (!fits && count > 0) break;
      ++count;
    }
    return count;
  }

  // Final states (before the norm) of sequences behind what `cache` holds for each of them; `from`
  // is where they begin. Shorter ones are padded: nothing looks at what stands behind it.
  Tensor Forward(const std::vector<Ids>& sequences, int64_t from, KvCache& cache) const {
    size_t longest = 0;
    for (const Ids& own : sequences) longest = std::max(longest, own.size());
    Tensor ids = at::zeros({std::ssize(sequences), static_cast<int64_t>(longest)}, at::kLong);
    for (size_t row = 0; row < sequences.size(); ++row)
      std::copy(sequences[row].begin(), sequences[row].end(),
                ids.data_ptr<int64_t>() + row * longest);
    const Tensor x =
        model_.Blocks(model_.Embed(ids.to(device_), from), 0, model_.config().n_layers(), &cache);
    cache.positions += static_cast<int64_t>(longest);
    return x;
  }

  // A cache of the questions' shared tokens, a row for each.
  [[nodiscard]] std::optional<KvCache> ReadShared(std::span<const Question> questions,
                                                  int64_t shared, const KvCache* beginning) const {
    const int64_t begun = beginning != nullptr ? beginning->positions : 0;
    if (shared == 0) return std::nullopt;
    KvCache cache =
        beginning != nullptr
            ? CopyRows(*beginning, at::zeros({std::ssize(questions)}, at::kLong), 1, shared, model_)
            : KvCache(model_.config().n_layers(), shared);
    if (shared == begun) return cache;
    std::vector<Ids> inputs;
    for (const Question& question : questions)
      inputs.push_back(question.rows[0].input.subspan(static_cast<size_t>(begun),
                                                      static_cast<size_t>(shared - begun)));
    (void)Forward(inputs, begun, cache);
    return cache;
  }

  void RunBatch(std::span<const Question> questions, const KvCache* beginning) {
    int64_t shared = questions[0].shared, longest = 0;
    for (const Question& question : questions) {
      shared = std::min(shared, question.shared);
      longest = std::max(longest, question.longest);
    }
    std::optional<KvCache> cache = ReadShared(questions, shared, beginning);
    std::vector<int64_t> source;
    std::vector<Ids> inputs;
    for (size_t q = 0; q < questions.size(); ++q) {
      for (const Row& row : questions[q].rows) {
        source.push_back(static_cast<int64_t>(q));
        inputs.push_back(row.input.subspan(static_cast<size_t>(shared)));
      }
    }
    KvCache own = cache ? CopyRows(*cache, at::tensor(at::ArrayRef<int64_t>(source), at::kLong),
                                   std::ssize(questions), longest, model_)
                        : KvCache(model_.config().n_layers(), longest);
    cache.reset();
    const Tensor x = Forward(inputs, shared, own);
    Collect(questions, x, shared);
  }

  // Keeps the states that predict judged tokens; x [rows, seq, hidden], from position `shared`.
  void Collect(std::span<const Question> questions, const Tensor& x, int64_t shared) {
    std::vector<int64_t> wanted;
    int64_t index = 0;
    for (const Question& question : questions) {
      for (const Row& row : question.rows) {
        for (const Judged& judged : row.judged) {
          wanted.push_back(index * x.size(1) + judged.position - shared);
          judged_.push_back(judged);
        }
        ++index;
      }
    }
    states_.push_back(x.flatten(0, 1).index_select(
        0, at::tensor(at::ArrayRef<int64_t>(wanted), at::kLong).to(device_)));
    if (std::ssize(judged_) >= kHeadRows) Finish();
  }

  const Transformer& model_;
  at::Device device_;
  int64_t bytes_per_token_;
  std::vector<std::vector<ContinuationScore>>& scores_;
  std::vector<Tensor> states_;
  std::vector<Judged> judged_;  // in the order of the states
};

// How many of the first questions, sorted by their ids, begin with the same tokens, and how many
// tokens that are: a family. A few questions that share little stay together, with 0 tokens.
std::pair<size_t, int64_t> TakeFamily(std::span<const Question> questions) {
  const auto common = [&](size_t i) {
    return std::min({CommonPrefix(questions[i].rows[0].input, questions[i + 1].rows[0].input),
                     questions[i].shared, questions[i + 1].shared});
  };
  size_t count = 1;
  if (questions.size() > 1 && common(0) >= kSharedByQuestions) {
    const int64_t least = std::max(kSharedByQuestions, common(0) / 2);
    int64_t begun = common(0);
    for (; count < questions.size() && common(count - 1) >= least; ++count)
      begun = std::min(begun, common(count - 1));
    return {count, begun};
  }
  while (count < questions.size() &&
         (count + 1 == questions.size() || common(count) < kSharedByQuestions))
    ++count;
  return {count, 0};
}

}  // namespace

std::vector<std::vector<ContinuationScore>> ScoreContinuations(
    const Transformer& model, const std::vector<std::vector<Continuation>>& questions,
    const std::function<void(double)>& poll) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<ContinuationScore>> scores;
  std::vector<Question> prepared;
  for (size_t i = 0; i < questions.size(); ++i) {
    scores.emplace_back(questions[i].size(), ContinuationScore{0, true});
    prepared.push_back(Prepare(model.config().rope, questions[i], i));
  }
  std::sort(prepared.begin(), prepared.end(), [](const Question& a, const Question& b) {
    return std::lexicographical_compare(a.rows[0].input.begin(), a.rows[0].input.end(),
                                        b.rows[0].input.begin(), b.rows[0].input.end());
  });
  Scorer scorer(model, scores);
  int64_t done = 0;
  for (std::span<Question> left = prepared; !left.empty();) {
    const auto [count, begun] = TakeFamily(left);
    const std::span<Question> family = left.first(count);
    left = left.subspan(count);
    for (Question& question : family)  // one row shares nothing with itself
      if (question.rows.size() == 1) question.shared = begun;
    std::sort(family.begin(), family.end(), [](const Question& a, const Question& b) {
      return std::pair(a.shared, a.longest) < std::pair(b.shared, b.longest);
    });
    scorer.RunFamily(family, begun, [&](int64_t more) {
      done += more;
      poll(static_cast<double>(done) / static_cast<double>(questions.size()));
    });
  }
  scorer.Finish();
  return scores;
}

}  // namespace puzzle
