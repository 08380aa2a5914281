#include "nodes/solver/evolve.h"

#include <algorithm>
#include <cmath>

#include "io/random.h"
#include "nodes/solver/greedy.h"

namespace puzzle {
namespace {

struct Individual {
  std::vector<int> choice;
  double score = std::numeric_limits<double>::infinity();  // infinite: outside the limits
};

class Judge {
 public:
  explicit Judge(const MipProblem& problem) : problem_(problem), repairer_(problem) {}

  [[nodiscard]] Individual Repaired(std::vector<int> choice) const {
    Individual individual{std::move(choice)};
    if (repairer_.Repair(individual.choice)) {
      individual.score = ChoiceScore(problem_, individual.choice);
    }
    return individual;
  }
  [[nodiscard]] const MipProblem& problem() const { return problem_; }

 private:
  const MipProblem& problem_;
  Repairer repairer_;
};

int DrawOption(const MipProblem& problem, size_t group, Random& random) {
  return static_cast<int>(random.Below(problem.groups[group].size()));
}

class Population {
 public:
  Population(const MipProblem& problem, uint64_t seed) : judge_(problem), random_(seed) {
    for (size_t i = 0; i < kSize; ++i) {
      std::vector<int> choice;
      for (size_t g = 0; g < problem.groups.size(); ++g) {
        choice.push_back(DrawOption(problem, g, random_));
      }
      members_.push_back(judge_.Repaired(std::move(choice)));
    }
    Sort();
  }

  // The better half of parents and children lives on.
  void NextGeneration() {
    for (size_t i = 0; i < kSize; ++i) members_.push_back(Child());
    Sort();
    members_.resize(kSize);
  }
  [[nodiscard]] const Individual& best() const { return members_.front(); }

 private:
  static constexpr size_t kSize = 48;

  Individual Child() {
    const Individual& mother = Winner();
    const Individual& father = Winner();
    const MipProblem& problem = judge_.problem();
    std::vector<int> choice;
    for (size_t g = 0; g < problem.groups.size(); ++g) {
      const bool mutates = random_.Below(problem.groups.size()) < 2;
      choice.push_back(mutates ? DrawOption(problem, g, random_)
                               : (random_.Chance(1, 2) ? mother : father).choice[g]);
    }
    return judge_.Repaired(std::move(choice));
  }
  // Members are sorted: the smaller index wins.
  const Individual& Winner() {
    return members_[std::min(random_.Below(kSize), random_.Below(kSize))];
  }
  void Sort() {
    std::stable_sort(members_.begin(), members_.end(),
                     [](const Individual& a, const Individual& b) { return a.score < b.score; });
  }

  Judge judge_;
  Random random_;
  std::vector<Individual> members_;
};

class Policy {
 public:
  Policy(const MipProblem& problem, uint64_t seed) : problem_(problem), random_(seed) {
    for (const auto& group : problem.groups) logits_.emplace_back(group.size(), 0.0);
  }

  std::vector<int> Draw() {
    std::vector<int> choice;
    for (size_t g = 0; g < logits_.size(); ++g) {
      const std::vector<double> p = Probabilities(g);
      double at = random_.Uniform();
      size_t o = 0;
      while (o + 1 < p.size() && (at -= p[o]) >= 0) ++o;
      choice.push_back(static_cast<int>(o));
    }
    return choice;
  }

  // The gradient of log p is one minus p for what was drawn, minus p for everything else.
  void Reinforce(const std::vector<std::vector<int>>& draws,
                 const std::vector<double>& advantages) {
    constexpr double kRate = 0.5;
    for (size_t g = 0; g < logits_.size(); ++g) {
      const std::vector<double> p = Probabilities(g);
      std::vector<double> gradient(p.size(), 0);
      for (size_t i = 0; i < draws.size(); ++i) {
        for (size_t o = 0; o < p.size(); ++o) gradient[o] -= advantages[i] * p[o];
        gradient[draws[i][g]] += advantages[i];
      }
      for (size_t o = 0; o < p.size(); ++o) {
        logits_[g][o] += kRate * gradient[o] / static_cast<double>(draws.size());
      }
    }
  }

 private:
  [[nodiscard]] std::vector<double> Probabilities(size_t g) const {
    const double highest = *std::max_element(logits_[g].begin(), logits_[g].end());
    std::vector<double> p;
    double sum = 0;
    for (const double logit : logits_[g]) {
      p.push_back(std::exp(logit - highest));
      sum += p.back();
    }
    for (double& value : p) value /= sum;
    return p;
  }

  const MipProblem& problem_;
  Random random_;
  std::vector<std::vector<double>> logits_;
};

// Ranks instead of scores: one option that is a hundred times as bad as all others would drown what
// the draws say about the rest. From 1 for the best to -1 for the worst; mean 0.
std::vector<double> RankAdvantages(const std::vector<double>& scores) {
  std::vector<size_t> order(scores.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  std::vector<double> advantages(scores.size());
  for (size_t rank = 0; rank < order.size(); ++rank) {
    advantages[order[rank]] =
        1 - 2 * static_cast<double>(rank) / static_cast<double>(order.size() - 1);
  }
  return advantages;
}

std::optional<std::vector<int>> ChoiceOf(const Individual& individual) {
  if (std::isinf(individual.score)) return std::nullopt;
  return individual.choice;
}

}  // namespace

std::optional<std::vector<int>> Evolve(const MipProblem& problem, uint64_t seed) {
  constexpr int kGenerations = 120;
  Population population(problem, seed);
  for (int i = 0; i < kGenerations; ++i) population.NextGeneration();
  return ChoiceOf(population.best());
}

std::optional<std::vector<int>> LearnPolicy(const MipProblem& problem, uint64_t seed) {
  constexpr int kBatches = 250;
  constexpr size_t kDraws = 32;
  const Judge judge(problem);
  Policy policy(problem, seed);
  Individual best;
  for (int batch = 0; batch < kBatches; ++batch) {
    std::vector<std::vector<int>> draws;
    std::vector<double> scores;
    for (size_t i = 0; i < kDraws; ++i) {
      draws.push_back(policy.Draw());
      Individual individual = judge.Repaired(draws.back());
      scores.push_back(individual.score);
      if (individual.score < best.score) best = std::move(individual);
    }
    policy.Reinforce(draws, RankAdvantages(scores));
  }
  return ChoiceOf(best);
}

}  // namespace puzzle
