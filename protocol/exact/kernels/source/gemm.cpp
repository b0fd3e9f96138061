// Exact GEMM: pack both operands, multiply tiles, fold blocks of k in ascending order.
//
// C = A . B for Z matrices with any strides; C is contiguous. Work is shared between threads by
// panels and tiles; since every tile's result is a function of its operands alone, no schedule can
// show in the bits.

#include "gemm.hpp"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "library.hpp"

namespace gradproof {
namespace {

constexpr int64_t kCacheBytes = 640 << 10;  // right panels of one unit of work: stays in L2
constexpr int64_t kUnitPanels = 16;         // left panels of one unit of work

// Grow-only memory of one thread, so that large products do not fault in fresh pages each time.
struct Workspace {
  uint8_t* bytes = nullptr;
  size_t size = 0;
  ~Workspace() { std::free(bytes); }
  uint8_t* at_least(size_t wanted) {
    wanted = (wanted + 4095) & ~static_cast<size_t>(4095);
    if (wanted > size) {
      std::free(bytes);
      bytes = static_cast<uint8_t*>(std::aligned_alloc(4096, wanted));
      size = bytes ? wanted : 0;
    }
    return bytes;
  }
};

thread_local Workspace workspace;

// One operand: `lane` counts rows of A or columns of B.
struct Operand {
  const float* data;
  int64_t lane_stride, k_stride, lanes;
};

// One operand packed: its panels block by block, then their scales.
class Side {
 public:
  Side(const Variant& v, const Rounding& r, bool right, Operand x, int64_t k, int64_t kb)
      : x_(x), r_(r), k_(k), kb_(kb), pack_(right ? v.pack_right : v.pack_left),
        norms_(v.norms), right_(right) {
    const int planes = (right ? v.right_planes : v.left_planes)[r.bits == 16];
    panels_ = (x.lanes + kLanes - 1) / kLanes;
    panel_bytes_ = steps_of(kb, v.step) * planes * kPlane;
    blocks_ = (k + kb - 1) / kb;
  }

  size_t bytes() const {
    return static_cast<size_t>(tasks() * (panel_bytes_ + kScaleBytes + kNormBytes));
  }

  uint8_t* use(uint8_t* memory) {
    packed_ = memory;
    scale_ = reinterpret_cast<double*>(memory + tasks() * panel_bytes_);
    norm_ = reinterpret_cast<uint32_t*>(memory + tasks() * (panel_bytes_ + kScaleBytes));
    return memory + bytes();
  }

  int64_t panels() const { return panels_; }
  int64_t panel_bytes() const { return panel_bytes_; }
  int64_t tasks() const { return panels_ * blocks_; }

  bool pack(int64_t task) const {
    const int64_t block = task / panels_, lane = task % panels_ * kLanes, k = block * kb_;
    const int lanes = static_cast<int>(std::min<int64_t>(kLanes, x_.lanes - lane));
    const Panel panel = {x_.data + lane * x_.lane_stride + k * x_.k_stride, x_.lane_stride,
                         x_.k_stride, lanes, std::min(kb_, k_ - k)};
    uint8_t* packed = packed_ + task * panel_bytes_;
    const bool finite = pack_(panel, r_, packed, scale_ + task * kLanes);
    if (finite && norms_)
      norms_(packed, panel.length, right_, r_.bits, norm_ + task * kNormWords);
    return finite;
  }

  const uint8_t* panel(int64_t block, int64_t panel) const {
    return packed_ + (block * panels_ + panel) * panel_bytes_;
  }
  const double* scales(int64_t block, int64_t panel) const {
    return scale_ + (block * panels_ + panel) * kLanes;
  }
  const uint32_t* norms(int64_t block, int64_t panel) const {
    return norms_ ? norm_ + (block * panels_ + panel) * kNormWords : nullptr;
  }

 private:
  static constexpr int64_t kScaleBytes = kLanes * sizeof(double);
  static constexpr int64_t kNormWords = 16;  // nine used: what follows stays aligned
  static constexpr int64_t kNormBytes = kNormWords * sizeof(uint32_t);

  Operand x_;
  Rounding r_;
  int64_t k_, kb_, panels_, panel_bytes_, blocks_;
  Pack pack_;
  Norms norms_;
  bool right_;
  uint8_t* packed_ = nullptr;
  double* scale_ = nullptr;
  uint32_t* norm_ = nullptr;
};

// One matrix product.
class Product {
 public:
  Product(const Variant& v, const Rounding& r, Operand a, Operand b, float* c, int64_t k, int64_t kb)
      : v_(v), r_(r), c_(c), rows_(a.lanes), columns_(b.lanes), k_(k), kb_(std::min(k, kb)),
        left_(v, r, false, a, k, kb_), right_(v, r, true, b, k, kb_) {
    const int64_t pairs = (right_.panels() + 1) / 2;
    unit_pairs_ = std::clamp<int64_t>(kCacheBytes / (2 * right_.panel_bytes()), 1, pairs);
  }

  size_t bytes() const { return left_.bytes() + right_.bytes(); }
  void use(uint8_t* memory) { right_.use(left_.use(memory)); }

  // Smaller units when there are few of them for so many threads: the last one is waited for.
  void share_among(int threads) {
    while (unit_panels_ > 1 && units() < 16 * threads) unit_panels_ = (unit_panels_ + 1) / 2;
    while (unit_pairs_ > 1 && units() < 2 * threads) unit_pairs_ = (unit_pairs_ + 1) / 2;
  }

