#include "daemon/requests.h"

#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/events.h"
#include "daemon/line_splitter.h"

namespace condensed::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename Op>
Op parsed(std::string_view line) {
  auto result = parse_request(line);
  if (const auto* error = std::get_if<RequestError>(&result)) {
    ADD_FAILURE() << line << ": " << error->message;
    return {};
  }
  return std::get<Op>(std::get<Request>(std::move(result)).operation);
}

RequestError refused(std::string_view line) {
  auto result = parse_request(line);
  if (std::holds_alternative<Request>(result)) {
    ADD_FAILURE() << "accepted: " << line;
    return {};
  }
  return std::get<RequestError>(std::move(result));
}

TEST(Requests, GenerateTakesEveryOption) {
  const auto op = parsed<GenerateOp>(
      R"({"op":"generate","session":"a","max_tokens":5,"ignore_eos":true,"temperature":0.5,"top_k":7,"top_p":0.9,)"
      R"("min_p":0.1,"repetition_penalty":1.2,"presence_penalty":-1,"frequency_penalty":2,"penalty_window":32,)"
      R"("seed":9,"stop":["x","yz"],"logprobs":3,"logit_bias":{"5":-1.5}})");
  const engine::GenerateRequest& request = op.generate;
  EXPECT_EQ(request.session.name, "a");
  EXPECT_EQ(request.max_tokens, 5);
  EXPECT_TRUE(request.ignore_eos);
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.top_k, 7);
  EXPECT_EQ(request.sampling.top_p, 0.9);
  EXPECT_EQ(request.sampling.min_p, 0.1);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.2);
  EXPECT_EQ(request.sampling.presence_penalty, -1);
  EXPECT_EQ(request.sampling.frequency_penalty, 2);
  EXPECT_EQ(request.sampling.penalty_window, 32);
  EXPECT_EQ(request.sampling.seed, 9U);
  EXPECT_THAT(request.stop, ElementsAre("x", "yz"));
  EXPECT_EQ(request.n_logprobs, 3);
  EXPECT_THAT(request.sampling.logit_bias, ElementsAre(std::pair(5, -1.5F)));
}

TEST(Requests, DetachingAndComingBack) {
  EXPECT_TRUE(parsed<GenerateOp>(R"({"op":"generate","session":"a","detached":true})").detached);
  EXPECT_FALSE(parsed<GenerateOp>(R"({"op":"generate","session":"a"})").detached);
  EXPECT_THAT(refused(R"({"op":"generate","session":"a","detached":1})").message, HasSubstr("detached"));
  EXPECT_EQ(parsed<AttachOp>(R"({"op":"attach","session":"a","from_position":7})").from_position, 7);
  EXPECT_FALSE(parsed<AttachOp>(R"({"op":"attach","session":"a"})").from_position);
  EXPECT_THAT(refused(R"({"op":"attach","session":"a","from_position":-1})").message,
              HasSubstr("from_position"));
}

TEST(Requests, AccountsAreAskedForInMilliseconds) {
  EXPECT_FALSE(parsed<GenerateOp>(R"({"op":"generate","session":"a"})").generate.account_above);
  EXPECT_EQ(
      parsed<GenerateOp>(R"({"op":"generate","session":"a","account_above_ms":0.25})").generate.account_above,
      std::chrono::microseconds(250));
  EXPECT_EQ(
      parsed<GenerateOp>(R"({"op":"generate","session":"a","account_above_ms":0})").generate.account_above,
      std::chrono::nanoseconds(0));
  for (const char* wrong : {"-1", "true", "\"20\"", "null", "86400001", "1e300"}) {
    const std::string line =
        R"({"op":"generate","session":"a","account_above_ms":)" + std::string(wrong) + "}";
    EXPECT_EQ(refused(line).code, "bad_request");
    EXPECT_THAT(refused(line).message,
                HasSubstr("\"account_above_ms\": expected a number from 0 to 8.64e+07"));
  }
}

TEST(Requests, ResumingTakesNoOtherOptions) {
  const auto op = parsed<GenerateOp>(R"({"op":"generate","session":"a","resume":true,"detached":true})");
  EXPECT_TRUE(op.generate.resume);
  EXPECT_TRUE(op.detached);
  EXPECT_FALSE(
      parsed<GenerateOp>(R"({"op":"generate","session":"a","resume":false,"top_k":1})").generate.resume);
  EXPECT_EQ(parsed<GenerateOp>(R"({"op":"generate","session":"a","resume":true,"account_above_ms":2})")
                .generate.account_above,
            std::chrono::milliseconds(2));
  EXPECT_THAT(refused(R"({"op":"generate","session":"a","resume":true,"top_k":1})").message,
              HasSubstr("unknown key \"top_k\""));
}

TEST(Requests, KeepingCopyingAndMoving) {
  EXPECT_EQ(parsed<SaveOp>(R"({"op":"save","session":"a"})").session, "a");
  EXPECT_EQ(parsed<ForkOp>(R"({"op":"fork","session":"a"})").as, "");
  EXPECT_EQ(parsed<ForkOp>(R"({"op":"fork","session":"a","as":"b"})").as, "b");
  const auto rename = parsed<RenameOp>(R"({"op":"rename","session":"a","to":"b"})");
  EXPECT_EQ(rename.session, "a");
  EXPECT_EQ(rename.to, "b");
  EXPECT_EQ(parsed<UndoOp>(R"({"op":"undo","session":"a","tokens":3})").tokens, 3);
  EXPECT_EQ(parsed<ExportOp>(R"({"op":"export","session":"a"})").session, "a");
  const auto part = parsed<ImportOp>(R"({"op":"import","data":"/wA=","more":true})");
  EXPECT_EQ(part.session, "");
  EXPECT_THAT(part.part, ElementsAre(std::byte{0xFF}, std::byte{0}));
  EXPECT_TRUE(part.more);
  const auto last = parsed<ImportOp>(R"({"op":"import","session":"a","data":""})");
  EXPECT_EQ(last.session, "a");
  EXPECT_TRUE(last.part.empty());
  EXPECT_FALSE(last.more);
}

