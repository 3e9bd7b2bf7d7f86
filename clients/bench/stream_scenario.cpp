// One or many endless generations.

#include "clients/bench/run.h"
#include "clients/bench/scenario.h"
#include "clients/bench/stream_load.h"

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

class StreamScenario : public Scenario {
 public:
  std::string name() const override { return "stream"; }
  std::string description() const override { return "One or many generations without end, or of --tokens"; }
  void add_flags(CLI::App& command) override { flags_.add_to(command); }
  json::object settings() const override { return flags_.settings(); }

  asio::awaitable<void> execute(Run& run) override {
    StreamLoad load(flags_);
    co_await load.open(run);
    co_await load.warm_up(run);
    co_await run.begin_measuring();
    co_await load.generate(run, flags_.tokens);
  }

 private:
  StreamFlags flags_;
};

}  // namespace

std::unique_ptr<Scenario> make_stream_scenario() {
  return std::make_unique<StreamScenario>();
}

}  // namespace condensed::bench
