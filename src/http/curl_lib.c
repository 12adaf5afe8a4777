/* SPDX-License-Identifier: Apache-2.0 */
#include "http/curl_lib.h"

#include "util/lazy.h"

#ifdef CB_LAZY_LIBS
struct cb_curl cb_curl;
#define ROW(name) { "curl_" #name, &cb_curl.name },
#endif
CB_LAZY_LIBRARY(cb_curl_load, CB_CURL_SONAME, CB_CURL_FUNCTIONS(ROW))
