/* SPDX-License-Identifier: Apache-2.0 */
/* How a host is verified, in libcurl's options. libcurl finds connections and sessions to use again by comparing these
 * options: file names and blobs. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "http/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"

void cb_http_tls_done(struct cb_http_tls *t)
{
    cb_strvec_done(&t->ca_files);
    free(t->client_cert);
    free(t->client_key);
    free(t->unix_socket);
    *t = (struct cb_http_tls){ 0 };
}

/* A file in memory. libcurl keeps a parsed file from one connection to the next, but no blob and no directory; and
 * the 140 certificates of a system cost it 30 ms, in which nothing else moves. */
struct cb_http_ca {
    int fd;
    char path[32];
};

static void ca_free(struct cb_http_ca *ca)
{
    cb_close_p(&ca->fd);
    free(ca);
}
CB_DEFINE_CLEANUP(struct cb_http_ca *, ca_free)

void cb_http_ca_done(struct cb_http *h)
{
    size_t it = 0;
    const char *key;
    void *ca;
    while (cb_hashmap_next(h->ca_cache, &it, &key, &ca))
        ca_free(ca);
    cb_hashmap_free(h->ca_cache);
}

static int slurp_pem(const char *path, const char *what, struct cb_strbuf *out, struct cb_error *err)
{
    cb_cleanup_error struct cb_error e = CB_ERROR_INIT;
    cb_strbuf_reset(out);
    if (cb_file_slurp(path, CB_MAX_CONFIG_FILE, out, &e) < 0)
        return cb_error_set(err, CB_ECONF, "%s: %s", what, cb_error_text(&e));
    if (!memmem(out->buf, out->len, "-----BEGIN ", 11))
        return cb_error_set(err, CB_ECONF, "%s: %s is not in PEM form", what, path);
    return 0;
}

/* Or NULL, where libcurl's defaults have to do: a directory, or nothing. */
static const char *system_bundle(const struct cb_http_env *env)
{
    struct stat st;
    const char *bundle = curl_version_info(CURLVERSION_NOW)->cainfo;
    if (env->cert_file)
        return env->cert_file;
    return bundle && stat(bundle, &st) == 0 ? bundle : NULL;
}

static int collect(const struct cb_http_env *env, const struct cb_strvec *files, struct cb_strbuf *pem,
                   struct cb_error *err)
{
    cb_cleanup_error struct cb_error e = CB_ERROR_INIT;
    cb_cleanup_strbuf struct cb_strbuf one = CB_STRBUF_INIT;
    const char *bundle = system_bundle(env);
    if (bundle && slurp_pem(bundle, "system certificates", &one, &e) == 0)
        cb_strbuf_add(pem, one.buf, one.len);
    else if (env->cert_file) /* a machine without a bundle is fine, a wrong SSL_CERT_FILE is not */
        return cb_error_move(err, &e);
    for (size_t i = 0; i < files->n; i++) {
        int r = slurp_pem(files->v[i], "CA certificate", &one, err);
        if (r < 0)
            return r;
        cb_strbuf_addch(pem, '\n');
        cb_strbuf_add(pem, one.buf, one.len);
    }
    return 0;
}

static struct cb_http_ca *ca_make(struct cb_http *h, const struct cb_strvec *files, struct cb_error *err)
{
    CB_AUTO(ca_free) struct cb_http_ca *ca = CB_NEW(struct cb_http_ca);
    cb_cleanup_strbuf struct cb_strbuf pem = CB_STRBUF_INIT;
    ca->fd = memfd_create("cbpush-ca", MFD_CLOEXEC);
    if (ca->fd < 0) {
        cb_error_sys(err, CB_ELOCAL, errno, "memfd_create");
        return NULL;
    }
    if (collect(&h->env, files, &pem, err) < 0 || cb_fd_write_all(ca->fd, pem.buf, pem.len, err) < 0)
        return NULL;
    snprintf(ca->path, sizeof ca->path, "/proc/self/fd/%d", ca->fd);
    return CB_TAKE(ca);
}

