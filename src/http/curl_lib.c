/* SPDX-License-Identifier: Apache-2.0 */
#include "http/curl_lib.h"

#ifdef CB_LAZY_LIBS
#include "util/lazy.h"

struct cb_curl cb_curl;

#define ROW(name) { "curl_" #name, &cb_curl.name },
static const struct cb_lazy_symbol symbols[] = { CB_CURL_FUNCTIONS(ROW) };
static struct cb_lazy library = CB_LAZY_INIT(CB_CURL_SONAME, symbols);

int cb_curl_load(struct cb_error *err)
{
    return cb_lazy_load(&library, err);
}
#else
int cb_curl_load(CB_UNUSED struct cb_error *err)
{
    return 0;
}
#endif
