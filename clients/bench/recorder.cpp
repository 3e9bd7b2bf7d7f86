#include "clients/bench/recorder.h"

#include <algorithm>
#include <utility>

namespace condensed::bench {

namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kMaxPositionBins = 64;
constexpr std::size_t kMaxSlices = 600;
constexpr std::size_t kMaxSegments = 40;
constexpr std::int64_t kFirstSegment_ns = 50'000'000;
constexpr std::int64_t kSlice_ns = 1'000'000'000;

Recorder::Measured figure_named(std::string name) {
  return {std::move(name), LatencyHistogram(),
          CoarseningBins<LatencyHistogram>(kFirstSegment_ns, kMaxSegments, LatencyHistogram())};
}

}  // namespace

void TimeSlice::merge(const TimeSlice& later) {
  output_tokens += later.output_tokens;
  itl.merge(later.itl);
  sample = later.sample ? later.sample : sample;
}

Recorder::Recorder(Slo slo, nanoseconds stall_threshold)
    : slo_(std::move(slo)),
      stall_threshold_(stall_threshold),
      by_position_(1, kMaxPositionBins, LatencyHistogram()),
      timeline_(kSlice_ns, kMaxSlices, TimeSlice()) {
  for (const char* name : {"ttft", "tpot", "itl", "e2el", "wake", "wait"}) {
    figures_.push_back(figure_named(name));
  }
}

Figure Recorder::add_figure(std::string name) {
  figures_.push_back(figure_named(std::move(name)));
  return static_cast<Figure>(figures_.size() - 1);
}

void Recorder::begin(Clock::time_point at) {
  began_ = at;
}

void Recorder::end(Clock::time_point at) {
  ended_ = ended_.value_or(at);
}

bool Recorder::counts_at(Clock::time_point from, Clock::time_point to) const {
  return began_ && from >= *began_ && (!ended_ || to <= *ended_);
}

std::int64_t Recorder::since_begin_ns(Clock::time_point at) const {
  return std::max<std::int64_t>(0, nanoseconds(at - *began_).count());
}

nanoseconds Recorder::duration(Clock::time_point now) const {
  return began_ ? ended_.value_or(now) - *began_ : nanoseconds(0);
}

void Recorder::record(Figure figure, Clock::time_point from, Clock::time_point to) {
  record_value(figure, to - from, from, to);
}

void Recorder::record_value(Figure figure, nanoseconds value, Clock::time_point from, Clock::time_point to) {
  if (counts_at(from, to)) {
    Measured& measured = figures_[static_cast<std::size_t>(figure)];
    measured.histogram.record(value.count());
    measured.segments.at(since_begin_ns(to)).record(value.count());
  }
}

void Recorder::record_token(std::string_view session, std::int64_t position, Clock::time_point from,
                            std::optional<Clock::time_point> previous, Clock::time_point arrived,
                            const boost::json::value* account) {
  if (!counts_at(arrived, arrived)) {
    return;
  }
  ++counts_.output_tokens;
  TimeSlice& slice = timeline_.at(since_begin_ns(arrived));
  ++slice.output_tokens;
  const Figure figure = previous ? Figure::itl : Figure::ttft;
  const nanoseconds latency = arrived - previous.value_or(from);
  counts_.good_tokens += slo_.keeps(figure, latency) ? 1 : 0;
  record_value(figure, latency, previous.value_or(from), arrived);
  if (!previous || !counts_at(*previous, arrived)) {
    return;
  }
  slice.itl.record(latency.count());
  by_position_.at(std::max<std::int64_t>(0, position)).record(latency.count());
  if (latency > stall_threshold_) {
    stalls_.add({.after_start = arrived - *began_,
                 .session = std::string(session),
                 .position = position,
                 .latency = latency,
                 .account = account != nullptr ? boost::json::value(*account, boost::json::storage_ptr())
                                               : boost::json::value()});
  }
}

void Recorder::record_completed(Clock::time_point from, Clock::time_point to, bool good) {
  if (counts_at(from, to)) {
    ++counts_.completed;
    counts_.good_requests += good ? 1 : 0;
  }
}

void Recorder::record_failed(const std::string& code, Clock::time_point at) {
  if (counts_at(at, at)) {
    ++counts_.failed;
    ++counts_.errors[code];
  }
}

void Recorder::record_input(std::int64_t tokens, Clock::time_point at) {
  counts_.input_tokens += counts_at(at, at) ? tokens : 0;
}

void Recorder::record_sample(const DaemonSample& sample, Clock::time_point at) {
  if (began_) {
    timeline_.at(since_begin_ns(ended_ ? std::min(at, *ended_ - nanoseconds(1)) : at)).sample = sample;
  }
}

void GenerationTimer::token(std::int64_t position, Clock::time_point arrived,
                            const boost::json::value* account) {
  good_ = good_ && (latest_ ? recorder_.slo().keeps(Figure::itl, arrived - *latest_)
                            : recorder_.slo().keeps(Figure::ttft, arrived - from_));
  recorder_.record_token(session_, position, from_, latest_, arrived, account);
  first_ = first_ ? first_ : arrived;
  latest_ = arrived;
  ++n_tokens_;
}

void GenerationTimer::sent_late(Clock::time_point sent) {
  recorder_.record(Figure::wait, from_, sent);
  good_ = good_ && recorder_.slo().keeps(Figure::wait, sent - from_);
}

void GenerationTimer::done(Clock::time_point arrived, bool to_its_end) {
  if (to_its_end) {
    recorder_.record(Figure::e2el, from_, arrived);
    good_ = good_ && recorder_.slo().keeps(Figure::e2el, arrived - from_);
  }
  if (to_its_end && n_tokens_ > 1) {
    const nanoseconds mean = nanoseconds(*latest_ - *first_) / (n_tokens_ - 1);
    recorder_.record_value(Figure::tpot, mean, from_, arrived);
    good_ = good_ && recorder_.slo().keeps(Figure::tpot, mean);
  }
  recorder_.record_completed(from_, arrived, good_);
}

}  // namespace condensed::bench
