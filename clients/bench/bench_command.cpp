#include "clients/bench/bench_command.h"

#include <exception>
#include <utility>

#include <CLI/CLI.hpp>

#include "clients/bench/measured_run.h"
#include "clients/bench/outputs.h"
#include "clients/bench/report.h"
#include "clients/bench/run.h"

namespace condensed::bench {

namespace json = boost::json;

namespace {

json::object settings_json(const RunOptions& options, json::object scenario) {
  const auto seconds = [](std::chrono::nanoseconds time) {
    return std::chrono::duration<double>(time).count();
  };
  scenario["duration_s"] = options.duration ? json::value(seconds(*options.duration)) : json::value();
  scenario["warmup_duration_s"] = seconds(options.warmup_duration);
  json::object slo;
  for (const Slo::Limit& limit : options.slo.limits()) {
    slo[limit.name + "_ms"] = 1e3 * seconds(limit.at_most);
  }
  scenario["slo"] = std::move(slo);
  scenario["stall_threshold_ms"] = 1e3 * seconds(options.stall_threshold);
  return scenario;
}

}  // namespace

void BenchCommand::add_shared_flags(CLI::App& command) {
  command.add_option("--duration", flags_.duration, "Measure so long: 30s, 10m, 2h");
  command.add_option("--warmup-duration", flags_.warmup_duration, "Run so long before anything is counted");
  command.add_option("--seed", flags_.seed, "The same seed gives the same load and the same text")
      ->capture_default_str();
  command.add_option("--slo", flags_.slo, "Limits that good requests keep: ttft=200ms,itl=50ms");
  command
      .add_option("--stall-threshold", flags_.stall_threshold,
                  "List the tokens that came later than this after the one before")
      ->capture_default_str();
  command.add_option("--json", flags_.json_path, "Write the report here");
  command.add_option("--csv", flags_.csv_path, "Write its figures here, one in a line");
  command.add_option("--hgrm", flags_.hgrm_prefix,
                     "Write each figure's percentiles for HdrHistogram's plotters into PREFIX.FIGURE.hgrm");
  command.add_option("--html", flags_.html_path, "Write it as a page with charts here");
}

void BenchCommand::add_to(CLI::App& bench, const std::function<void()>& chosen) {
  bench.require_subcommand(1);
  for (const std::unique_ptr<Scenario>& scenario : scenarios_) {
    CLI::App* const command = bench.add_subcommand(scenario->name(), scenario->description());
    scenario->add_flags(*command);
    add_shared_flags(*command);
    command->callback([this, chosen, each = scenario.get()] {
      chosen_ = each;
      chosen();
    });
  }
}

RunOptions BenchCommand::options(const std::string& socket_path, const std::string& user) const {
  RunOptions options{.socket_path = socket_path, .user = user, .seed = flags_.seed, .slo = Slo(flags_.slo)};
  options.stall_threshold = parsed_duration(flags_.stall_threshold, "--stall-threshold");
  if (flags_.duration) {
    options.duration = parsed_duration(*flags_.duration, "--duration");
  }
  if (flags_.warmup_duration) {
    options.warmup_duration = parsed_duration(*flags_.warmup_duration, "--warmup-duration");
  }
  return options;
}

int BenchCommand::run(ctl::Context& context, const std::string& socket_path, const std::string& user) {
  const RunOptions run_options = options(socket_path, user);
  const json::object client_settings = settings_json(run_options, chosen_->settings());
  Outputs outputs(flags_.json_path, flags_.csv_path, flags_.hgrm_prefix, flags_.html_path);
  Run run(context.client.io(), run_options);
  MeasuredRun measured(run, *chosen_);
  {
    const ctl::Interrupt::Instead interrupt(context.interrupt, [&measured] { measured.interrupt(); });
    measured.run_to_the_end();
  }
  if (!run.recorder().began()) {
    if (measured.failure()) {
      std::rethrow_exception(measured.failure());
    }
    throw ctl::Interrupted();
  }
  json::object report = report_json(measured.facts(client_settings), run.recorder());
  chosen_->add_to_report(run, report);
  outputs.write(report, run.recorder());
  if (context.terminal.json()) {
    context.terminal.event(report);
  }
  context.terminal.show(report_table(report));
  if (measured.failure()) {
    std::rethrow_exception(measured.failure());
  }
  return measured.interrupted() ? ctl::kInterruptedExit : run.recorder().counts().failed > 0 ? 1 : 0;
}

}  // namespace condensed::bench
