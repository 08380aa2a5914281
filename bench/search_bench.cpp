// What the exact solver of `search` is worth: the same problems by it and by CBC, side by side, on
// the published block library of Llama-3.3-70B; large random problems; a frontier of 50 budgets.
//   build/search_bench [block_library.json]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/error.h"
#include "io/random.h"
#include "nodes/search/block_library.h"
#include "nodes/search/frontier.h"
#include "nodes/search/variant_table.h"
#include "nodes/solver/mip.h"

namespace puzzle {
namespace {

struct Budget {
  std::string name;
  std::vector<std::pair<std::string, double>> shares;  // resource, part of the parent's total
};

std::vector<Budget> Budgets() {
  std::vector<Budget> budgets;
  for (int percent = 40; percent <= 95; percent += 5) {
    const double share = percent / 100.0;
    budgets.push_back({fmt::format("memory {} %", percent), {{"memory_mib", share}}});
    budgets.push_back({fmt::format("memory and runtime {} %", percent),
                       {{"memory_mib", share}, {"runtime_ms", share}}});
  }
  for (int percent : {50, 60, 70, 80}) {
    budgets.push_back({fmt::format("memory {} %, runtime {} %", percent, percent + 7),
                       {{"memory_mib", percent / 100.0}, {"runtime_ms", (percent + 7) / 100.0}}});
  }
  return budgets;
}

MipProblem ProblemOf(const VariantTable& library, const Budget& budget) {
  nlohmann::json max = nlohmann::json::object();
  for (const auto& [resource, share] : budget.shares) {
    max[resource] = fmt::format("{}%", share * 100);
  }
  const auto limits = ReadLimits(library, nlohmann::json::object(), max);
  return MakeSearchProblem(library, {{"kl_div", 1.0}}, limits, [](const auto&) {}).problem;
}

MipSolution Solve(const MipProblem& problem, MipSolver solver) {
  MipOptions options;
  options.solver = solver;
  options.time_limit_s = 20;
  return SolveMip(problem, options);
}

// Median of three runs; branch and cut is measured once, its times being seconds.
double MedianTime(const MipProblem& problem, MipSolution& solution) {
  std::vector<double> times;
  for (int i = 0; i < 3; ++i) {
    solution = Solve(problem, MipSolver::kExact);
    times.push_back(solution.time_s);
  }
  std::sort(times.begin(), times.end());
  return times[1];
}

void CompareOnLibrary(const VariantTable& library) {
  fmt::print("| budget | optimum | exact ms | CBC ms | ratio |\n|---|---|---|---|---|\n");
  double log_ratio = 0, worst_s = 0;
  int equal = 0, n = 0;
  for (const Budget& budget : Budgets()) {
    const MipProblem problem = ProblemOf(library, budget);
    MipSolution exact;
    const double exact_s = MedianTime(problem, exact);
    const MipSolution cbc = Solve(problem, MipSolver::kCbc);
    const bool same = exact.status == SolveStatus::kOptimal &&
                      cbc.status == SolveStatus::kOptimal &&
                      std::abs(exact.objective - cbc.objective) <= 1e-9 * exact.objective;
    fmt::print("| {} | {:.6f}{} | {:.2f} | {:.0f} | {:.0f} |\n", budget.name, exact.objective,
               same ? ""
                    : fmt::format(" ({}; CBC {:.6f}, {})", SolveStatusName(exact.status),
                                  cbc.objective, SolveStatusName(cbc.status)),
               exact_s * 1e3, cbc.time_s * 1e3, cbc.time_s / exact_s);
    std::fflush(stdout);
    log_ratio += std::log(cbc.time_s / exact_s);
    worst_s = std::max(worst_s, exact_s);
    equal += same ? 1 : 0;
    ++n;
  }
  fmt::print(
      "\n{} of {} optima equal; exact is {:.0f} times as fast (geometric mean), at most {:.0f} "
      "ms\n\n",
      equal, n, std::exp(log_ratio / n), worst_s * 1e3);
}

// 126 layers of 20 attentions x 20 FFNs, made like the published library: costs are those of the
// shapes, the same in all layers, up to a jitter of measurement; scores grow with what is taken
// away, and layers differ in how much that hurts.
MipProblem LibraryLikeProblem(size_t rows, uint64_t seed) {
  Random random(seed);
  MipProblem problem;
  std::vector<std::vector<double>> attention(20), ffn(20);
  for (int i = 0; i < 20; ++i) {
    for (size_t r = 0; r < rows; ++r) {
      attention[i].push_back((1 - i / 20.0) * (0.9 + 0.2 * random.Uniform()));
      ffn[i].push_back(1.5 * (1 - i / 20.0) * (0.9 + 0.2 * random.Uniform()));
    }
  }
  for (size_t r = 0; r < rows; ++r) {
    problem.limits.push_back({.resource = fmt::format("resource{}", r), .high = 0.7 * 2.5 * 126});
  }
  for (int g = 0; g < 126; ++g) {
    auto& group = problem.groups.emplace_back();
    const double hurts = std::exp(2 * random.Uniform()), also = std::exp(2 * random.Uniform());
    for (int a = 0; a < 20; ++a) {
      for (int f = 0; f < 20; ++f) {
        const double lost = hurts * std::pow(a / 20.0, 2) + also * std::pow(f / 20.0, 1.5);
        MipOption option{fmt::format("{} {}", a, f), lost * (0.8 + 0.4 * random.Uniform()), {}};
        for (size_t r = 0; r < rows; ++r) option.costs.push_back(attention[a][r] + ffn[f][r]);
        group.push_back(std::move(option));
      }
    }
  }
  return problem;
}

// Costs drawn at random, scores what they save but for some noise: the hardest kind, which no
// library of a real model resembles.
MipProblem CorrelatedProblem(size_t rows, uint64_t seed) {
  Random random(seed);
  MipProblem problem;
  for (size_t r = 0; r < rows; ++r) {
    problem.limits.push_back({.resource = fmt::format("resource{}", r), .high = 0.4 * 126});
  }
  for (int g = 0; g < 126; ++g) {
    auto& group = problem.groups.emplace_back();
    for (int o = 0; o < 400; ++o) {
      MipOption option{fmt::format("variant{}", o), 0.3 * random.Uniform(), {}};
      for (size_t r = 0; r < rows; ++r) {
        option.costs.push_back(random.Uniform());
        option.score += 1 - option.costs.back();
      }
      group.push_back(std::move(option));
    }
  }
  return problem;
}

void SolveLarge(const char* name, MipProblem (*make)(size_t rows, uint64_t seed),
                const std::vector<size_t>& all_rows) {
  for (const size_t rows : all_rows) {
    constexpr uint64_t kSeeds = 20;
    std::vector<double> times;
    int optimal = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      const MipSolution solution = Solve(make(rows, seed), MipSolver::kExact);
      times.push_back(solution.time_s * 1e3);
      optimal += solution.status == SolveStatus::kOptimal ? 1 : 0;
    }
    std::sort(times.begin(), times.end());
    fmt::print("| {} | {} | {} of {} | {:.0f} | {:.0f} |\n", name, rows, optimal, kSeeds,
               times[kSeeds / 2], times.back());
    std::fflush(stdout);
  }
}

void SolveLargeProblems() {
  fmt::print("| 126 layers x 400 variants | rows | proven | median ms | worst ms |\n");
  fmt::print("|---|---|---|---|---|\n");
  SolveLarge("like a library", LibraryLikeProblem, {1, 2, 3});
  SolveLarge("correlated, random", CorrelatedProblem, {1, 2});
  fmt::print("\n");
}

void SolveFrontier(const VariantTable& library, const std::string& range,
                   const nlohmann::json& max) {
  const auto start = std::chrono::steady_clock::now();
  const SweepRequest request{ReadBudgetRange(range), {{"kl_div", 1.0}}, {}, {}};
  const Frontier frontier =
      Sweep({library}, request, nlohmann::json::object(), max, [](const auto&) {});
  const double time_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  int optimal = 0;
  for (const FrontierPoint& point : frontier.points) {
    optimal += point.solution.status == SolveStatus::kOptimal ? 1 : 0;
  }
  fmt::print("sweep {}, other limits {}: {} of {} proven, {:.3f} s\n", range, max.dump(), optimal,
             frontier.points.size(), time_s);
}

int Main(const std::string& path) {
  const VariantTable library = ReadBlockLibrary(path, [](const auto&) {});
  CompareOnLibrary(library);
  SolveLargeProblems();
  SolveFrontier(library, "memory_mib=50%..100%:50", nlohmann::json::object());
  SolveFrontier(library, "memory_mib=50%..100%:50", {{"runtime_ms", "75%"}});
  return 0;
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  const char* data = std::getenv("PUZZLE_DATA");
  const std::string folder = data != nullptr ? data : "../shared/data";
  try {
    return puzzle::Main(argc > 1 ? argv[1] : folder + "/llama-3.3-70b/block_library.json");
  } catch (const puzzle::Error& error) {
    fmt::print(stderr, "search_bench: {}\n", error.what());
    return 1;
  }
}
