#ifndef AEC_LIBC_MATH_H
#define AEC_LIBC_MATH_H

float ldexpf(float, int);
double exp2(double);
double ldexp(double, int);
/* Instructions. */
#define sqrtf __builtin_sqrtf
#define fabs __builtin_fabs
#define isfinite __builtin_isfinite
#define floor __builtin_floor
#define nearbyint __builtin_nearbyint
#define fmax(a, b) ((a) > (b) ? (a) : (b))
#define HUGE_VAL __builtin_huge_val()

#endif
