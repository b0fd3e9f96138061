// Exact GEMM, b = 14: pack both operands block by block, multiply tiles, fold blocks in order.
//
// C = A . B for Z matrices with any strides; C is contiguous. Work is shared between threads by
// panels and tiles; since every tile's result is a function of its operands alone, no schedule can
// show in the bits.

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "gemm.hpp"
#include "library.hpp"

namespace gradproof {
namespace {

constexpr int64_t kBlockBytes = 640 << 10;  // right panels of one unit of work: stays in L2
constexpr int64_t kUnitPanels = 8;          // left panels (16 rows each) of one unit of work

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

// Sixteen lanes from `lane` on: in place where they lie side by side, else gathered, zero-padded.
Panel panel_of(const Variant& v, const Operand& x, int64_t lane, int64_t k, int64_t length, float* buffer) {
  const float* from = x.data + lane * x.lane_stride + k * x.k_stride;
  const int64_t lanes = std::min<int64_t>(kLanes, x.lanes - lane);
  if (x.lane_stride == 1 && lanes == kLanes) return {from, x.k_stride, length};
  if (lanes < kLanes) std::memset(buffer, 0, sizeof(float) * kLanes * length);
  int64_t k0 = 0;
  if (x.k_stride == 1 && lanes == kLanes) k0 = v.gather(from, x.lane_stride, length, buffer);
  for (int64_t start = k0; start < length; start += kLanes) {  // small squares stay in cache
    const int64_t stop = std::min(length, start + kLanes);
    for (int64_t i = 0; i < lanes; ++i)
      for (int64_t j = start; j < stop; ++j)
        buffer[j * kLanes + i] = from[i * x.lane_stride + j * x.k_stride];
  }
  return {buffer, kLanes, length};
}

// One matrix product: operands, sizes, and the packed form of the block at hand.
class Product {
 public:
  Product(const Variant& v, Operand a, Operand b, float* c, int64_t k, int64_t kb)
      : v_(v), a_(a), b_(b), c_(c), k_(k), kb_(std::min(k, kb)) {
    left_panels_ = (a.lanes + kLanes - 1) / kLanes;
    right_panels_ = (b.lanes + kLanes - 1) / kLanes;
    const int64_t groups = (kb_ + v.group - 1) / v.group;
    left_bytes_ = groups * v.left_bytes;
    right_bytes_ = groups * v.right_bytes;
    columns_per_unit_ = std::max<int64_t>(1, kBlockBytes / std::max<int64_t>(1, right_bytes_));
    rows_per_unit_ = kUnitPanels;
  }

  size_t bytes() const {
    return static_cast<size_t>(left_panels_ * (left_bytes_ + kScales + kSums) +
                               right_panels_ * (right_bytes_ + kScales));
  }

  void use(uint8_t* memory) {
    left_ = memory;
    right_ = left_ + left_panels_ * left_bytes_;
    left_scale_ = reinterpret_cast<double*>(right_ + right_panels_ * right_bytes_);
    right_scale_ = left_scale_ + left_panels_ * kLanes;
    sums_ = reinterpret_cast<int32_t*>(right_scale_ + right_panels_ * kLanes);
  }

  // Smaller units when there are few of them for so many threads.
  void share_among(int threads) {
    while (rows_per_unit_ > 1 && units() < 4 * threads) rows_per_unit_ = (rows_per_unit_ + 1) / 2;
    while (columns_per_unit_ > 1 && units() < 2 * threads)
      columns_per_unit_ = (columns_per_unit_ + 1) / 2;
  }

  int64_t blocks() const { return (k_ + kb_ - 1) / kb_; }
  int64_t panels() const { return left_panels_ + right_panels_; }
  int64_t units() const {
    return ((left_panels_ + rows_per_unit_ - 1) / rows_per_unit_) * column_units();
  }

  bool pack(int64_t block, int64_t panel, float* buffer) const {
    const int64_t k = block * kb_, length = std::min(kb_, k_ - k);
    if (panel < left_panels_)
      return v_.pack_left(panel_of(v_, a_, panel * kLanes, k, length, buffer),
                          {left_ + panel * left_bytes_, left_scale_ + panel * kLanes,
                           sums_ + panel * 3 * kLanes});
    panel -= left_panels_;
    return v_.pack_right(panel_of(v_, b_, panel * kLanes, k, length, buffer),
                         {right_ + panel * right_bytes_, right_scale_ + panel * kLanes, nullptr});
  }

