/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's results in the terms of error.h, and whether another try makes sense. */
#include <netdb.h>

#include "http/private.h"

enum kind { RETRY, FINAL, VERIFY, CONFIG };

struct meaning {
    CURLcode code;
    enum kind kind;
};

static enum kind kind_of(CURLcode code)
{
    static const struct meaning table[] = {
        { CURLE_COULDNT_RESOLVE_PROXY, RETRY },
        { CURLE_COULDNT_RESOLVE_HOST, RETRY },
        { CURLE_COULDNT_CONNECT, RETRY },
        { CURLE_OPERATION_TIMEDOUT, RETRY },
        { CURLE_GOT_NOTHING, RETRY },
        { CURLE_SEND_ERROR, RETRY },
        { CURLE_RECV_ERROR, RETRY },
        { CURLE_PARTIAL_FILE, RETRY },
        { CURLE_SEND_FAIL_REWIND, RETRY },
        { CURLE_SSL_CONNECT_ERROR, RETRY },
        { CURLE_PROXY, RETRY },
        { CURLE_PEER_FAILED_VERIFICATION, VERIFY },
        { CURLE_SSL_ISSUER_ERROR, VERIFY },
        { CURLE_SSL_INVALIDCERTSTATUS, VERIFY },
        { CURLE_SSL_CERTPROBLEM, CONFIG },
        { CURLE_SSL_CACERT_BADFILE, CONFIG },
        { CURLE_SSL_CRL_BADFILE, CONFIG },
        { CURLE_SSL_ENGINE_INITFAILED, CONFIG },
        { CURLE_SSL_CIPHER, VERIFY },
    };
    for (size_t i = 0; i < CB_COUNTOF(table); i++)
        if (table[i].code == code)
            return table[i].kind;
    return FINAL;
}

/* A handshake that broke off is the network's doing; one that was refused (version, client certificate, no TLS at
 * all) will be refused again. libcurl has one code for both and OpenSSL's words in the text. */
static bool was_tls_refused(const struct cb_http_transfer *t)
{
    bool openssl = strstr(t->errbuf, "error:") && !strstr(t->errbuf, "unexpected eof");
    /* In TLS 1.3 the client learns only with the first read that its certificate was missed. */
    bool late = t->result == CURLE_RECV_ERROR || t->result == CURLE_SEND_ERROR;
    return openssl && (t->result == CURLE_SSL_CONNECT_ERROR || (late && strstr(t->errbuf, " alert ")));
}

/* libcurl does not tell an unknown name from a name server in trouble. */
static bool is_name_unknown(const struct cb_http_transfer *t)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    if (t->result != CURLE_COULDNT_RESOLVE_HOST || t->proxied)
        return false;
    int r = getaddrinfo(t->host, NULL, &hints, &list);
    if (r == 0)
        freeaddrinfo(list);
    return r == EAI_NONAME || r == EAI_NODATA;
}

static void add_detail(struct cb_strbuf *sb, const struct cb_http_transfer *t)
{
    const char *text = t->errbuf[0] ? t->errbuf : curl_easy_strerror(t->result);
    cb_strbuf_add_sanitized(sb, text, strnlen(text, CURL_ERROR_SIZE), false);
}

static int policy_failure(const struct cb_http_transfer *t, struct cb_error *err)
{
    if (t->header_too_big || (t->result == CURLE_OUT_OF_MEMORY && !t->header_done))
        return cb_error_set(err, CB_EVERIFY, "header of the reply is larger than %u bytes", CB_MAX_HEADERS);
    if (t->peer_refused)
        return cb_error_set(err, CB_EVERIFY,
                            "%s has the private address %s; only hosts that you name yourself may have one", t->host,
                            t->refused_ip);
    return 0;
}

/* libcurl quotes the URL that it cannot use, with its password. */
static int proxy_failure(const struct cb_http_transfer *t, struct cb_http_failure *f, struct cb_error *err)
{
    if (t->proxied && cb_starts_with(t->errbuf, "Unsupported proxy"))
        return cb_error_set(err, CB_ECONF,
                            "the URL of the proxy cannot be used: write http://USER:PASSWORD@HOST:PORT, or https, "
                            "socks4 or socks5; special characters of a password as %%XX");
    if (!t->proxied || t->connect_code < 300)
        return 0;
    f->retry = cb_http_status_is_retryable((unsigned)t->connect_code);
    return cb_error_set(err, t->connect_code == 407 ? CB_EAUTH : CB_ENET,
                        "the proxy refuses to connect to %s: status %ld%s", t->host, t->connect_code,
                        t->connect_code == 407 ? " (it asks for credentials)" : "");
}

/* Not of a family of addresses that the kernel lacks: another address may do, and the last one's failure is told. */
static bool is_out_of_descriptors(const struct cb_http_transfer *t)
{
    return t->result == CURLE_COULDNT_CONNECT && (t->socket_errno == EMFILE || t->socket_errno == ENFILE);
}

static int transport_failure(const struct cb_http_transfer *t, struct cb_http_failure *f, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf detail = CB_STRBUF_INIT;
    enum kind kind = was_tls_refused(t) ? VERIFY : kind_of(t->result);
    add_detail(&detail, t);
    f->retry = kind == RETRY && !is_name_unknown(t);
    if (t->result == CURLE_OK) {
        f->retry = true;
        return cb_error_set(err, CB_ENET, "the connection ended in the middle of the reply's header");
    }
    if (t->result == CURLE_UNSUPPORTED_PROTOCOL && t->connected) /* "HTTP/0.9" is whatever it said */
        return cb_error_set(err, CB_ENET, "what answers at %s does not speak HTTP/1.1 (only HTTP/2, or none at all)",
                            t->host);
    if (is_out_of_descriptors(t)) /* others may end meanwhile */
        return cb_error_sys(err, CB_ELOCAL, t->socket_errno, "make a socket");
    if (t->stalled)
        return cb_error_set(err, CB_ENET, "less than 1 KiB/s for too long, given up");
    switch (kind) {
    case VERIFY:
        return cb_error_set(err, CB_EVERIFY, "TLS with %s failed: %s", t->host, detail.buf);
    case CONFIG:
        return cb_error_set(err, CB_ECONF, "TLS certificate or key for %s: %s", t->host, detail.buf);
    case RETRY:
    case FINAL:
        break;
    }
    return cb_error_set(err, CB_ENET, "%s%s", t->proxied && t->result == CURLE_COULDNT_CONNECT ? "the proxy: " : "",
                        detail.buf);
}

int cb_http_failure_of(const struct cb_http_transfer *t, struct cb_http_failure *f, struct cb_error *err)
{
    *f = (struct cb_http_failure){ .unsent = !t->connected };
    if (t->canceled)
        return cb_error_set(err, CB_ECANCELED, "interrupted");
    int r = policy_failure(t, err);
    if (r == 0)
        r = proxy_failure(t, f, err);
    return r ? r : transport_failure(t, f, err);
}
