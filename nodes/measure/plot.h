// A diagram of a few series as an SVG picture: frontiers, and whatever else is best looked at.
// Values; thread-safe.
#pragma once

#include <string>
#include <vector>

namespace puzzle {

struct PlotPoint {
  double x = 0;
  double y = 0;
  double error = 0;  ///< standard error of y, drawn as a bar; 0: none
};

struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points;
  bool joined = true;  ///< by a line, in order of x
  bool main = false;   ///< what the picture is about: drawn last and strongest, always in view
};

struct Plot {
  std::string x_label;
  std::string y_label;
  std::vector<PlotSeries> series;
  std::string empty = "nothing to show";  ///< said when there is no point
};

/// The picture, 760 x 460 pixels, legible on light and dark pages. When there are main series,
/// points more than 2.5 times as high as their highest are left out, and the legend says
/// "(far above)" of a series that has no other points.
[[nodiscard]] std::string PlotSvg(const Plot& plot);

}  // namespace puzzle
