/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Included by the compiler into every file of ours (-include); turns functions that have a better form here into
 * errors. Rule R25. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A macro of the C library, which cannot be poisoned as such. */
#undef alloca

#undef sprintf
#undef vsprintf
#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef stpcpy
#undef gets
#pragma GCC poison strcpy strcat strncpy strncat stpcpy sprintf vsprintf gets strtok strtok_r
#pragma GCC poison system popen tmpnam tempnam mktemp tmpfile alloca
#pragma GCC poison atoi atol atoll atof asctime ctime
#pragma GCC poison realpath getwd chdir
