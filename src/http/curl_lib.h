/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* libcurl, loaded with the first request (util/lazy.h). What is used of it is listed here. */

#include <curl/curl.h>

#include "util/error.h"

/* Before anything else of it; cheap. -CB_ELOCAL where it is not there. */
int cb_curl_load(struct cb_error *err) CB_WUR;

#ifdef CB_LAZY_LIBS
#define CB_CURL_FUNCTIONS(X)                                                                                           \
    X(easy_cleanup) X(easy_getinfo) X(easy_init) X(easy_pause) X(easy_setopt) X(easy_strerror) X(global_init)          \
    X(multi_add_handle) X(multi_cleanup) X(multi_info_read) X(multi_init) X(multi_perform) X(multi_poll)               \
    X(multi_remove_handle) X(multi_setopt) X(multi_wakeup) X(share_cleanup) X(share_init) X(share_setopt)              \
    X(slist_append) X(slist_free_all) X(version) X(version_info)
struct cb_curl {
#define CB_LAZY_FIELD(name) __typeof__(curl_##name) *name;
    CB_CURL_FUNCTIONS(CB_LAZY_FIELD)
#undef CB_LAZY_FIELD
};
extern struct cb_curl cb_curl;
/* Macros of libcurl that check types, around functions that are not there. */
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt
#undef curl_share_setopt
#define curl_easy_cleanup cb_curl.easy_cleanup
#define curl_easy_getinfo cb_curl.easy_getinfo
#define curl_easy_init cb_curl.easy_init
#define curl_easy_pause cb_curl.easy_pause
#define curl_easy_setopt cb_curl.easy_setopt
#define curl_easy_strerror cb_curl.easy_strerror
#define curl_global_init cb_curl.global_init
#define curl_multi_add_handle cb_curl.multi_add_handle
#define curl_multi_cleanup cb_curl.multi_cleanup
#define curl_multi_info_read cb_curl.multi_info_read
#define curl_multi_init cb_curl.multi_init
#define curl_multi_perform cb_curl.multi_perform
#define curl_multi_poll cb_curl.multi_poll
#define curl_multi_remove_handle cb_curl.multi_remove_handle
#define curl_multi_setopt cb_curl.multi_setopt
#define curl_multi_wakeup cb_curl.multi_wakeup
#define curl_share_cleanup cb_curl.share_cleanup
#define curl_share_init cb_curl.share_init
#define curl_share_setopt cb_curl.share_setopt
#define curl_slist_append cb_curl.slist_append
#define curl_slist_free_all cb_curl.slist_free_all
#define curl_version cb_curl.version
#define curl_version_info cb_curl.version_info
#endif
