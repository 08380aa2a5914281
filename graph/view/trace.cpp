#include "graph/view/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

namespace puzzle {
namespace {

/// A moment has to be as wide as this to be seen and to carry an arrow.
constexpr double kMoment_us = 1;

std::string Quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string_view TypeName(Span::Type type) {
  switch (type) {
    case Span::Type::kComputing:
      return "compute";
    case Span::Type::kRetried:
      return "retried";
    case Span::Type::kSaving:
      return "save";
    case Span::Type::kCached:
      return "cached";
  }
  return {};
}

/// A span as it stands in the trace.
struct Slice {
  size_t row = 0;
  double begin_us = 0;
  double end_us = 0;
};

class TraceWriter {
 public:
  TraceWriter(const Plan& plan, const Timeline& timeline) : plan_(plan), timeline_(timeline) {}

  std::string Write() {
    text_ = R"({"displayTimeUnit":"ms","otherData":{"program":"puzzle"},"traceEvents":[)"
            "\n"
            R"({"ph":"M","name":"process_name","pid":1,"args":{"name":"puzzle run"}})";
    for (size_t row = 0; row < timeline_.rows.size(); ++row) {
      Add(R"({{"ph":"M","name":"thread_name","pid":1,"tid":{0},"args":{{"name":{1}}}}})", row + 1,
          Quoted(timeline_.rows[row].name));
      Add(R"({{"ph":"M","name":"thread_sort_index","pid":1,"tid":{0},"args":{{"sort_index":{0}}}}})",
          row + 1);
    }
    Slices();
    Arrows();
    return std::move(text_) + "\n]}\n";
  }

 private:
  template <class... T>
  void Add(fmt::format_string<T...> format, T&&... values) {
    text_ += ",\n";
    fmt::format_to(std::back_inserter(text_), format, std::forward<T>(values)...);
  }

  void Slices() {
    computed_.assign(plan_.steps.size(), {});
    available_.assign(plan_.steps.size(), {});
    has_result_.assign(plan_.steps.size(), false);
    ran_.assign(plan_.steps.size(), false);
    std::vector<double> free_us(timeline_.rows.size(), 0);
    for (const Span& span : timeline_.spans) {
      Slice slice{span.row, span.begin_s * 1e6, span.end_s * 1e6};
      if (span.type == Span::Type::kCached) {  // many at one moment: one after the other
        slice.begin_us = std::max(slice.begin_us, free_us[span.row]);
        slice.end_us = slice.begin_us + kMoment_us;
        free_us[span.row] = slice.end_us;
      }
      Add(R"({{"ph":"X","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f},"name":{},"cat":"{}","args":)"
          R"({{"node":{},"kind":{},"outcome":"{}","note":{}}}}})",
          span.row + 1, slice.begin_us, slice.end_us - slice.begin_us,
          Quoted(plan_.steps[span.step].name), TypeName(span.type),
          Quoted(plan_.node_name(span.step)), Quoted(plan_.kind(span.step).name),
          OutcomeName(span.outcome), Quoted(span.note));
      if (span.type == Span::Type::kComputing) {
        computed_[span.step] = slice;
        ran_[span.step] = true;
      }
      if (span.type == Span::Type::kSaving || span.type == Span::Type::kCached) {
        available_[span.step] = slice;
        has_result_[span.step] = true;
      }
    }
  }

  /// From where an input became available to where it was used.
  void Arrows() {
    size_t number = 0;
    for (StepId id = 0; id < plan_.steps.size(); ++id) {
      if (!ran_[id]) continue;
      for (const StepId input : plan_.predecessors(id)) {
        if (!has_result_[input]) continue;
        const Slice& from = available_[input];
        ++number;
        Add(R"({{"ph":"s","pid":1,"tid":{},"ts":{:.3f},"id":{},"name":"input","cat":"edge"}})",
            from.row + 1, (from.begin_us + from.end_us) / 2, number);
        Add(R"({{"ph":"f","bp":"e","pid":1,"tid":{},"ts":{:.3f},"id":{},"name":"input",)"
            R"("cat":"edge"}})",
            computed_[id].row + 1, computed_[id].begin_us, number);
      }
    }
  }

  const Plan& plan_;
  const Timeline& timeline_;
  std::string text_;
  std::vector<Slice> computed_, available_;  // by step
  std::vector<bool> has_result_, ran_;
};

}  // namespace

std::string TraceJson(const Plan& plan, const Timeline& timeline) {
  return TraceWriter(plan, timeline).Write();
}

}  // namespace puzzle
