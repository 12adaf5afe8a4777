/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.toml: what is read can be connected to. */
#include "registry/hosts.h"
#include "tests/fuzz/fuzz.h"

static void check_entry(const struct reg_hosts_entry *e)
{
    if (!e->authority || !e->api || (e->can & ~7u) || (*e->api && *e->api != '/'))
        abort();
    if (!*e->authority != (e->tls.unix_socket != NULL))
        abort();
    cb_autofree char *url =
        cb_asprintf("%s://%s%s/", e->plain ? "http" : "https", *e->authority ? e->authority : "h", e->api);
    struct cb_url u cb_cleanup_url = { 0 };
    if (cb_url_parse(&u, url, NULL) < 0)
        abort();
}

FUZZ_TARGET(hosts)
{
    CB_CLEANUP(reg_hosts_done) struct reg_hosts h = { 0 };
    if (reg_hosts_parse(&h, "/d/hosts.toml", "r.example", (struct cb_slice){ text, len }, NULL) < 0)
        return;
    if (!h.n)
        abort();
    for (size_t i = 0; i < h.n; i++)
        check_entry(&h.v[i]);
}
