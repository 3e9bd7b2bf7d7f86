#include "train/training_log.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "engine/input_error.h"
#include "report/html_page.h"
#include "report/page_parts.h"
#include "train/whole_file.h"

namespace condensed::train {

namespace json = boost::json;

namespace {

constexpr const char* kColumns =
    "step,tokens,sequence,passes_without_gradient,passes_with_gradient,learning_rate,loss,kv_change,gradient_"
    "norm,"
    "tokens_per_s,validation_iterated_perplexity,validation_exact_perplexity";
constexpr std::size_t kCurvePoints = 400;

std::string row_of(const StepRecord& r) {
  char text[320];
  std::snprintf(text, sizeof(text), "%lld,%lld,%lld,%lld,%lld,%.6g,%.9g,%.6g,%.6g,%.1f,",
                static_cast<long long>(r.step), static_cast<long long>(r.tokens),
                static_cast<long long>(r.sequence), static_cast<long long>(r.passes_without_gradient),
                static_cast<long long>(r.passes_with_gradient), r.learning_rate, r.loss, r.kv_change,
                r.gradient_norm, r.tokens_per_s);
  std::string row = text;
  if (r.validation) {
    std::snprintf(text, sizeof(text), "%.6f,%.6f", r.validation->iterated, r.validation->exact);
    row += text;
  } else {
    row += ",";
  }
  return row;
}

std::optional<StepRecord> record_of(const std::string& row) {
  std::vector<double> cells;
  std::stringstream parts(row + ",");
  for (std::string cell; std::getline(parts, cell, ',');) {
    char* end = nullptr;
    cells.push_back(cell.empty() ? std::nan("") : std::strtod(cell.c_str(), &end));
    if (!cell.empty() && *end != '\0') {
      return std::nullopt;
    }
  }
  if (cells.size() != 12) {
    return std::nullopt;  // a row that a crash cut short
  }
  StepRecord r{.step = std::llround(cells[0]),
               .tokens = std::llround(cells[1]),
               .sequence = std::llround(cells[2]),
               .passes_without_gradient = std::llround(cells[3]),
               .passes_with_gradient = std::llround(cells[4]),
               .learning_rate = cells[5],
               .loss = cells[6],
               .kv_change = cells[7],
               .gradient_norm = cells[8],
               .tokens_per_s = cells[9]};
  if (!std::isnan(cells[10])) {
    r.validation = Validation{.iterated = cells[10], .exact = cells[11]};
  }
  return r;
}

/// The mean loss of as many consecutive steps as make a curve of at most kCurvePoints.
json::array loss_points(const std::vector<StepRecord>& records) {
  const std::size_t per_point = (records.size() + kCurvePoints - 1) / kCurvePoints;
  json::array points;
  for (std::size_t first = 0; first < records.size(); first += per_point) {
    const std::size_t n = std::min(per_point, records.size() - first);
    double sum = 0;
    for (std::size_t i = first; i < first + n; ++i) {
      sum += records[i].loss;
    }
    points.push_back(
        report::point(static_cast<double>(records[first + n - 1].tokens), sum / static_cast<double>(n)));
  }
  return points;
}

json::array validation_points(const std::vector<StepRecord>& records, double Validation::*which) {
  json::array points;
  for (const StepRecord& record : records) {
    if (record.validation) {
      points.push_back(report::point(static_cast<double>(record.tokens), *record.validation.*which));
    }
  }
  return points;
}

}  // namespace

TrainingLog::TrainingLog(const std::filesystem::path& folder, std::int64_t steps_done) : folder_(folder) {
  read(steps_done);
  std::string kept = std::string(kColumns) + "\n";
  for (const StepRecord& record : records_) {
    kept += row_of(record) + "\n";
  }
  replace_file(folder_ / "log.csv", kept);
  csv_.open(folder_ / "log.csv", std::ios::app);
}

void TrainingLog::read(std::int64_t steps_done) {
  std::ifstream csv(folder_ / "log.csv");
  std::string row;
  std::getline(csv, row);
  while (std::getline(csv, row)) {
    if (const auto record = record_of(row); record && record->step <= steps_done) {
      records_.push_back(*record);
    }
  }
}

void TrainingLog::add(const StepRecord& record) {
  records_.push_back(record);
  csv_ << row_of(record) << std::endl;
  if (!csv_) {
    throw engine::InputError((folder_ / "log.csv").string() + ": cannot be written; is the disk full?");
  }
}

void TrainingLog::write_page(const json::object& recipe) const {
  json::array rows;
  for (const auto& [key, value] : recipe) {
    rows.push_back(json::array{key, value.is_string() ? value : json::value(json::serialize(value))});
  }
  json::object settings = report::section("Recipe");
  settings["table"] = report::table({"setting", "value"}, std::move(rows));
  json::object loss = report::section("Loss");
  loss["chart"] = report::chart("loss", "Training loss", {.label = "tokens", .zero = false},
                                {.label = "nats a token", .zero = false},
                                {report::series("loss", loss_points(records_))});
  json::array sections{std::move(loss)};
  if (json::array exact = validation_points(records_, &Validation::exact); !exact.empty()) {
    json::object section = report::section(
        "Validation", "The two agree as the keys and values of a trained model settle within the passes.");
    section["chart"] = report::chart(
        "validation", "Perplexity of the validation text", {.label = "tokens", .zero = false},
        {.label = "perplexity", .scale = "log"},
        {report::series("exact decoding", std::move(exact)),
         report::series("iterated passes", validation_points(records_, &Validation::iterated))});
    sections.push_back(std::move(section));
  }
  sections.push_back(std::move(settings));
  replace_file(folder_ / "log.html",
               report::html_page({{"title", "condensed-train"}, {"sections", std::move(sections)}}));
}

}  // namespace condensed::train
