/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/archive_lib.h"

#include "util/lazy.h"

#ifdef CB_LAZY_LIBS
struct cb_archive cb_archive;
#define ROW(name) { "archive_" #name, &cb_archive.name },
#endif
CB_LAZY_LIBRARY(cb_archive_load, CB_ARCHIVE_SONAME, CB_ARCHIVE_FUNCTIONS(ROW))
