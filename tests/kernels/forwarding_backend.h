#pragma once

#include <memory>
#include <utility>

#include "kernels/backend.h"

namespace condensed::kernels::test {

/// Passes everything on to another backend, so that tests can watch or break single operations: before() is
/// called first by each that computes or moves numbers.
class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string_view name() const override { return inner_->name(); }
  Memory allocate(std::size_t bytes) override {
    before("allocate");
    return inner_->allocate(bytes);
  }
  std::size_t reserve(std::size_t bytes) override {
    before("reserve");
    return inner_->reserve(bytes);
  }
  void upload(std::span<const std::byte> host, std::span<std::byte> device) override {
    before("upload");
    inner_->upload(host, device);
  }
  void download(std::span<const std::byte> device, std::span<std::byte> host) override {
    before("download");
    inner_->download(device, host);
  }
  std::unique_ptr<Matrix> load_matrix(const MatrixView& view) override {
    before("load_matrix");
    return inner_->load_matrix(view);
  }
  void embed(const Matrix& table, std::span<const std::int32_t> tokens, std::span<double> out) override {
    before("embed");
    inner_->embed(table, tokens, out);
  }
  void rms_norm(std::span<const double> x, std::span<const float> weight, float epsilon,
                std::span<float> out) override {
    before("rms_norm");
    inner_->rms_norm(x, weight, epsilon, out);
  }
  void matmul(const Matrix& weight, std::span<const float> x, std::span<float> out) override {
    before("matmul");
    inner_->matmul(weight, x, out);
  }
  void matmul_add(const Matrix& weight, std::span<const float> x, std::span<double> out) override {
    before("matmul_add");
    inner_->matmul_add(weight, x, out);
  }
  void rotate(std::span<const float> x, std::span<const float> angles, int head_dim,
              std::span<float> out) override {
    before("rotate");
    inner_->rotate(x, angles, head_dim, out);
  }
  void attend(const AttentionShape& shape, std::span<const float> queries_stream,
              std::span<const float> queries_sink, std::span<const KvRun> runs,
              std::span<const std::int32_t> run_begin, std::span<float> out) override {
    before("attend");
    inner_->attend(shape, queries_stream, queries_sink, runs, run_begin, out);
  }
  void swiglu(const Matrix& gate, const Matrix& up, std::span<const float> x, std::span<float> out) override {
    before("swiglu");
    inner_->swiglu(gate, up, x, out);
  }
  void store_kv(std::span<const float> keys, std::span<const float> values, int n_kv_heads, int head_dim,
                DType dtype, std::span<const KvSlot> slots) override {
    before("store_kv");
    inner_->store_kv(keys, values, n_kv_heads, head_dim, dtype, slots);
  }
  void copy(std::span<const float> from, std::span<float> to) override {
    before("copy");
    inner_->copy(from, to);
  }
  void copy(std::span<const double> from, std::span<double> to) override {
    before("copy");
    inner_->copy(from, to);
  }
  void fill_zero(std::span<float> x) override {
    before("fill_zero");
    inner_->fill_zero(x);
  }
  void begin_step(std::int64_t rows) override {
    before("begin_step");
    inner_->begin_step(rows);
  }
  void end_step() override {
    before("end_step");
    inner_->end_step();
  }
  void abandon_step() noexcept override { inner_->abandon_step(); }
  bool step_untouched() const noexcept override { return inner_->step_untouched(); }
  void keep_layout(std::int64_t rows) noexcept override { inner_->keep_layout(rows); }
  int warm_up_steps() const override { return inner_->warm_up_steps(); }
  void raise_to_difference(std::span<const float> a, std::span<const float> b,
                           std::span<float> largest) override {
    before("raise_to_difference");
    inner_->raise_to_difference(a, b, largest);
  }
  void choose_tokens(std::span<float> logits, std::span<const TokenChoice> choices,
                     std::span<std::int32_t> tokens) override {
    before("choose_tokens");
    inner_->choose_tokens(logits, choices, tokens);
  }
  float max_abs_difference(std::span<const float> a, std::span<const float> b) override {
    before("max_abs_difference");
    return inner_->max_abs_difference(a, b);
  }

 protected:
  virtual void before(std::string_view /*operation*/) {}

 private:
  /// Nothing is allocated here: what the inner backend hands out goes back to it.
  void release(std::byte* /*data*/) noexcept override {}

  std::unique_ptr<Backend> inner_;
};

}  // namespace condensed::kernels::test
