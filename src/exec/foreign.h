/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Programs of other architectures: inside of exec. */

#include <stddef.h>

#include "util/strbuf.h"

/* The smallest program of that architecture: it ends with status 0. False: none is known. */
bool cb_foreign_program(const char *arch, struct cb_strbuf *out);
/* For the doctor: "linux/386, linux/arm64", those that run here besides the machine's own; "" if none. */
void cb_foreign_list(int work_dir_fd, struct cb_strbuf *out);