TEST(Requests, AnyOfThemMayNameAUser) {
  const auto user_of = [](std::string_view line) { return std::get<Request>(parse_request(line)).user; };
  EXPECT_EQ(user_of(R"({"op":"ping"})"), std::nullopt);
  EXPECT_EQ(user_of(R"({"op":"stat","session":"a","user":"alice"})"), "alice");
  EXPECT_EQ(user_of(R"({"op":"list","user":"*"})"), "*");
  EXPECT_EQ(user_of(R"({"op":"open","user":1000})"), "1000");
  EXPECT_EQ(user_of(R"({"op":"open","user":1000.0})"), "1000");
}

TEST(Requests, WhatIsLeftOutHasTheDocumentedDefault) {
  const auto op = parsed<GenerateOp>(R"({"op":"generate","session":"a"})");
  EXPECT_FALSE(op.generate.max_tokens);
  EXPECT_FALSE(op.generate.ignore_eos);
  EXPECT_EQ(op.generate.sampling.temperature, 1);
  EXPECT_EQ(op.generate.sampling.penalty_window, 64);
  EXPECT_FALSE(op.generate.sampling.seed);
  EXPECT_LT(op.generate.n_logprobs, 0);
  const auto open = parsed<OpenOp>(R"({"op":"open"})");
  EXPECT_EQ(open.open.session.name, "");
  EXPECT_TRUE(open.open.bos);
  EXPECT_FALSE(open.open.sinks);
  EXPECT_FALSE(open.open.input);
}

TEST(Requests, InputIsTextOrTokens) {
  EXPECT_EQ(
      std::get<std::string>(parsed<AppendOp>(R"({"op":"append","session":"a","text":"x\u00e9"})").input),
      "x\xC3\xA9");
  EXPECT_THAT(std::get<1>(parsed<AppendOp>(R"({"op":"append","session":"a","tokens":[1,2.0,3]})").input),
              ElementsAre(1, 2, 3));
  EXPECT_THAT(refused(R"({"op":"append","session":"a"})").message, HasSubstr("text"));
  EXPECT_THAT(refused(R"({"op":"append","session":"a","text":"x","tokens":[1]})").message, HasSubstr("both"));
  EXPECT_THAT(refused(R"({"op":"append","session":"a","text":"\ud800"})").code, "bad_json");
}

TEST(Requests, TheIdComesBackAsItWas) {
  EXPECT_EQ(std::get<Request>(parse_request(R"({"op":"ping","id":"a\"b"})")).id, R"("a\"b")");
  EXPECT_EQ(std::get<Request>(parse_request(R"({"op":"ping","id":7})")).id, "7");
  EXPECT_EQ(refused(R"({"op":"nothing","id":7})").id, "7");
  EXPECT_EQ(with_id(pong_event(), "7"), "{\"id\":7,\"event\":\"pong\"}\n");
  EXPECT_EQ(with_id(pong_event(), ""), "{\"event\":\"pong\"}\n");
}

TEST(Requests, ErrorsHaveTheirCode) {
  EXPECT_EQ(refused("").code, "bad_json");
  EXPECT_EQ(refused("[]").code, "bad_json");
  EXPECT_EQ(refused("{").code, "bad_json");
  EXPECT_EQ(refused("{\"op\":\"\xff\"}").code, "invalid_utf8");
  EXPECT_EQ(refused("{}").code, "unknown_op");
  EXPECT_EQ(refused(R"({"op":5})").code, "unknown_op");
  EXPECT_EQ(refused(R"({"op":"ping","extra":1})").code, "bad_request");
  EXPECT_THAT(refused(R"({"op":"ping","extra":1})").message, HasSubstr("extra"));
  EXPECT_THAT(refused(R"({"op":"generate","session":"a","top_p":2})").message, HasSubstr("top_p"));
  EXPECT_THAT(refused(R"({"op":"generate","session":"a/b"})").message, HasSubstr("session"));
}

std::vector<std::string> split(std::size_t limit, std::initializer_list<std::string_view> parts) {
  LineSplitter splitter(limit);
  std::vector<std::string> lines;
  for (std::string_view part : parts) {
    while (true) {
      const LineSplitter::Found found = splitter.next(part);
      if (found == LineSplitter::Found::nothing) break;
      lines.emplace_back(found == LineSplitter::Found::line ? splitter.line() : "<too long>");
    }
  }
  return lines;
}

TEST(LineSplitter, CutsLinesWhereverTheBytesAreCut) {
  EXPECT_THAT(split(10, {"ab", "c\nde", "f\r\n\n", "g"}), ElementsAre("abc", "def", ""));
  EXPECT_THAT(split(3, {"abc\nabcd\nabc\n"}), ElementsAre("abc", "<too long>", "abc"));
  EXPECT_THAT(split(3, {"ab", "cd", "efgh", "\nx\n"}), ElementsAre("<too long>", "x"));
}

}  // namespace
}  // namespace condensed::daemon