  int64_t packs() const { return left_.tasks() + right_.tasks(); }
  bool pack(int64_t task) const {
    return task < left_.tasks() ? left_.pack(task) : right_.pack(task - left_.tasks());
  }

  int64_t units() const {
    return ((left_.panels() + unit_panels_ - 1) / unit_panels_) * column_units();
  }

  void multiply(int64_t unit) const {
    const int64_t first_row = unit / column_units() * unit_panels_;
    const int64_t last_row = std::min(first_row + unit_panels_, left_.panels());
    const int64_t first = unit % column_units() * unit_pairs_ * 2;
    const int64_t last = std::min(first + unit_pairs_ * 2, right_.panels());
    for (int64_t k = 0, block = 0; k < k_; k += kb_, ++block)
      for (int64_t row = first_row; row < last_row; ++row)
        for (int64_t column = first; column < last; column += 2) multiply(block, row, column);
  }

 private:
  int64_t column_units() const {
    return (right_.panels() + 2 * unit_pairs_ - 1) / (2 * unit_pairs_);
  }

  void multiply(int64_t block, int64_t row, int64_t column) const {
    Tile t;
    t.left = left_.panel(block, row);
    t.right[0] = right_.panel(block, column);
    t.right[1] = column + 1 < right_.panels() ? right_.panel(block, column + 1) : nullptr;
    t.left_norm = left_.norms(block, row);
    t.right_norm[0] = right_.norms(block, column);
    t.right_norm[1] = right_.norms(block, t.right[1] ? column + 1 : column);
    t.row_scale = left_.scales(block, row);
    t.column_scale = right_.scales(block, column);
    t.c = c_ + row * kLanes * columns_ + column * kLanes;
    t.ldc = columns_;
    t.length = std::min(kb_, k_ - block * kb_);
    t.rows = static_cast<int>(std::min<int64_t>(kLanes, rows_ - row * kLanes));
    t.columns = static_cast<int>(std::min<int64_t>(kTileColumns, columns_ - column * kLanes));
    t.bits = r_.bits;
    t.fold = block > 0;
    v_.multiply(t);
  }

  const Variant& v_;
  Rounding r_;
  float* c_;
  int64_t rows_, columns_, k_, kb_;
  Side left_, right_;
  int64_t unit_panels_ = kUnitPanels, unit_pairs_ = 1;
};

int multiply_alone(Product& p) {
  uint8_t* memory = workspace.at_least(p.bytes());
  if (!memory) return kNoMemory;
  p.use(memory);
  for (int64_t i = 0; i < p.packs(); ++i)
    if (!p.pack(i)) return kNonFinite;
  for (int64_t i = 0; i < p.units(); ++i) p.multiply(i);
  return kDone;
}

int multiply_together(const Variant& v, Product& p, int threads) {
  uint8_t* memory = workspace.at_least(p.bytes());
  if (!memory) return kNoMemory;
  p.use(memory);
  p.share_among(threads);
  std::atomic<bool> finite{true};
#pragma omp parallel num_threads(threads)
  {
    if (v.enter) v.enter();
#pragma omp for schedule(dynamic, 8)
    for (int64_t i = 0; i < p.packs(); ++i)
      if (!p.pack(i)) finite = false;
    if (finite) {
#pragma omp for schedule(dynamic, 1)
      for (int64_t i = 0; i < p.units(); ++i) p.multiply(i);
    }
    if (v.leave) v.leave();
  }
  return finite ? kDone : kNonFinite;
}

const Variant& variant(int level) {
#if defined(__x86_64__)
  if (level >= kLevelAmx) return kAmx;
  if (level >= kLevelVnni) return kVnni;
  if (level >= kLevelAvx2) return kAvx2;
#endif
  (void)level;
  return kScalar;
}

}  // namespace
}  // namespace gradproof

using namespace gradproof;

// Z products [M, K] . [K, N] at the instruction level `level` <= gradproof_level(). `shape` is
// (Z, M, N, K, kb, b), kb <= 1024; strides count elements, (z, m, k) and (z, k, n), and each
// operand has a stride of 1 along one axis of its matrices.
extern "C" int gradproof_gemm(int level, int threads, const int64_t* shape, const float* a,
                              const int64_t* a_strides, const float* b, const int64_t* b_strides,
                              float* c) {
  const int64_t z = shape[0], m = shape[1], n = shape[2], k = shape[3], kb = shape[4];
  const Rounding r = {static_cast<int>(shape[5]), shape[5] == 16 ? 0x10100 : 0};
  const Variant& v = variant(level);
  const auto product = [&](int64_t i) {
    return Product(v, r, {a + i * a_strides[0], a_strides[1], a_strides[2], m},
                   {b + i * b_strides[0], b_strides[2], b_strides[1], n}, c + i * m * n, k, kb);
  };
  std::atomic<int> status{kDone};
  const bool small = m * n * k < (int64_t{1} << 15);
  if (z < 2 * threads && !small && threads > 1) {
    for (int64_t i = 0; i < z; ++i) {
      Product p = product(i);
      const int s = multiply_together(v, p, threads);
      if (s != kDone) status = s;
    }
    return status;
  }
  const int team = z < 2 * threads ? 1 : threads;
#pragma omp parallel num_threads(team) if (team > 1)
  {
    if (v.enter) v.enter();
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < z; ++i) {
      Product p = product(i);
      const int s = multiply_alone(p);
      if (s != kDone) status = s;
    }
    if (v.leave) v.leave();
  }
  return status;
}
