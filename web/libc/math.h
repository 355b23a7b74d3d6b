#ifndef AEC_LIBC_MATH_H
#define AEC_LIBC_MATH_H

float expf(float);
float exp2f(float);
float ldexpf(float, int);
#define sqrtf __builtin_sqrtf /* an instruction */

#endif
