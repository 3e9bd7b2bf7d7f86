#include "daemon/service_notifier.h"

#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/service_status.h"

namespace condensed::daemon {
namespace {

using std::chrono::milliseconds;
using testing::Each;
using testing::ElementsAre;
using testing::StartsWith;

/// Keeps what was sent; others wait for it.
class Sent {
 public:
  ServiceNotifier notifier() {
    return ServiceNotifier([this](const std::string& state) {
      const std::lock_guard lock(mutex_);
      states_.push_back(state);
      changed_.notify_all();
    });
  }
  std::vector<std::string> states() const {
    const std::lock_guard lock(mutex_);
    return states_;
  }
  void wait_for(std::size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return states_.size() >= n; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> states_;
};

TEST(ServiceNotifier, SaysWhatSystemdExpects) {
  Sent sent;
  const ServiceNotifier notifier = sent.notifier();
  notifier.status("Loading m");
  notifier.ready("Serving");
  notifier.alive();
  notifier.stopping("Stopping");
  notifier.extend_timeout(std::chrono::seconds(30));
  EXPECT_THAT(sent.states(), ElementsAre("STATUS=Loading m", "READY=1\nSTATUS=Serving", "WATCHDOG=1",
                                         "STOPPING=1\nSTATUS=Stopping", "EXTEND_TIMEOUT_USEC=30000000"));
}

TEST(ServiceNotifier, ReloadingCarriesTheMonotonicClock) {
  Sent sent;
  timespec before{};
  ::clock_gettime(CLOCK_MONOTONIC, &before);
  sent.notifier().reloading();
  const std::string state = sent.states().at(0);
  const std::string prefix = "RELOADING=1\nMONOTONIC_USEC=";
  ASSERT_THAT(state, StartsWith(prefix));
  EXPECT_GE(std::stoll(state.substr(prefix.size())), before.tv_sec * 1'000'000);
}

TEST(ServiceNotifier, AStatusCannotSmuggleALine) {
  Sent sent;
  sent.notifier().status("Loading a\nMAINPID=1");
  EXPECT_THAT(sent.states(), ElementsAre("STATUS=Loading a MAINPID=1"));
}

TEST(ServiceNotifier, IsSilentWhenNobodyListens) {
  const ServiceNotifier nobody(nullptr);
  EXPECT_FALSE(nobody.enabled());
  nobody.ready("x");
  nobody.alive();
  const Patience patience(nobody);
}

TEST(ServiceNotifier, TheWatchdogIsFedTwiceAsOftenAsItBites) {
  ::unsetenv("WATCHDOG_PID");
  ::setenv("WATCHDOG_USEC", "5000000", 1);
  EXPECT_EQ(ServiceNotifier::watchdog_interval(), milliseconds(2500));
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(ServiceNotifier::watchdog_interval(), milliseconds(2500));
  ::setenv("WATCHDOG_PID", "1", 1);  // somebody else's
  EXPECT_EQ(ServiceNotifier::watchdog_interval(), milliseconds(0));
  ::unsetenv("WATCHDOG_PID");
  ::unsetenv("WATCHDOG_USEC");
  EXPECT_EQ(ServiceNotifier::watchdog_interval(), milliseconds(0));
}

TEST(Patience, IsRenewedUntilTheEnd) {
  Sent sent;
  const ServiceNotifier notifier = sent.notifier();
  {
    const Patience patience(notifier, milliseconds(1));
    sent.wait_for(3);
  }
  const std::size_t n = sent.states().size();
  EXPECT_THAT(sent.states(), Each("EXTEND_TIMEOUT_USEC=6000"));
  notifier.alive();
  EXPECT_EQ(sent.states().size(), n + 1);  // nothing came after the end
}

TEST(ServiceStatus, ANoteStandsUntilItIsReplaced) {
  Sent sent;
  const ServiceNotifier notifier = sent.notifier();
  boost::asio::io_context io;
  ServiceStatus status(io, notifier, [] {});
  status.show("Serving 1");
  status.set_note("; not reloaded");
  EXPECT_EQ(status.text(), "Serving 1; not reloaded");
  status.show("Serving 2");
  status.set_note("");
  status.show("Serving 3");
  EXPECT_THAT(sent.states(),
              ElementsAre("STATUS=Serving 1", "STATUS=Serving 2; not reloaded", "STATUS=Serving 3"));
}

TEST(ServiceStatus, AsksOnceForManyChangesAndShowsOnlyNews) {
  Sent sent;
  const ServiceNotifier notifier = sent.notifier();
  boost::asio::io_context io;
  int asked = 0;
  ServiceStatus status(io, notifier, [&] {
    ++asked;
    status.show("Serving 1");
  });
  for (int change = 0; change < 5; ++change) {
    status.touch();
  }
  io.run();
  EXPECT_EQ(asked, 1);
  status.show("Serving 1");
  status.show("Serving 2");
  status.stop();
  status.show("Serving 3");
  status.touch();
  io.restart();
  EXPECT_EQ(io.run(), 0U);
  EXPECT_THAT(sent.states(), ElementsAre("STATUS=Serving 1", "STATUS=Serving 2"));
}

}  // namespace
}  // namespace condensed::daemon
