// What every kernel is told, what kernels leave for the next, and what the host reads of a frame.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define BLOCK 256       // threads of every block
#define STRIP 8         // rows that a thread takes at once: so many loads are under way together
#define SAMPLES 1024    // grid points at most that the plane's candidates are made from and voted on by
#define TEAM 32         // threads that count one candidate's votes
#define TOP 2048        // bins of the radix selection: the upper 11 bits of a height's key, the middle 11, the lower 10
#define BOTTOM 1024
#define CHUNK 512       // columns that a block of the fastai resize stages at once
#define COLLINEAR 1e-6
#define FLAT 1e-9
#define COVERED 0.499f  // an output pixel less covered by valid ones is no data
#define FASTAI_BITS 22
#define FASTAI_HALF (1 << (FASTAI_BITS - 1))

#define NO_DATA __int_as_float(0x7fc00000)
#define LARGEST 3.402823466e38f

enum Kind { GRAYS, STEPS, FLOATS, CLOUD, HEIGHTS };  // u8, u16, f32, f32 x y z, and heights kept from an earlier pass
enum Window { GIVEN, NOTHING_VALID, CONSTANT };      // what became of a percentile window
enum Sum { N, X, Y, XX, XY, YY, Q, XQ, YQ, SUMS };

// What an earlier kernel of the same frame found out; all zero when a frame begins.
struct State {
  u64 best;             // votes << 32 | ~index of the candidate with the most votes, the earliest among equals; 0 without any
  u64 sums[SUMS];       // over the pixels near the plane, two's complement
  double plane[3], part[2], lowest;
  u32 done;             // blocks of the present kernel that have finished
  u32 bad;              // points that are neither missing nor finite
  u32 samples, planeless;
  u32 window;           // enum Window
  u32 prefix[2], rank[2], further[2];  // of the two order statistics: the key's bits so far, the rank below them, 1 where the next one counts too
  u32 above[2];         // ~ of the smallest key beyond the prefix
  u32 source[3], seen[3];              // struct Contrast of the source's grays and of what the network sees
  float low, factor;
  u8 table[256];        // gray to gray, of a percentile window on u8 frames
  u32 top[TOP], middle[2][TOP], bottom[2][BOTTOM];
};

// What the host reads of a frame; the ticket is written last.
struct Result {
  double plane[3], lowest;
  float low, factor;
  u32 bad, samples, planeless, window;
  u32 darkest, brightest, valid;       // of the grays that are not 0, before the resize
  u32 seen_darkest, seen_brightest;    // after it (fastai's resizes only)
  u32 ticket;
};

// One line (row or column) of the resized image: the source lines it is made of, and those it counts for the contrast.
struct Line { int first, count, own, until; };

// Everything a kernel is told; cuda_layout.py keeps the same layout.
struct Job {
  const void *raw;      // what `kind` says: the frame as it came, or heights kept from an earlier pass
  float *z;             // rows x cols heights in mm, NaN is no data: where this job keeps them
  u32 *keys;            // rows x cols keys of the heights that fell into the cells of a grid, 0 is empty
  float *filled;        // the same after filling gaps along the rows
  float *across, *down; // the plane's summands: cols and rows
  State *state;
  Result *result;
  u8 *narrow;           // rows x out_cols of the fastai resize: resized along the rows only
  u8 *out;              // height x width: what the network reads
  const u32 *draws;     // 3 x iterations
  const Line *line_x, *line_y;
  const void *weight_x, *weight_y;     // f32 (letterbox) or i32 (fastai), taps x lines
  double inlier, quantum, percent[2];  // mm; mm of one step of a residual; percentiles as fractions
  int kind, rows, cols, points;
  int check;            // count what is not finite: set for the first pass over the frame
  int count;            // make the first histogram
  int keep;             // write z
  int flat;             // the plane is subtracted from what is read
  int percentile;
  int missing_step;     // u16: the value of missing points, or -1
  int nan_missing;
  int max_gap;
  int first_x, first_y, step_x, step_y, samples_x, samples_y, iterations;
  int out_rows, out_cols, top, left, width, tile;
  u32 ticket;
  float scale, offset, no_data;
  float x0, y0, per_x, per_y;
  float limit, near, steps;            // outliers; the plane's inlier; steps of a residual per mm
  float low, factor;    // of a window in mm
};
