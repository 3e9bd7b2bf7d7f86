// How the paper's experiment is shown: tables on the terminal, a page with plots.

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "eval/paper.h"
#include "eval/report_sections.h"
#include "report/number_text.h"
#include "report/page_parts.h"

namespace condensed::eval {

namespace json = boost::json;

using report::formatted;

namespace {

std::string text_of(const json::value& value) {
  return value.is_string() ? std::string(value.get_string()) : json::serialize(value);
}

/// The model of the same shape that others are set against: the first.
const json::object& baseline(const json::object& report, const json::object& model) {
  for (const json::value& other : report.at("models").as_array()) {
    if (other.at("shape") == model.at("shape")) {
      return other.as_object();
    }
  }
  return model;
}

/// A number, or null; key: also of the step's latencies.
const json::value* figure(const json::object& of, std::string_view key) {
  if (const json::value* found = of.if_contains(key)) {
    return found;
  }
  const json::value* step = of.if_contains("step_ms");
  return step != nullptr ? step->as_object().if_contains(key) : nullptr;
}

/// "12.3 (2.10x)": a figure, and how it compares with the baseline's. The bare figure for the baseline itself
/// and where that has none; nothing where there is no figure.
std::string cell(const json::object& of, const json::object* baseline, std::string_view key,
                 const char* format, double unit = 1) {
  const json::value* value = figure(of, key);
  if (value == nullptr) {
    return "";
  }
  const std::string text = formatted(format, value->to_number<double>() / unit);
  const json::value* reference = baseline != nullptr && baseline != &of ? figure(*baseline, key) : nullptr;
  return reference == nullptr || reference->to_number<double>() <= 0
             ? text
             : text + formatted(" (%.2fx)", value->to_number<double>() / reference->to_number<double>());
}

constexpr double kMiB = 1 << 20;

std::vector<std::string> batch_columns() {
  return {"model",       "layer types", "layers with a cache", "weights, MiB", "session, MiB",
          "memory, MiB", "batch",       "resident, MiB",       "tokens/s",     "tokens/processor second"};
}

json::array batch_rows(const json::object& report) {
  json::array rows;
  for (const json::value& value : report.at("models").as_array()) {
    const json::object& model = value.as_object();
    const json::object& first = baseline(report, model);
    const json::value* why_not = model.if_contains("why_not_measured");
    const bool fits = model.at("batch").to_number<double>() > 0;
    rows.push_back(json::array{model.at("shape"), model.at("layer_types"),
                               text_of(model.at("owners")) + " of " + text_of(model.at("layers")),
                               cell(model, nullptr, "weight_bytes", "%.1f", kMiB),
                               cell(model, nullptr, "session_bytes", "%.1f", kMiB),
                               cell(model, nullptr, "memory_bytes", "%.0f", kMiB),
                               cell(model, &first, "batch", "%.0f"),
                               cell(model, nullptr, "resident_bytes", "%.1f", kMiB),
                               why_not != nullptr ? text_of(*why_not)
                               : fits             ? cell(model, &first, "tokens_per_s", "%.1f")
                                                  : "does not fit",
                               cell(model, &first, "tokens_per_cpu_s", "%.1f")});
  }
  return rows;
}

std::vector<std::string> stream_columns() {
  return {"model",      "layer types",      "cache, tokens", "ms per token (p50)", "processor ms per token",
          "cache, MiB", "with weights, MiB"};
}

json::array stream_rows(const json::object& report) {
  json::array rows;
  for (const json::value& value : report.at("models").as_array()) {
    const json::object& model = value.as_object();
    const json::array& first_streams = baseline(report, model).at("streams").as_array();
    const json::array& streams = model.at("streams").as_array();
    for (std::size_t i = 0; i < streams.size(); ++i) {
      const json::object& stream = streams[i].as_object();
      const json::object* first = i < first_streams.size() ? &first_streams[i].as_object() : nullptr;
      rows.push_back(json::array{model.at("shape"), model.at("layer_types"), stream.at("cache_size"),
                                 cell(stream, first, "p50", "%.2f"), cell(stream, first, "cpu", "%.2f"),
                                 cell(stream, first, "session_bytes", "%.1f", kMiB),
                                 cell(stream, first, "memory_bytes", "%.1f", kMiB)});
    }
  }
  return rows;
}

void print_table(const std::vector<std::string>& columns, const json::array& rows) {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < columns.size(); ++column) {
    std::size_t width = columns[column].size();
    for (const json::value& row : rows) {
      width = std::max(width, text_of(row.as_array()[column]).size());
    }
    widths.push_back(width);
  }
  const auto print_line = [&](const json::array& cells) {
    for (std::size_t column = 0; column < cells.size(); ++column) {
      std::printf("%*s  ", static_cast<int>(widths[column]), text_of(cells[column]).c_str());
    }
    std::printf("\n");
  };
  print_line(json::value_from(columns).as_array());
  for (const json::value& row : rows) {
    print_line(row.as_array());
  }
  std::printf("\n");
}

/// A line for each model of this shape: what `value_of` takes from a stream, over cache size.
json::array lines(const json::object& report, const json::value& shape, auto&& value_of) {
  json::array series;
  for (const json::value& model : report.at("models").as_array()) {
    const json::array& streams = model.at("streams").as_array();
    if (model.at("shape") != shape || streams.empty()) {
      continue;
    }
    json::array points;
    for (const json::value& stream : streams) {
      points.push_back(json::array{stream.at("cache_size"), value_of(stream.as_object())});
    }
    series.push_back(report::series(text_of(model.at("layer_types")), std::move(points)));
  }
  return series;
}

/// A bar for each model of this shape: what stands under `key`.
json::array bars(const json::object& report, const json::value& shape, const char* key) {
  json::array points;
  for (const json::value& model : report.at("models").as_array()) {
    if (model.at("shape") == shape && model.as_object().contains(key)) {
      points.push_back(json::array{model.at("layer_types"), model.at(key)});
    }
  }
  return points;
}

/// A section of charts for one shape.
void add_charts(json::array& sections, const json::object& report, const json::value& shape_value,
                std::size_t index) {
  const std::string shape = text_of(shape_value);
  const report::Axis kinds{.label = "layer types", .scale = "band"};
  const report::Axis cache_size{.label = "sinks and window (tokens)", .scale = "log"};
  const auto add = [&](const char* id, const char* title, const report::Axis& x, const report::Axis& y,
                       json::array series) {
    if (!series.empty()) {
      sections.push_back(chart_section(
          shape, "", report::chart(id + ("-" + std::to_string(index)), title, x, y, std::move(series))));
    }
  };
  add("batch", "Largest batch", kinds, {.label = "sessions"},
      {report::series("sessions", bars(report, shape_value, "batch"), "bars")});
  const json::array speeds = bars(report, shape_value, "tokens_per_s");
  add("throughput", "Throughput at that batch", kinds, {.label = "tokens"},
      speeds.empty() ? json::array()
                     : json::array{report::series("per second", speeds, "bars"),
                                   report::series("per processor second",
                                                  bars(report, shape_value, "tokens_per_cpu_s"), "bars")});
  add("latency", "An endless stream's token", cache_size, {.label = "ms (p50)"},
      lines(report, shape_value, [](const json::object& stream) { return stream.at("step_ms").at("p50"); }));
  add("cpu", "An endless stream's token, processor time", cache_size, {.label = "ms"},
      lines(report, shape_value, [](const json::object& stream) { return stream.at("step_ms").at("cpu"); }));
  add("memory", "An endless stream's cache", cache_size, {.label = "memory", .scale = "log", .unit = "bytes"},
      lines(report, shape_value, [](const json::object& stream) { return stream.at("session_bytes"); }));
}

std::vector<json::value> shapes_of(const json::object& report) {
  std::vector<json::value> shapes;
  for (const json::value& model : report.at("models").as_array()) {
    if (std::ranges::find(shapes, model.at("shape")) == shapes.end()) {
      shapes.push_back(model.at("shape"));
    }
  }
  return shapes;
}

json::array sections(const json::object& report) {
  json::array out;
  out.push_back(table_section(
      "Largest batch and its throughput",
      "Sessions of " + text_of(report.at("lengths")) +
          " tokens that fit beside the weights, computed; then that batch "
          "is really allocated and run. A step is timed with the prompt, with half and with all of the "
          "answer in the cache, "
          "and tokens/s are the mean over an answer's length. Processor time leaves out what others on the "
          "machine took. Ratios are against the first row of a model.",
      batch_columns(), batch_rows(report)));
  out.push_back(table_section("One endless stream by cache size",
                              "StreamingLLM (4 sinks and a window that is full) on each cache.",
                              stream_columns(), stream_rows(report)));
  const std::vector<json::value> shapes = shapes_of(report);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    add_charts(out, report, shapes[i], i);
  }
  out.push_back(settings_section(report));
  json::object machine = settings_section(report.at("machine").as_object());
  machine["heading"] = "Machine";
  out.push_back(std::move(machine));
  return out;
}

}  // namespace

void show_paper(const PaperOptions& options, const json::object& report) {
  if (options.outputs.table()) {
    std::printf("%s weights, %s cache, sessions of %s tokens\n\n", text_of(report.at("weights")).c_str(),
                text_of(report.at("cache_dtype")).c_str(), text_of(report.at("lengths")).c_str());
    print_table(batch_columns(), batch_rows(report));
    print_table(stream_columns(), stream_rows(report));
    std::fflush(stdout);
  }
  if (options.outputs.html) {
    write_page(*options.outputs.html, "Plain against layer-condensed cache",
               text_of(report.at("machine").at("processor")) + ", random weights", sections(report));
  }
}

}  // namespace condensed::eval
