/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "exec/network.h"

static void parses_names(void **state)
{
    (void)state;
    enum cb_network n = CB_NETWORK_PRIVATE;
    struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_network_parse("default", &n, &err), 0);
    assert_int_equal(n, CB_NETWORK_HOST);
    assert_int_equal(cb_network_parse("none", &n, &err), 0);
    assert_int_equal(n, CB_NETWORK_NONE);
    assert_int_equal(cb_network_parse("private", &n, &err), 0);
    assert_int_equal(n, CB_NETWORK_PRIVATE);
    assert_int_equal(cb_network_parse("host", &n, &err), 0);
    assert_int_equal(n, CB_NETWORK_HOST);
    static const char *const bad[] = { "", "Host", "bridge", "host ", "sandbox", NULL };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        assert_int_equal(cb_network_parse(bad[i], &n, &err), -CB_EUSAGE);
    assert_int_equal(n, CB_NETWORK_HOST);
    cb_error_done(&err);
}

static void hosts_file(void **state)
{
    (void)state;
    struct cb_strbuf out = CB_STRBUF_INIT;
    struct cb_strvec extra = CB_STRVEC_INIT;
    cb_strvec_push(&extra, "db 10.0.0.1");
    cb_strvec_push(&extra, "six\t::1");
    assert_int_equal(cb_network_hosts("box", &extra, &out, NULL), 0);
    assert_string_equal(out.buf, "127.0.0.1\tlocalhost box\n"
                                 "::1\tlocalhost ip6-localhost ip6-loopback\n"
                                 "fe00::0\tip6-localnet\n"
                                 "ff00::0\tip6-mcastprefix\n"
                                 "ff02::1\tip6-allnodes\n"
                                 "ff02::2\tip6-allrouters\n"
                                 "10.0.0.1\tdb\n"
                                 "::1\tsix\n");
    cb_strvec_done(&extra);
    cb_strbuf_done(&out);
}

static void hostile_hosts(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "name",         "name ",       " 10.0.0.1",   "a\nb 10.0.0.1", "a 10.0.0.1\n6.6.6.6 bank",
        "a 10.0.0", "a b 10.0.0.1", "a 10.0.0.1 ", "a 999.0.0.1", "a#b 10.0.0.1"
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        struct cb_strbuf out = CB_STRBUF_INIT;
        struct cb_strvec extra = CB_STRVEC_INIT;
        cb_strvec_push(&extra, bad[i]);
        assert_int_equal(cb_network_hosts("box", &extra, &out, NULL), -CB_ECONF);
        cb_strvec_done(&extra);
        cb_strbuf_done(&out);
    }
    static const char *const names[] = { "", "a b", "a\nb", "x/y",
                                         "0123456789012345678901234567890123456789012345678901234567890123456789" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        struct cb_strbuf out = CB_STRBUF_INIT;
        assert_int_equal(cb_network_hosts(names[i], NULL, &out, NULL), -CB_ECONF);
        cb_strbuf_done(&out);
    }
}

static void expect_resolv(enum cb_network mode, const char *host, const char *upstream, const char *want)
{
    struct cb_strbuf out = CB_STRBUF_INIT;
    cb_network_resolv(mode, host, upstream, &out);
    assert_string_equal(out.buf, want);
    cb_strbuf_done(&out);
}

static void resolv_conf(void **state)
{
    (void)state;
    static const char stub[] = "# systemd\nnameserver 127.0.0.53\noptions edns0\nsearch lan\n";
    static const char real[] = "nameserver 192.0.2.1\nnameserver ::1\nsearch lan";
    expect_resolv(CB_NETWORK_HOST, stub, real, stub);
    expect_resolv(CB_NETWORK_NONE, stub, real, "");
    expect_resolv(CB_NETWORK_PRIVATE, stub, real, "nameserver 192.0.2.1\nsearch lan\n");
    expect_resolv(CB_NETWORK_PRIVATE, real, NULL, "nameserver 192.0.2.1\nsearch lan\n");
    expect_resolv(CB_NETWORK_PRIVATE, stub, NULL, "# systemd\noptions edns0\nsearch lan\nnameserver 169.254.1.1\n");
    expect_resolv(CB_NETWORK_PRIVATE, "nameserver\t127.0.0.1", NULL, "nameserver 169.254.1.1\n");
    expect_resolv(CB_NETWORK_PRIVATE, "nameserver 127.0.0.1", "nameserver 127.0.0.1\nsearch a",
                  "nameserver 169.254.1.1\n");
    expect_resolv(CB_NETWORK_PRIVATE, "search lan", NULL, "search lan\n");
    expect_resolv(CB_NETWORK_HOST, "", NULL, "");
}

static void expect_dns(const struct cb_dns *dns, const char *text, const char *want)
{
    struct cb_strbuf out = CB_STRBUF_INIT;
    cb_strbuf_adds(&out, text);
    cb_network_dns(dns, &out);
    assert_string_equal(out.buf, want);
    cb_strbuf_done(&out);
}

static void dns_options(void **state)
{
    (void)state;
    static const char text[] = "# x\nnameserver 192.0.2.1\nnameserver\t::1\nsearch lan\noptions edns0\n"
                               "sortlist 1.2.3.4\n";
    struct cb_strvec one = CB_STRVEC_INIT, dot = CB_STRVEC_INIT, none = CB_STRVEC_INIT;
    cb_strvec_push(&one, "a");
    cb_strvec_push(&one, "b");
    cb_strvec_push(&dot, ".");
    expect_dns(NULL, text, text);
    expect_dns(&(struct cb_dns){ &none, NULL, &none }, text, text);
    expect_dns(&(struct cb_dns){ .servers = &one }, text, "nameserver a\nnameserver b\nsearch lan\noptions edns0\n");
    expect_dns(&(struct cb_dns){ .search = &one }, text,
               "nameserver 192.0.2.1\nnameserver ::1\nsearch a b\noptions edns0\n");
    expect_dns(&(struct cb_dns){ .search = &dot, .options = &one }, text,
               "nameserver 192.0.2.1\nnameserver ::1\noptions a b\n");
    expect_dns(&(struct cb_dns){ .servers = &one }, "", "nameserver a\nnameserver b\n");
    cb_strvec_done(&one);
    cb_strvec_done(&dot);
}

static void pasta_ports(void **state)
{
    (void)state;
    struct cb_strbuf out = CB_STRBUF_INIT;
    char ip[] = "127.0.0.1";
    cb_pasta_port(&(struct cb_port){ .host = 8080, .container = 80 }, &out);
    assert_string_equal(out.buf, "8080:80");
    cb_strbuf_reset(&out);
    cb_pasta_port(&(struct cb_port){ .host_ip = ip, .host = 65535, .container = 1 }, &out);
    assert_string_equal(out.buf, "127.0.0.1/65535:1");
    cb_strbuf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_names), cmocka_unit_test(hosts_file),  cmocka_unit_test(hostile_hosts),
        cmocka_unit_test(resolv_conf),  cmocka_unit_test(pasta_ports), cmocka_unit_test(dns_options),
    };
    return cmocka_run_group_tests_name("exec network", tests, NULL, NULL);
}
