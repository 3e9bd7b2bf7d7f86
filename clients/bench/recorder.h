#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "clients/bench/coarsening_bins.h"
#include "clients/bench/figure.h"
#include "clients/bench/latency_histogram.h"
#include "clients/bench/slo.h"
#include "clients/bench/stalls.h"

namespace condensed::bench {

using Clock = std::chrono::steady_clock;

/// What the daemon said of itself at a moment.
struct DaemonSample {
  std::int64_t resident_bytes = 0;
  std::int64_t cache_bytes = 0;
  std::int64_t evictions = 0;  // since the daemon's start, as the next two
  std::int64_t steps = 0;
  std::int64_t rows = 0;  // tokens that ran through the model
  std::int64_t sessions_resident = 0;
  std::int64_t sessions_asleep = 0;
};

/// A part of the timeline.
struct TimeSlice {
  std::int64_t output_tokens = 0;
  LatencyHistogram itl{2};             // 1% is enough for a chart, and small
  std::optional<DaemonSample> sample;  // the latest that was taken in this slice

  void merge(const TimeSlice& later);
};

/// Takes every observation of a run and keeps what the report needs, in bounded memory. An observation counts
/// if all of its time lies in the measured part, so nothing of a warm-up gets in. Used by one thread; the
/// clock is the caller's, so that tests can bring their own.
class Recorder {
 public:
  Recorder(Slo slo, std::chrono::nanoseconds stall_threshold);

  /// The measured part begins; until then nothing counts. Called once.
  void begin(Clock::time_point at);
  /// It ends; the first call counts. Nothing that ends later is counted.
  void end(Clock::time_point at);

  /// A figure of a scenario's own, e.g. "append": its name in the report. Before begin().
  Figure add_figure(std::string name);

  void record(Figure figure, Clock::time_point from, Clock::time_point to);
  /// An observed duration that is no interval of the clock, at the moment it is known: a mean.
  void record_value(Figure figure, std::chrono::nanoseconds value, Clock::time_point from,
                    Clock::time_point to);
  /// A generation's token came. previous: the one before, nothing for the first; from: when the request was
  /// due.
  void record_token(std::string_view session, std::int64_t position, Clock::time_point from,
                    std::optional<Clock::time_point> previous, Clock::time_point arrived,
                    const boost::json::value* account);
  /// A request that was due at `from` has ended as it should. good: it kept the SLO.
  void record_completed(Clock::time_point from, Clock::time_point to, bool good);
  void record_failed(const std::string& code, Clock::time_point at);
  void record_input(std::int64_t tokens, Clock::time_point at);
  /// One that is taken after the end is the last slice's.
  void record_sample(const DaemonSample& sample, Clock::time_point at);

  bool measuring() const { return began_ && !ended_; }
  bool began() const { return began_.has_value(); }
  std::optional<Clock::time_point> ended() const { return ended_; }
  const Slo& slo() const { return slo_; }

  // What the report is made of.
  struct Counts {
    std::int64_t completed = 0;
    std::int64_t good_requests = 0;
    std::int64_t failed = 0;
    std::int64_t input_tokens = 0;
    std::int64_t output_tokens = 0;
    std::int64_t good_tokens = 0;                // that came within the SLO's ttft or itl
    std::map<std::string, std::int64_t> errors;  // by code
  };
  struct Measured {
    std::string name;
    LatencyHistogram histogram;
    CoarseningBins<LatencyHistogram> segments;  // by ns since the beginning
  };
  const Counts& counts() const { return counts_; }
  const std::vector<Measured>& figures() const { return figures_; }
  const Measured& figure(Figure which) const { return figures_[static_cast<std::size_t>(which)]; }
  const CoarseningBins<LatencyHistogram>& by_position() const { return by_position_; }
  const CoarseningBins<TimeSlice>& timeline() const { return timeline_; }
  const Stalls& stalls() const { return stalls_; }
  std::chrono::nanoseconds stall_threshold() const { return stall_threshold_; }
  /// Of the measured part; up to `now` while it is not over.
  std::chrono::nanoseconds duration(Clock::time_point now) const;

 private:
  bool counts_at(Clock::time_point from, Clock::time_point to) const;
  std::int64_t since_begin_ns(Clock::time_point at) const;

  Slo slo_;
  std::chrono::nanoseconds stall_threshold_;
  std::optional<Clock::time_point> began_;
  std::optional<Clock::time_point> ended_;
  std::vector<Measured> figures_;
  CoarseningBins<LatencyHistogram> by_position_;
  CoarseningBins<TimeSlice> timeline_;
  Stalls stalls_;
  Counts counts_;
};

/// Follows one generation and records what is to be recorded of it.
class GenerationTimer {
 public:
  /// from: when it was due (or sent, where nothing is due).
  GenerationTimer(Recorder& recorder, std::string session, Clock::time_point from)
      : recorder_(recorder), session_(std::move(session)), from_(from) {}

  void token(std::int64_t position, Clock::time_point arrived, const boost::json::value* account);
  /// In an open loop: it was due at `from` and sent then. Before done().
  void sent_late(Clock::time_point sent);
  /// to_its_end: it was not cut off by the run's end.
  void done(Clock::time_point arrived, bool to_its_end);

  std::int64_t tokens() const { return n_tokens_; }
  const std::optional<Clock::time_point>& latest() const { return latest_; }

 private:
  Recorder& recorder_;
  std::string session_;
  Clock::time_point from_;
  std::optional<Clock::time_point> first_;
  std::optional<Clock::time_point> latest_;
  std::int64_t n_tokens_ = 0;
  bool good_ = true;
};

}  // namespace condensed::bench
