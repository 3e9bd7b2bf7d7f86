// What a stream still remembers, by how long ago it was there.

#include <cstdio>
#include <limits>

#include "engine/input_error.h"
#include "engine/transformer.h"
#include "eval/commands.h"
#include "eval/progress.h"
#include "eval/recall_probe.h"
#include "eval/report_sections.h"
#include "eval/token_source.h"
#include "report/number_text.h"
#include "report/page_parts.h"

namespace condensed::eval {

namespace json = boost::json;

using report::formatted;

namespace {

/// Token by token, which is exact; a stream for each cache.
ReadStreams reader_of(engine::Model& model, engine::Transformer& transformer,
                      const cache::StreamWindow& window) {
  return [&model, &transformer, window](std::span<const std::vector<std::int32_t>> streams, std::size_t first,
                                        const OnStreamLogits& on_logits) {
    const auto vocab_size = static_cast<std::size_t>(model.config.vocab_size);
    std::vector<cache::CondensedCache> caches;
    for (std::size_t stream = 0; stream < streams.size(); ++stream) {
      caches.emplace_back(*model.backend, transformer.cache_shape(), window);
    }
    std::vector<engine::Slice> slices(streams.size());
    for (std::size_t index = 0; index < streams.front().size(); ++index) {
      for (std::size_t stream = 0; stream < streams.size(); ++stream) {
        slices[stream] = {.cache = &caches[stream],
                          .tokens = std::span(streams[stream]).subspan(index, 1),
                          .logits_for = index >= first ? engine::LogitsFor::last : engine::LogitsFor::none};
      }
      transformer.run(slices, {});
      for (std::size_t stream = 0; index >= first && stream < streams.size(); ++stream) {
        on_logits(stream, index, transformer.logits().subspan(stream * vocab_size, vocab_size));
      }
    }
  };
}

json::object row_json(const RecallRow& row) {
  return {{"distance", row.distance},
          {"fact_in_window", name_of(row.place)},
          {"accuracy", row.accuracy.value},
          {"accuracy_95", interval_json(row.accuracy)},
          {"control_accuracy", row.control_accuracy.value},
          {"control_accuracy_95", interval_json(row.control_accuracy)},
          {"gain_nats", row.gain_nats.value},
          {"gain_nats_95", interval_json(row.gain_nats)},
          {"log_probability", row.log_probability},
          {"control_log_probability", row.control_log_probability}};
}

json::array table_rows(const json::object& report) {
  const auto with_interval = [](const json::object& row, const std::string& key, const char* format) {
    const auto number = [&](const json::value& value) { return formatted(format, value.as_double()); };
    const json::array& ends = row.at(key + "_95").as_array();
    return ends[0].is_null() ? number(row.at(key))
                             : number(row.at(key)) + " (" + number(ends[0]) + " to " + number(ends[1]) + ")";
  };
  json::array rows;
  for (const json::value& value : report.at("rows").as_array()) {
    const json::object& row = value.as_object();
    rows.push_back(json::array{
        row.at("distance"), row.at("fact_in_window"), with_interval(row, "accuracy", "%.3f"),
        with_interval(row, "control_accuracy", "%.3f"), with_interval(row, "gain_nats", "%+.3f")});
  }
  return rows;
}

void print_table(const json::object& report) {
  std::printf("%s, %s sinks + window %s, %s trials, %s; chance %.4f\n",
              report.at("model").as_string().c_str(), json::serialize(report.at("sinks")).c_str(),
              json::serialize(report.at("window")).c_str(), json::serialize(report.at("trials")).c_str(),
              report.at("filler").as_string().c_str(), report.at("chance").as_double());
  std::printf("%9s  %-8s  %-25s  %-25s  %s\n", "distance", "in window", "accuracy (95%)", "without the fact",
              "log-probability gained, nats");
  for (const json::value& value : table_rows(report)) {
    const json::array& row = value.as_array();
    std::printf("%9lld  %-8s   %-25s  %-25s  %s\n", static_cast<long long>(row[0].as_int64()),
                row[1].as_string().c_str(), row[2].as_string().c_str(), row[3].as_string().c_str(),
                row[4].as_string().c_str());
  }
  std::fflush(stdout);
}

/// A line of one figure over distance, with its interval.
json::object line(const json::object& report, const std::string& name, const std::string& key) {
  json::array points;
  for (const json::value& value : report.at("rows").as_array()) {
    const json::object& row = value.as_object();
    json::array point{row.at("distance"), row.at(key)};
    const json::array& ends = row.at(key + "_95").as_array();
    if (!ends[0].is_null()) {
      point.insert(point.end(), ends.begin(), ends.end());
    }
    points.push_back(std::move(point));
  }
  return report::series(name, std::move(points));
}

json::array sections(const json::object& report) {
  const report::Axis distance{.label = "distance (tokens since the fact)", .scale = "log"};
  const json::array marks{report::mark_at_x(report.at("window").to_number<double>(), "window")};
  json::array out;
  out.push_back(table_section(
      "Recall by distance",
      "A fact is a few random key tokens followed by random value tokens. It stands once in the stream; "
      "later the key "
      "comes again. Accuracy: how often the value's tokens are then the likeliest of all. Gain: how much "
      "likelier "
      "they are than in the same stream without the fact. A model that cannot continue a repeated sequence "
      "stays at "
      "the level of the stream without the fact at every distance, which says nothing about the cache.",
      {"distance", "fact in window", "accuracy (95%)", "without the fact", "gain, nats per token (95%)"},
      table_rows(report)));
  out.push_back(chart_section("Accuracy", "",
                              report::chart("accuracy", "Value tokens that were the likeliest of all",
                                            distance, {.label = "share of value tokens"},
                                            {line(report, "with the fact", "accuracy"),
                                             line(report, "without it", "control_accuracy")},
                                            marks)));
  out.push_back(chart_section(
      "Log-probability gained", "",
      report::chart("gain", "How much likelier the fact makes its value", distance,
                    {.label = "nats per value token"}, {line(report, "gain", "gain_nats")}, marks)));
  out.push_back(settings_section(report));
  return out;
}

std::vector<std::int32_t> filler_text(const engine::Model& model, const RecallOptions& options,
                                      const ProbeShape& shape) {
  if (options.text.empty()) {
    return {};
  }
  std::vector<std::int32_t> text =
      read_text_tokens(model, options.text, false, std::numeric_limits<std::int64_t>::max());
  if (std::ssize(text) < shape.stream_tokens()) {
    throw engine::InputError(options.text.string() + ": has " + std::to_string(text.size()) +
                             " tokens, a stream of this window and these distances needs " +
                             std::to_string(shape.stream_tokens()));
  }
  return text;
}

}  // namespace

void run_recall(const RecallOptions& options) {
  check_outputs(options.outputs);
  const RunOptions& run = options.run;
  const auto model = run.load();
  ProbeShape shape{.key_tokens = options.key_tokens,
                   .value_tokens = options.value_tokens,
                   .window = {run.sinks.value_or(kDefaultSinks), run.window.value_or(kDefaultWindow)},
                   .distances = options.distances};
  if (shape.distances.empty()) {
    shape.distances = default_distances(shape);
  }
  check_probe(shape, model->config.vocab_size);
  ProbeMaker maker(shape, model->config.vocab_size, model->config.bos_token_id,
                   filler_text(*model, options, shape), options.seed);
  engine::Transformer transformer(*model, std::ssize(shape.distances) + 1, run.cache());
  Progress progress("trials", options.trials);
  const std::vector<RecallRow> rows =
      measure_recall(shape, maker, options.trials, reader_of(*model, transformer, shape.window),
                     [&] { progress.advance(); });

  json::object report{{"model", model->name},
                      {"backend", std::string(model->backend->name())},
                      {"weights", run.weights},
                      {"cache_dtype", run.cache_dtype},
                      {"sinks", shape.window.sinks},
                      {"window", shape.window.window},
                      {"filler", options.text.empty() ? "random tokens" : options.text.string()},
                      {"key_tokens", shape.key_tokens},
                      {"value_tokens", shape.value_tokens},
                      {"trials", options.trials},
                      {"seed", options.seed},
                      {"asked_at_position", shape.query_position()},
                      {"chance", 1.0 / model->config.vocab_size}};
  json::array out;
  for (const RecallRow& row : rows) {
    out.push_back(row_json(row));
  }
  report["rows"] = std::move(out);
  if (options.outputs.table()) {
    print_table(report);
  }
  if (options.outputs.html) {
    write_page(*options.outputs.html, "Recall by distance", model->name, sections(report));
  }
  write_json(options.outputs, report);
}

}  // namespace condensed::eval