/* Once a set of files: they are not expected to change while we run. */
static const struct cb_http_ca *ca_find(struct cb_http *h, const struct cb_strvec *files, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf key = CB_STRBUF_INIT;
    for (size_t i = 0; i < files->n; i++)
        cb_strbuf_addf(&key, "%s\n", files->v[i]);
    pthread_mutex_lock(&h->lock);
    struct cb_http_ca *ca = cb_hashmap_get(h->ca_cache, key.buf);
    pthread_mutex_unlock(&h->lock);
    if (ca)
        return ca;
    CB_AUTO(ca_free) struct cb_http_ca *made = ca_make(h, files, err);
    if (!made)
        return NULL;
    pthread_mutex_lock(&h->lock);
    if (!(ca = cb_hashmap_get(h->ca_cache, key.buf))) {
        ca = CB_TAKE(made);
        cb_hashmap_put(h->ca_cache, key.buf, ca);
    }
    pthread_mutex_unlock(&h->lock);
    return ca;
}

/* A directory beside the bundle that was made from it adds nothing and would keep libcurl from keeping what it
 * parsed. */
static bool adds_trust(const char *dir, const char *bundle)
{
    size_t n = dir ? strlen(dir) : 0;
    return dir && !(bundle && strncmp(bundle, dir, n) == 0 && (bundle[n] == '/' || dir[n - 1] == '/'));
}

static int apply_ca(struct cb_http *h, CURL *easy, const struct cb_strvec *files, struct cb_error *err)
{
    const char *bundle = system_bundle(&h->env);
    bool with_dir = adds_trust(h->env.cert_dir, bundle);
    if (files && files->n) {
        const struct cb_http_ca *ca = ca_find(h, files, err);
        if (!ca)
            return err ? -(int)err->code : -CB_ECONF;
        bundle = ca->path;
    }
    if (bundle)
        curl_easy_setopt(easy, CURLOPT_CAINFO, bundle);
    if (with_dir)
        curl_easy_setopt(easy, CURLOPT_CAPATH, h->env.cert_dir);
    else if (bundle)
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    return 0;
}

static void set_blob(CURL *easy, CURLoption option, const struct cb_strbuf *pem)
{
    struct curl_blob blob = { .data = pem->buf, .len = pem->len, .flags = CURL_BLOB_COPY };
    curl_easy_setopt(easy, option, &blob);
}

/* As blobs, since libcurl 7.88 compares the name of the certificate's file but not that of the key. */
static int apply_client_cert(CURL *easy, const struct cb_http_tls *tls, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf cert = CB_STRBUF_INIT, key = CB_STRBUF_INIT;
    int r = slurp_pem(tls->client_cert, "client certificate", &cert, err);
    if (r == 0)
        r = slurp_pem(tls->client_key ? tls->client_key : tls->client_cert, "client key", &key, err);
    if (r < 0)
        return r;
    set_blob(easy, CURLOPT_SSLCERT_BLOB, &cert);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, &key);
    curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "PEM");
    curl_easy_setopt(easy, CURLOPT_SSLKEYTYPE, "PEM");
    /* Otherwise OpenSSL would ask for it on the terminal. */
    curl_easy_setopt(easy, CURLOPT_KEYPASSWD, "");
    explicit_bzero(key.buf, key.len);
    return 0;
}

/* A proxy that is spoken to in TLS is verified by the system's trust, whatever holds for the registry behind it. */
static void apply_proxy(struct cb_http *h, CURL *easy)
{
    const char *bundle = system_bundle(&h->env);
    curl_easy_setopt(easy, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (bundle)
        curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, bundle);
    if (h->env.cert_dir)
        curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, h->env.cert_dir);
}

int cb_http_tls_apply(struct cb_http *h, CURL *easy, const struct cb_http_tls *tls, struct cb_error *err)
{
    int r = 0;
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    apply_proxy(h, easy);
    if (tls && tls->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    } else {
        r = apply_ca(h, easy, tls ? &tls->ca_files : NULL, err);
    }
    if (r == 0 && tls && tls->client_cert)
        r = apply_client_cert(easy, tls, err);
    return r;
}
