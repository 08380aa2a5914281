// Linear programs with a handful of equations and columns that arrive one by one. An object belongs
// to one thread.
#pragma once

#include <cstddef>
#include <vector>

namespace puzzle {

/// Minimizes cost * x over x >= 0 with A x = b. The first basis is the first column with an entry
/// in row 0 (the convexity row of column generation) and a slack for every other row, which
/// therefore needs slacks of both signs. REQUIRES: these exist, and the minimum is finite.
class SmallSimplex {
 public:
  explicit SmallSimplex(size_t rows) : rows_(rows), right_(rows, 0) {}

  void SetRightHandSide(size_t row, double value) { right_[row] = value; }
  /// A column with one entry.
  void AddSlack(size_t row, double entry, double cost);
  void AddColumn(std::vector<double> entries, double cost);

  /// Solves with all columns so far, from where the last call ended; the least cost.
  double Minimize();
  /// Price of a row at the solution. REQUIRES: Minimize was called.
  [[nodiscard]] double Dual(size_t row) const { return duals_[row]; }

 private:
  void FirstBasis();
  void Factor();
  [[nodiscard]] double ReducedCost(size_t column) const;
  /// False when no column improves.
  bool Pivot(bool first_improving);

  size_t rows_;
  std::vector<double> right_;
  std::vector<std::vector<double>> columns_;
  std::vector<double> costs_;
  std::vector<size_t> basis_;    // a column per row
  std::vector<double> inverse_;  // of the basis, [rows][rows]
  std::vector<double> x_;        // values of the basis
  std::vector<double> duals_;
};

}  // namespace puzzle
