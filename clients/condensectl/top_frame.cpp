#include "clients/condensectl/top_frame.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "clients/condensectl/table.h"
#include "clients/condensectl/user_name.h"

namespace condensed::ctl {

namespace json = boost::json;

namespace {

template <typename... Arguments>
std::string format(const char* pattern, Arguments... arguments) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), pattern, arguments...);
  return buffer;
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr     ? "?"
         : value->is_string() ? std::string(value->get_string())
                              : json::serialize(*value);
}

double number_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<double>() : 0;
}

std::string whole(double number) {
  return format("%.0f", number);
}

std::string duration(std::optional<double> seconds) {
  if (!seconds) {
    return "-";
  }
  return *seconds < 0.01 ? format("%.2f ms", *seconds * 1e3)
         : *seconds < 1  ? format("%.0f ms", *seconds * 1e3)
                         : format("%.2f s", *seconds);
}

std::string megabytes(double bytes) {
  return format("%.2f MB", bytes / 1e6);
}

std::string clock(double seconds) {
  const auto s = static_cast<long long>(seconds);
  const std::string days = s < 86400 ? "" : format("%lld d ", s / 86400);
  return days + format("%02lld:%02lld:%02lld", s / 3600 % 24, s / 60 % 60, s % 60);
}

/// What happened between two snapshots.
class Interval {
 public:
  Interval(const Snapshot& before, const Snapshot& now)
      : before_(before), now_(now), seconds_(now.uptime_s() - before.uptime_s()) {}

  double seconds() const { return seconds_; }

  double rate(double change) const { return seconds_ > 0 ? change / seconds_ : 0; }
  double rate(std::string_view counter) const {
    return rate(now_.metrics.sum(counter) - before_.metrics.sum(counter));
  }
  Histogram histogram(const std::string& name) const {
    return difference(now_.metrics.histogram(name), before_.metrics.histogram(name));
  }

 private:
  const Snapshot& before_;
  const Snapshot& now_;
  double seconds_;
};

std::string header(const Snapshot& now, const Interval& interval) {
  const auto sessions = [&](const char* state) {
    return whole(now.metrics.sum("condensed_sessions", {{"state", state}})) + " " + state;
  };
  const auto rate = [&](std::string_view counter) { return format("%.1f", interval.rate(counter)); };
  const auto a_step = [&](const char* name) {
    const std::optional<double> value = mean(interval.histogram(name));
    return value ? format("%.1f", *value) : "-";
  };
  const Histogram steps = interval.histogram("condensed_step_seconds");
  const Histogram first = interval.histogram("vllm:time_to_first_token_seconds");
  const Histogram between = interval.histogram("vllm:inter_token_latency_seconds");
  const auto p50_p99 = [](const Histogram& histogram) {
    return "p50 " + duration(quantile(histogram, 0.5)) + ", p99 " + duration(quantile(histogram, 0.99));
  };

  return "condensed " + text_of(now.stat, "version") + "   " + text_of(now.stat, "model") + "   " +
         text_of(now.stat, "backend") + "   up " + clock(now.uptime_s()) + "   rates over " +
         format("%.1f s", interval.seconds()) + "\n" +                                     //
         "sessions   " + sessions("generating") + ", " + sessions("resident") + ", " +     //
         sessions("asleep") + " of " + whole(now.metrics.sum("condensed_sessions_max")) +  //
         "   waiting " + whole(now.metrics.sum("vllm:num_requests_waiting")) +             //
         "   connections " + whole(now.metrics.sum("condensed_connections")) + "\n" +      //
         "tokens/s   read " + rate("vllm:prompt_tokens_total") +                           //
         "   generated " + rate("vllm:generation_tokens_total") +                          //
         "   evicted " + rate("condensed_evictions_total") + "\n" +                        //
         "steps/s    " + format("%.1f", interval.rate(steps.count())) +                    //
         "   each " + a_step("condensed_batch_sessions") + " sessions, " +                 //
         a_step("vllm:iteration_tokens_total") + " rows, " + duration(mean(steps)) +       //
         " (p99 " + duration(quantile(steps, 0.99)) + ")\n" +                              //
         "latency    first token " + p50_p99(first) +                                      //
         "   between tokens " + p50_p99(between) + "\n" +                                  //
         "memory     caches " + megabytes(now.metrics.sum("condensed_cache_bytes")) +      //
         "   weights " + megabytes(now.metrics.sum("condensed_weight_bytes")) +            //
         "   process " + megabytes(now.metrics.sum("process_resident_memory_bytes")) + "\n";
}

