// The loops of a decomposition step that torch would spread over many passes through memory (CPU, float32).
//
// Gate: one MLP (1 -> H -> 1, exact GELU) per component on one scalar per row and component.
// Rows are the vector lanes: a block of rows of one component is gathered into a buffer, hidden units are walked over
// with their weights in registers, and nothing of size rows x components x hidden is ever stored.
//
// Phi(u) = 1 - q(u) for u >= 0 and q(|u|) below, with q from Abramowitz and Stegun 7.1.26 (absolute error of erf
// 1.5e-7); its factor exp(-u^2 / 2) is also the density that the derivative of GELU needs.
#include <cstdint>

namespace {

constexpr int kBlock = 256;
constexpr float kInvSqrt2Pi = 0.3989422804014327f;

inline float exp_of_negative(float y) {  // y <= 0
  y = y < -86.0f ? -86.0f : y;
  const float scaled = y * 1.4426950408889634f;
  const float whole = __builtin_rintf(scaled);
  const float f = scaled - whole;
  float p = 1.3333558146e-3f;
  p = p * f + 9.6181291076e-3f;
  p = p * f + 5.5504108665e-2f;
  p = p * f + 2.4022650696e-1f;
  p = p * f + 6.9314718056e-1f;
  p = p * f + 1.0f;
  const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
  return p * __builtin_bit_cast(float, bits);
}

struct Tail {
  float q;     // 1 - Phi(|u|)
  float bell;  // exp(-u^2 / 2)
};

inline Tail tail(float u) {
  const float a = __builtin_fabsf(u);
  const float bell = exp_of_negative(-0.5f * u * u);
  const float t = 1.0f / (1.0f + 0.23164189f * a);  // 0.3275911 / sqrt(2)
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  return {0.5f * p * t * bell, bell};
}

inline int gather(const float* from, int64_t stride, int64_t n_left, float* to) {
  const int n = n_left < kBlock ? static_cast<int>(n_left) : kBlock;
  for (int i = 0; i < n; ++i) to[i] = from[i * stride];
  for (int i = n; i < kBlock; ++i) to[i] = 0.0f;
  return n;
}

}  // namespace

extern "C" void gate_forward(const float* h, const float* w1, const float* b1, const float* w2, const float* b2,
                             float* out, int64_t runs, int64_t rows, int64_t components, int64_t hidden) {
  alignas(64) float x[kBlock];
  alignas(64) float z[kBlock];
  for (int64_t run = 0; run < runs; ++run) {
    for (int64_t start = 0; start < rows; start += kBlock) {  // a block of rows of all components stays in cache
      for (int64_t c = 0; c < components; ++c) {
        const int64_t rc = run * components + c, first = (run * rows + start) * components + c;
        const int n = gather(h + first, components, rows - start, x);
        const int padded = (n + 15) / 16 * 16;
        for (int i = 0; i < padded; ++i) z[i] = b2[rc];
        for (int64_t j = 0; j < hidden; ++j) {
          const float a = w1[rc * hidden + j], b = b1[rc * hidden + j], v = w2[rc * hidden + j];
#pragma omp simd
          for (int i = 0; i < padded; ++i) {
            const float u = a * x[i] + b;
            const Tail t = tail(u);
            const float positive = u > 0.0f ? u : 0.0f;
            z[i] += v * (positive - __builtin_fabsf(u) * t.q);
          }
        }
        for (int i = 0; i < n; ++i) out[first + i * components] = z[i];
      }
    }
  }
}

// The sums over rows (grad_w1, grad_b1, grad_w2, grad_b2) are added to: the caller hands in zeros.
extern "C" void gate_backward(const float* h, const float* w1, const float* b1, const float* w2, const float* grad,
                              float* grad_h, float* grad_w1, float* grad_b1, float* grad_w2, float* grad_b2,
                              int64_t runs, int64_t rows, int64_t components, int64_t hidden) {
  alignas(64) float x[kBlock];
  alignas(64) float g[kBlock];
  alignas(64) float dx[kBlock];
  for (int64_t run = 0; run < runs; ++run) {
    for (int64_t start = 0; start < rows; start += kBlock) {
      for (int64_t c = 0; c < components; ++c) {
        const int64_t rc = run * components + c, first = (run * rows + start) * components + c;
        const int n = gather(h + first, components, rows - start, x);
        gather(grad + first, components, rows - start, g);
        const int padded = (n + 15) / 16 * 16;
        float total = 0.0f;
#pragma omp simd reduction(+ : total)
        for (int i = 0; i < padded; ++i) {
          dx[i] = 0.0f;
          total += g[i];
        }
        grad_b2[rc] += total;
        for (int64_t j = 0; j < hidden; ++j) {
          const float a = w1[rc * hidden + j], b = b1[rc * hidden + j], v = w2[rc * hidden + j];
          float sum_w1 = 0.0f, sum_b1 = 0.0f, sum_w2 = 0.0f;
#pragma omp simd reduction(+ : sum_w1, sum_b1, sum_w2)
          for (int i = 0; i < padded; ++i) {
            const float u = a * x[i] + b;
            const Tail t = tail(u);
            const float positive = u > 0.0f ? u : 0.0f;
            const float cdf = u > 0.0f ? 1.0f - t.q : t.q;
            const float slope = v * (cdf + u * (kInvSqrt2Pi * t.bell));
            const float back = g[i] * slope;
            sum_w2 += g[i] * (positive - __builtin_fabsf(u) * t.q);
            sum_b1 += back;
            sum_w1 += back * x[i];
            dx[i] += a * back;
          }
          grad_w1[rc * hidden + j] += sum_w1;
          grad_b1[rc * hidden + j] += sum_b1;
          grad_w2[rc * hidden + j] += sum_w2;
        }
        for (int i = 0; i < n; ++i) grad_h[first + i * components] = dx[i];
      }
    }
  }
}

