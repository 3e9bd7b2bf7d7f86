#include "clients/bench/outputs.h"

#include <utility>

#include "clients/bench/histogram_encoding.h"
#include "clients/bench/report.h"
#include "clients/bench/run_page.h"
#include "report/html_page.h"

namespace condensed::bench {

namespace json = boost::json;

Outputs::Outputs(const std::string& json_path, const std::string& csv_path, std::string hgrm_prefix,
                 const std::string& html_path)
    : hgrm_prefix_(std::move(hgrm_prefix)) {
  if (!json_path.empty()) {
    json_.emplace(json_path);
  }
  if (!csv_path.empty()) {
    csv_.emplace(csv_path);
  }
  if (!hgrm_prefix_.empty()) {
    itl_.emplace(hgrm_path("itl"));
  }
  if (!html_path.empty()) {
    html_.emplace(html_path);
  }
}

void Outputs::write(const json::object& report, const Recorder& recorder) {
  if (json_) {
    json_->write(json::serialize(report) + "\n");
    json_->finish();
  }
  if (csv_) {
    csv_->write(report_csv(report));
    csv_->finish();
  }
  if (html_) {
    html_->write(report::html_page(run_page(report)));
    html_->finish();
  }
  for (const Recorder::Measured& figure : recorder.figures()) {
    if (itl_ && !figure.histogram.empty()) {
      std::optional<ctl::OutputFile> other;
      ctl::OutputFile& file = figure.name == "itl" ? *itl_ : other.emplace(hgrm_path(figure.name));
      file.write(percentile_text(figure.histogram));
      file.finish();
    }
  }
}

}  // namespace condensed::bench