struct Row {
  std::string name;
  std::string user;
  std::string state;
  double tokens_per_s = 0;
  const json::object* session = nullptr;

  /// What sleeps comes after what rests, and that after what works.
  int rest() const { return state == "asleep" ? 2 : state == "resting" ? 1 : 0; }
};

std::string state_of(const json::object& session) {
  const std::string state = text_of(session, "state");
  const bool reads = number_of(session, "waiting_tokens") + number_of(session, "waiting_bytes") > 0;
  return state == "resting" && reads ? "reading" : state;
}

/// The busiest first.
std::vector<Row> rows_of(const Snapshot& before, const Snapshot& now, const Interval& interval) {
  using Key = std::pair<std::string, std::string>;  // names are each user's own
  std::map<Key, double> positions_before;
  for (const json::value& item : before.sessions) {
    const json::object& session = item.as_object();
    positions_before[{text_of(session, "user"), text_of(session, "session")}] =
        number_of(session, "position");
  }
  std::vector<Row> rows;
  for (const json::value& item : now.sessions) {
    const json::object& session = item.as_object();
    Row row{.name = text_of(session, "session"),
            .user = text_of(session, "user"),
            .state = state_of(session),
            .session = &session};
    const double position = number_of(session, "position");
    const auto earlier = positions_before.find({row.user, row.name});
    // Shorter than before: taken back, or closed and opened again.
    row.tokens_per_s = interval.rate(earlier == positions_before.end() || position < earlier->second
                                         ? position
                                         : position - earlier->second);
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::make_tuple(-a.tokens_per_s, a.rest(), a.name, a.user) <
           std::make_tuple(-b.tokens_per_s, b.rest(), b.name, b.user);
  });
  return rows;
}

std::string sessions_table(const std::vector<Row>& rows, std::size_t n_shown) {
  std::vector<std::vector<std::string>> cells{
      {"SESSION", "STATE", "POSITION", "CACHED", "TOKENS/S", "ATTACHED"}};
  for (std::size_t i = 0; i < n_shown; ++i) {
    const Row& row = rows[i];
    cells.push_back({row.name, row.state, text_of(*row.session, "position"), text_of(*row.session, "cached"),
                     format("%.1f", row.tokens_per_s), text_of(*row.session, "attached")});
  }
  const bool several_users =
      std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.user != rows.front().user; });
  for (std::size_t i = 0; several_users && i < cells.size(); ++i) {
    cells[i].insert(cells[i].begin() + 1,
                    i == 0 ? "USER" : user_name(std::strtoll(rows[i - 1].user.c_str(), nullptr, 10)));
  }
  std::string out = table(cells);
  if (n_shown < rows.size()) {
    out += "... and " + std::to_string(rows.size() - n_shown) + " more\n";
  }
  return out;
}

/// The lines cut to the size. Names of models are whatever folders are called: control characters must not
/// reach the terminal.
std::string fitted(const std::string& text, const FrameSize& size) {
  std::string out;
  std::size_t row = 0;
  std::size_t column = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += c;
      column = 0;
      if (++row == size.rows) {
        break;
      }
      continue;
    }
    const bool continues_character = (byte & 0xC0U) == 0x80;
    column += continues_character ? 0 : 1;
    if (size.columns == 0 || column <= size.columns) {
      out += byte < 0x20 || byte == 0x7F ? '?' : c;
    }
  }
  return out;
}

}  // namespace

double Snapshot::uptime_s() const {
  return number_of(stat, "uptime_s");
}

std::string top_frame(const Snapshot& before, const Snapshot& now, const FrameSize& size) {
  const Interval interval(before, now);
  const std::string top = header(now, interval) + "\n";
  const std::vector<Row> rows = rows_of(before, now, interval);
  const auto n_used = static_cast<std::size_t>(std::count(top.begin(), top.end(), '\n')) + 1;  // titles
  std::size_t n_shown = rows.size();
  if (size.rows > 0 && n_used + rows.size() > size.rows) {
    n_shown =
        size.rows > n_used + 1 ? size.rows - n_used - 1 : 0;  // the last line says how many are left out
  }
  return fitted(top + sessions_table(rows, n_shown), size);
}

}  // namespace condensed::ctl