// y = h * (ci + (1 - ci) r - share): inner activations under stochastic masks, the share of the delta component taken off.
// h, ci and r are read with a stride between rows; share is one number per row, or null.
extern "C" void masked_forward(const float* h, const float* ci, const float* r, const float* share, float* y, int64_t rows,
                               int64_t columns, int64_t h_stride, int64_t ci_stride, int64_t r_stride) {
  for (int64_t n = 0; n < rows; ++n) {
    const float *hn = h + n * h_stride, *cn = ci + n * ci_stride, *rn = r + n * r_stride;
    const float s = share ? share[n] : 0.0f;
    float* yn = y + n * columns;
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) yn[c] = hn[c] * (cn[c] + (1.0f - cn[c]) * rn[c] - s);
  }
}

extern "C" void masked_backward(const float* grad, const float* h, const float* ci, const float* r, const float* share,
                                float* grad_h, float* grad_ci, int64_t rows, int64_t columns, int64_t h_stride,
                                int64_t ci_stride, int64_t r_stride) {
  for (int64_t n = 0; n < rows; ++n) {
    const float *hn = h + n * h_stride, *cn = ci + n * ci_stride, *rn = r + n * r_stride, *gn = grad + n * columns;
    const float s = share ? share[n] : 0.0f;
    float *dh = grad_h + n * columns, *dc = grad_ci + n * columns;
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      const float rest = 1.0f - rn[c];
      dh[c] = gn[c] * (1.0f - rest * (1.0f - cn[c]) - s);
      dc[c] = gn[c] * hn[c] * rest;
    }
  }
}

// Sums over rows of weight * upper(z) or weight * upper(z)^2, upper being the upper leaky hard sigmoid plus eps.
extern "C" void fired_forward(const float* z, const float* weights, double* sums, int64_t runs, int64_t rows,
                              int64_t components, float eps, int64_t squared) {
  for (int64_t run = 0; run < runs; ++run) {
    for (int64_t n = 0; n < rows; ++n) {
      const float* zn = z + (run * rows + n) * components;
      const float w = weights ? weights[run * rows + n] : 1.0f;
      double* out = sums + run * components;
#pragma omp simd
      for (int64_t c = 0; c < components; ++c) {
        const float x = zn[c];
        const float u = (x > 1.0f ? 1.0f + 0.01f * (x - 1.0f) : (x > 0.0f ? x : 0.0f)) + eps;
        out[c] += static_cast<double>(w * (squared ? u * u : u));
      }
    }
  }
}

extern "C" void fired_backward(const float* z, const float* weights, const float* grad, float* grad_z, int64_t runs,
                               int64_t rows, int64_t components, float eps, int64_t squared) {
  for (int64_t run = 0; run < runs; ++run) {
    for (int64_t n = 0; n < rows; ++n) {
      const int64_t row = run * rows + n;
      const float *zn = z + row * components, *g = grad + run * components;
      const float w = weights ? weights[row] : 1.0f;
      float* out = grad_z + row * components;
#pragma omp simd
      for (int64_t c = 0; c < components; ++c) {
        const float x = zn[c];
        const float u = (x > 1.0f ? 1.0f + 0.01f * (x - 1.0f) : (x > 0.0f ? x : 0.0f)) + eps;
        const float slope = x > 1.0f ? 0.01f : (x > 0.0f && x < 1.0f ? 1.0f : 0.0f);
        out[c] = g[c] * w * slope * (squared ? 2.0f * u : 1.0f);
      }
    }
  }
}

// Backward pass of the lower leaky hard sigmoid: g on (0, 1], 0.01 g at or below 0 (or only where g < 0), 0 above 1.
extern "C" void lower_backward(const float* z, const float* grad, float* grad_z, int64_t n, int64_t only_upwards) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float x = z[i], g = grad[i];
    const float leaked = 0.01f * (only_upwards && g > 0.0f ? 0.0f : g);
    grad_z[i] = x > 1.0f ? 0.0f : (x > 0.0f ? g : leaked);
  }
}
