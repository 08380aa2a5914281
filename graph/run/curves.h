// The numbers that a step tells while it runs ("loss 0.0132, held out 0.0207"), as curves over the
// part that is done: what its record keeps of them. A few dozen points, however many batches there
// were; which ones does not depend on the time. A value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace puzzle {

/// The names and numbers of a note, in its order; what has another form is left out.
[[nodiscard]] std::vector<std::pair<std::string_view, double>> NumbersIn(std::string_view note);

class Curves {
 public:
  static constexpr size_t kMostPoints = 40;  // of a curve; even
  static constexpr size_t kMostCurves = 4;   // others are left out

  /// What was told when `fraction` was done.
  void Add(double fraction, std::string_view note);
  /// {"loss": [[0.1, 0.0132], ...], ...}: begins with what was told first, ends with what was told
  /// last. "" when nothing was.
  [[nodiscard]] std::string Json() const;

 private:
  struct Curve {
    std::string name;
    std::vector<std::pair<double, double>> points;
    std::pair<double, double> last;
    int64_t told = 0;
    int64_t every = 1;  // of what is told, so many become one point
  };
  std::vector<Curve> curves_;
};

}  // namespace puzzle
