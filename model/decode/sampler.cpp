#include "model/decode/sampler.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "model/decode/panel_kernels.h"

namespace puzzle::decode {

void CheckSampling(const SamplingOptions& o) {
  const auto check = [](bool good, const char* what, double value, const char* expected) {
    if (!good) throw Error(fmt::format("{} {}: expected {}", what, value, expected));
  };
  check(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty), "repetition penalty",
        o.repetition_penalty, "a number above 0 (1: none)");
  check(o.temperature >= 0 && std::isfinite(o.temperature), "temperature", o.temperature,
        "0 (the likeliest token) or more");
  check(o.top_k >= 0, "top-k", static_cast<double>(o.top_k), "0 (all) or more");
  check(o.top_p > 0 && o.top_p <= 1, "top-p", o.top_p, "more than 0, at most 1 (all)");
  check(o.min_p >= 0 && o.min_p <= 1, "min-p", o.min_p, "0 (all) to 1");
}

Sampler::Sampler(const SamplingOptions& options, int64_t vocabulary)
    : options_(options), random_(options.seed), seen_(static_cast<size_t>(vocabulary)) {
  CheckSampling(options);
  candidates_.reserve(seen_.size());
  weights_.reserve(seen_.size());
  seen_ids_.reserve(seen_.size());
}

void Sampler::Saw(int32_t id) {
  uint8_t& seen = seen_.at(static_cast<size_t>(id));
  if (seen == 0) seen_ids_.push_back(id);
  seen = 1;
}

namespace {

[[noreturn]] void ThrowNotFinite() {
  throw Error("the model's logits are not finite numbers");
}

// The first of the highest; throws Error unless all are numbers and the highest is finite. A
// vocabulary is read once, in pieces that the cache still has when one is looked through.
int32_t LikeliestOf(std::span<const float> logits) {
  constexpr size_t kPiece = 2048;
  Peak best;
  size_t where = 0;
  for (size_t first = 0; first < logits.size(); first += kPiece) {
    const auto piece = logits.subspan(first, std::min(kPiece, logits.size() - first));
    const Peak peak = HighestOf(piece.data(), std::ssize(piece));
    best.numbers = best.numbers && peak.numbers;
    if (peak.highest > best.highest) {
      best.highest = peak.highest;
      where = first;
    }
  }
  if (!best.numbers || !std::isfinite(best.highest)) ThrowNotFinite();
  while (logits[where] != best.highest) ++where;
  return static_cast<int32_t>(where);
}

int32_t LikeliestOf(const auto& candidates) {
  size_t best = 0;
  bool numbers = true;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const float logit = candidates[i].logit;
    numbers = numbers && !std::isnan(logit);
    if (logit > candidates[best].logit) best = i;
  }
  if (!numbers || !std::isfinite(candidates[best].logit)) ThrowNotFinite();
  return static_cast<int32_t>(best);
}

}  // namespace

int32_t Sampler::Pick(std::span<const float> logits) {
  PUZZLE_CHECK(logits.size() == seen_.size(), "logits of another vocabulary");
  if (options_.temperature == 0 && options_.repetition_penalty == 1) return LikeliestOf(logits);
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  if (options_.repetition_penalty != 1) {
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    for (const int32_t id : seen_ids_) {
      float& logit = candidates_[static_cast<size_t>(id)].logit;
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  const int32_t likeliest = LikeliestOf(candidates_);
  const int32_t picked = options_.temperature > 0 ? Draw() : likeliest;
  Saw(picked);
  return picked;
}

namespace {

constexpr auto kLikelierFirst = [](const auto& a, const auto& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
};

}  // namespace

void Sampler::KeepTopK() {
  const auto k = std::min(static_cast<size_t>(options_.top_k), candidates_.size());
  if (options_.top_k == 0 || k == candidates_.size()) return;
  const auto last = candidates_.begin() + static_cast<int64_t>(k) - 1;
  std::nth_element(candidates_.begin(), last, candidates_.end(), kLikelierFirst);
  const float bar = last->logit;
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < bar; });
}

int32_t Sampler::Draw() {
  KeepTopK();
  float highest = candidates_.front().logit;
  for (const Candidate& candidate : candidates_) highest = std::max(highest, candidate.logit);
  const auto weight = [&](const Candidate& c) {
    return std::exp((static_cast<double>(c.logit) - highest) / options_.temperature);
  };
  if (options_.top_p < 1) {
    std::sort(candidates_.begin(), candidates_.end(), kLikelierFirst);
    double total = 0, sum = 0;
    for (const Candidate& candidate : candidates_) total += weight(candidate);
    size_t kept = 0;
    while (kept < candidates_.size() && sum < options_.top_p * total)
      sum += weight(candidates_[kept++]);
    candidates_.resize(std::max<size_t>(kept, 1));
  }
  if (options_.min_p > 0)  // the likeliest has weight 1
    std::erase_if(candidates_, [&](const Candidate& c) { return weight(c) < options_.min_p; });
  // In the order of ids, so that a draw does not depend on how the others were found.
  const auto lower_id = [](const Candidate& a, const Candidate& b) { return a.id < b.id; };
  if (!std::is_sorted(candidates_.begin(), candidates_.end(), lower_id))
    std::sort(candidates_.begin(), candidates_.end(), lower_id);
  weights_.clear();
  double total = 0;
  for (const Candidate& candidate : candidates_) {
    total += weight(candidate);
    weights_.push_back(total);
  }
  const double drawn = random_.Uniform() * total;
  const auto at = std::upper_bound(weights_.begin(), weights_.end(), drawn) - weights_.begin();
  return candidates_[std::min(static_cast<size_t>(at), candidates_.size() - 1)].id;
}

}  // namespace puzzle::decode