  void multiply(int64_t block, int64_t unit) const {
    const int64_t first_row = unit / column_units() * rows_per_unit_ * 2;
    const int64_t last_row = std::min(first_row + rows_per_unit_ * 2, (a_.lanes + 7) / 8);
    const int64_t first = unit % column_units() * columns_per_unit_;
    const int64_t last = std::min(first + columns_per_unit_, right_panels_);
    const int64_t length = std::min(kb_, k_ - block * kb_);
    const int64_t groups = (length + v_.group - 1) / v_.group;
    for (int64_t row = first_row; row < last_row; ++row) {
      const int64_t panel = row / 2, half = row % 2;
      Tile t;
      t.left = left_ + panel * left_bytes_ + half * groups * (v_.left_bytes / 2);
      t.sums = sums_ + panel * 3 * kLanes + half * kRows;
      t.row_scale = left_scale_ + row * kRows;
      t.rows = static_cast<int>(std::min<int64_t>(kRows, a_.lanes - row * kRows));
      t.ldc = b_.lanes;
      t.groups = groups;
      t.fold = block > 0;
      for (int64_t column = first; column < last; ++column) {
        t.right = right_ + column * right_bytes_;
        t.column_scale = right_scale_ + column * kLanes;
        t.columns = static_cast<int>(std::min<int64_t>(kLanes, b_.lanes - column * kLanes));
        t.c = c_ + row * kRows * t.ldc + column * kLanes;
        v_.tile(t);
      }
    }
  }

 private:
  static constexpr int64_t kScales = kLanes * sizeof(double);
  static constexpr int64_t kSums = 3 * kLanes * sizeof(int32_t);

  int64_t column_units() const {
    return (right_panels_ + columns_per_unit_ - 1) / columns_per_unit_;
  }

  const Variant& v_;
  Operand a_, b_;
  float* c_;
  int64_t k_, kb_, left_panels_, right_panels_, left_bytes_, right_bytes_;
  int64_t columns_per_unit_, rows_per_unit_;
  uint8_t *left_ = nullptr, *right_ = nullptr;
  double *left_scale_ = nullptr, *right_scale_ = nullptr;
  int32_t* sums_ = nullptr;
};

constexpr size_t kBufferBytes = sizeof(float) * kLanes * 1024;  // one gathered panel

int multiply_alone(Product& p) {
  uint8_t* memory = workspace.at_least(kBufferBytes + p.bytes());
  if (!memory) return kNoMemory;
  p.use(memory + kBufferBytes);
  bool finite = true;
  for (int64_t block = 0; block < p.blocks(); ++block) {
    for (int64_t i = 0; i < p.panels(); ++i)
      finite &= p.pack(block, i, reinterpret_cast<float*>(memory));
    for (int64_t i = 0; i < p.units(); ++i) p.multiply(block, i);
  }
  return finite ? kDone : kNonFinite;
}

int multiply_together(Product& p, int threads) {
  uint8_t* memory = workspace.at_least(p.bytes() + static_cast<size_t>(threads) * kBufferBytes);
  if (!memory) return kNoMemory;
  p.use(memory + static_cast<size_t>(threads) * kBufferBytes);
  p.share_among(threads);
  std::atomic<bool> finite{true};
#pragma omp parallel num_threads(threads)
  {
    float* buffer = reinterpret_cast<float*>(
        memory + static_cast<size_t>(omp_get_thread_num()) * kBufferBytes);
    for (int64_t block = 0; block < p.blocks(); ++block) {
#pragma omp for schedule(dynamic, 4)
      for (int64_t i = 0; i < p.panels(); ++i)
        if (!p.pack(block, i, buffer)) finite = false;
#pragma omp for schedule(dynamic, 1)
      for (int64_t i = 0; i < p.units(); ++i) p.multiply(block, i);
    }
  }
  return finite ? kDone : kNonFinite;
}

const Variant& variant(int level) {
#if defined(__x86_64__)
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
// (Z, M, N, K, kb), kb <= 1024; strides count elements, (z, m, k) and (z, k, n).
extern "C" int gradproof_gemm(int level, int threads, const int64_t* shape, const float* a,
                              const int64_t* a_strides, const float* b, const int64_t* b_strides,
                              float* c) {
  const int64_t z = shape[0], m = shape[1], n = shape[2], k = shape[3], kb = shape[4];
  const Variant& v = variant(level);
  const auto product = [&](int64_t i) {
    return Product(v, {a + i * a_strides[0], a_strides[1], a_strides[2], m},
                   {b + i * b_strides[0], b_strides[2], b_strides[1], n}, c + i * m * n, k, kb);
  };
  std::atomic<int> status{kDone};
  const bool small = m * n * k < (int64_t{1} << 15);
  if (z < 2 * threads && !small && threads > 1) {
    for (int64_t i = 0; i < z; ++i) {
      Product p = product(i);
      const int s = multiply_together(p, threads);
      if (s != kDone) status = s;
    }
    return status;
  }
  const int team = z < 2 * threads ? 1 : threads;
#pragma omp parallel for num_threads(team) schedule(dynamic, 1) if (team > 1)
  for (int64_t i = 0; i < z; ++i) {
    Product p = product(i);
    const int s = multiply_alone(p);
    if (s != kDone) status = s;
  }
  return status;
}
