/* SPDX-License-Identifier: Apache-2.0 */
/* The private network: real pasta, real ports of the loopback. */
#include "exec_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "exec/network.h"
#include "util/proc.h"

static bool pasta_can_run(void)
{
    cb_autofree char *pasta = cb_proc_which("pasta");
    cb_autoclose int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    return pasta && tun >= 0;
}

/* Where it cannot run, that is said at once, and why. */
static void expect_refusal(void)
{
    struct cb_exec_spec spec = plain_spec();
    spec.network = CB_NETWORK_PRIVATE;
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ELOCAL);
    assert_true(strstr(fx.error.msg, "/dev/net/tun") || strstr(fx.error.msg, "pasta"));
}

/* A socket bound to a free port of 127.0.0.1. */
static int bound_socket(uint16_t *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return s;
}

struct visitor {
    uint16_t port;
    char got[32];
};

static void *visit(void *arg)
{
    struct visitor *v = arg;
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(v->port) };
    for (int i = 0; i < 100 && !v->got[0]; i++) {
        int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(s, (struct sockaddr *)&a, sizeof a) == 0 && read(s, v->got, sizeof v->got - 1) < 0)
            v->got[0] = '\0';
        close(s);
        usleep(50000);
    }
    return NULL;
}

static void a_published_port(void **state)
{
    (void)state;
    need_sandbox();
    if (!pasta_can_run()) {
        expect_refusal();
        return;
    }
    struct visitor v = { 0 };
    char ip[] = "127.0.0.1";
    pthread_t thread;
    close(bound_socket(&v.port));
    struct cb_port port = { .host_ip = ip, .host = v.port, .container = 8000 };
    struct cb_exec_spec spec = plain_spec();
    spec.network = CB_NETWORK_PRIVATE;
    spec.ports = &port;
    spec.n_ports = 1;
    assert_int_equal(pthread_create(&thread, NULL, visit, &v), 0);
    run_script(&spec, "echo hello | nc -l -p 8000 -w 5");
    pthread_join(thread, NULL);
    assert_int_equal(fx.result, 0);
    assert_string_equal(v.got, "hello\n");
}

static void the_hosts_loopback_is_out_of_reach(void **state)
{
    (void)state;
    need_sandbox();
    if (!pasta_can_run())
        return; /* a_published_port has seen the refusal */
    uint16_t port;
    char script[400];
    int s = bound_socket(&port);
    assert_int_equal(listen(s, 5), 0);
    struct cb_exec_spec spec = plain_spec();
    spec.network = CB_NETWORK_PRIVATE;
    snprintf(
        script, sizeof script,
        "nc -w 1 127.0.0.1 %u </dev/null && exit 1; gw=$(ip route | grep default); gw=${gw#*via }; gw=${gw%%%% *}; "
        "test -n \"$gw\" && nc -w 1 $gw %u </dev/null && exit 2; grep -v lo: /proc/net/dev | grep -c : ",
        port, port);
    run_script(&spec, script);
    assert_int_equal(fx.status, 0);
    assert_string_equal(fx.out.buf, "1\n");
    close(s);
}

static void says_what_is_missing(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_exec_spec spec = plain_spec();
    spec.network = CB_NETWORK_PRIVATE;
    cb_autofree char *path = cb_strdup(getenv("PATH") ? getenv("PATH") : "");
    assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
    run_script(&spec, "true");
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(fx.result, -CB_ELOCAL);
    assert_non_null(strstr(fx.error.msg, "apt-get install passt"));
    if (pasta_can_run())
        return;
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ELOCAL);
    assert_true(fx.ns < INT64_C(5000000000));
}

static void a_port_that_is_taken(void **state)
{
    (void)state;
    need_sandbox();
    if (!pasta_can_run())
        return; /* a_published_port has seen the refusal */
    uint16_t taken;
    char ip[] = "127.0.0.1";
    int s = bound_socket(&taken);
    assert_int_equal(listen(s, 1), 0);
    struct cb_port port = { .host_ip = ip, .host = taken, .container = 80 };
    struct cb_exec_spec spec = plain_spec();
    spec.network = CB_NETWORK_PRIVATE;
    spec.ports = &port;
    spec.n_ports = 1;
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ELOCAL);
    assert_non_null(strstr(fx.error.msg, "pasta"));
    close(s);
}

static void ports_need_a_private_network(void **state)
{
    (void)state;
    struct cb_port port = { .host = 1, .container = 1 };
    struct cb_exec_spec spec = plain_spec();
    struct cb_error err = CB_ERROR_INIT;
    const char *argv[] = { "true", NULL };
    int status;
    spec.argv = argv;
    spec.ports = &port;
    spec.n_ports = 1;
    assert_int_equal(cb_exec_run(&spec, &status, &err), -CB_EUSAGE);
    cb_error_done(&err);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_published_port),     cmocka_unit_test(the_hosts_loopback_is_out_of_reach),
        cmocka_unit_test(says_what_is_missing), cmocka_unit_test(a_port_that_is_taken),
        cmocka_unit_test(ports_need_a_private_network),
    };
    return cmocka_run_group_tests_name("exec pasta", tests, NULL, NULL);
}

int main(void)
{
    return run_groups(group);
}
