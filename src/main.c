/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "util/path.h"
#include "util/strbuf.h"

/* Descriptors 0–2 must be ours before anything else is opened, and nothing that is started later does without
 * /dev/null. What was asked for and can go nowhere is an error: an output that is closed takes nothing. */
static bool fill_standard_fds(void)
{
    static const int modes[] = { [STDIN_FILENO] = O_RDWR, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_RDWR };
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
        if (fcntl(i, F_GETFD) < 0 && open("/dev/null", modes[i]) != i)
            return false;
    int fd = open("/dev/null", O_RDWR);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Large arrays stay mappings of their own, as they begin: they grow in place, and their pages are given back. Else
 * glibc moves them into its heap once one was freed, where each doubling leaves a hole of the old size. */
static void keep_arrays_mapped(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

/* What `| head` leaves behind: no failure that anybody has to be told of. Archives are written past stdio. */
static bool reader_has_gone(int sys_errno)
{
    struct pollfd p = { .fd = STDOUT_FILENO };
    return (ferror(stdout) || sys_errno == EPIPE) && poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

/* HOME was inherited from somebody else: `setpriv --reuid`, `docker run --user`, sudo. */
static bool home_is_foreign(const struct cb_error *err)
{
    const char *home = getenv("HOME");
    bool denied = err->sys_errno == EACCES && home && *home == '/' && strstr(cb_error_text(err), home);
    return denied && home[1] && access(home, X_OK) < 0 && errno == EACCES;
}

#define STATUS_SIGPIPE (128 + SIGPIPE)

static int fail(const struct cb_process *p, const struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    int signo = p->cancel ? cb_cancel_signal(p->cancel) : 0;
    const char *text = cb_error_text(err);
    if (signo) {
        fprintf(stderr, "cbpush: interrupted\n");
        return 128 + signo;
    }
    if (err->code == CB_ELOCAL && reader_has_gone(err->sys_errno))
        return STATUS_SIGPIPE;
    /* Lines of our own follow wrong usage; else they would be those of a name in a layer, and could say anything. */
    cb_strbuf_add_sanitized(&sb, text, strlen(text), err->code == CB_EUSAGE);
    if (home_is_foreign(err))
        cb_strbuf_addf(&sb, " (HOME is another user's directory: set it to one of yours)");
    if (err->no_room)
        cb_strbuf_addf(&sb, " (the disk of the store is full: `cbpush prune` makes room, --root DIR or CBPUSH_ROOT "
                       "names another place for it)");
    fprintf(stderr, "cbpush: %s\n", sb.buf);
    return cb_error_exit_code(err);
}

static int finish_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (reader_has_gone(0))
        return status ? status : STATUS_SIGPIPE;
    fprintf(stderr, "cbpush: standard output could not be written\n");
    return status ? status : 6;
}

static int run_verb(const struct cb_verb *v, int argc, char **argv, char **all)
{
    struct cb_process p = { .started_as_root = geteuid() == 0, .argv = all };
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    int status = 0;
    int r = cb_process_prepare(&p, v, &err);
    if (r == 0)
        r = v->run(&p, v, argc, argv, &status, &err);
    int e = cb_process_end(&p, r < 0 ? NULL : &err);
    r = r < 0 ? r : e;
    if (r < 0) {
        int wanted = status;
        status = fail(&p, &err);
        status = status == CB_ESTEP && wanted ? wanted : status;
    }
    cb_process_done(&p);
    return finish_output(status);
}

/* Of --help or of the manual. */
static int tell(int (*about)(const char *verb, struct cb_error *err), const char *verb)
{
    struct cb_process p = { 0 };
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    int r = about(verb, &err);
    return r < 0 ? fail(&p, &err) : finish_output(0);
}

static int run(int argc, char **argv)
{
    if (!fill_standard_fds()) {
        fprintf(stderr, "cbpush: /dev/null: %s (mount /dev here: `mount --bind /dev DIR/dev` in front of a chroot)\n",
                strerrordesc_np(errno));
        return CB_ELOCAL;
    }
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* a parent that ignores it hands that down, and then no child can be waited for */
    keep_arrays_mapped();
    if (argc > 0 && cb_process_serves(argv[0])) {
        fprintf(stderr, "cbpush: %s is a process that cbpush starts: call it by another name\n", argv[0]);
        return 2;
    }
    const char *name = argc > 1 ? argv[1] : NULL;
    bool executor = argc > 0 && !strcmp(cb_path_base(argv[0]), "executor");
    if (executor && !(name && !strcmp(name, "version"))) /* the only other thing that Kaniko does */
        return run_verb(&cb_verb_executor, argc - 1, argv + 1, argv);
    if (name && (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")))
        return tell(cb_help, argc > 2 ? argv[2] : NULL);
    if (name && !strcmp(name, "__man"))
        return tell(cb_man, argc > 2 ? argv[2] : NULL);
    /* Before anything is prepared: it is called at every TAB. */
    if (name && !strcmp(name, "__complete")) {
        complete_print(argc - 2, argv + 2);
        return finish_output(0);
    }
    /* The verb says what it is made with, too, and loads all of it for that. */
    if (name && (!strcmp(name, "--version") || !strcmp(name, "-v"))) {
        printf("cbpush %s\n", PACKAGE_VERSION);
        return finish_output(0);
    }
    int used = 0;
    const struct cb_verb *v = cb_verb_spelled(argc - 1, argv + 1, &used);
    if (!v) {
        struct cb_process p = { 0 };
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        (void)!cb_foreign_verb(argc - 1, argv + 1, &err);
        return fail(&p, &err);
    }
    return run_verb(v, argc - 1 - used, argv + 1 + used, argv);
}

/* Everything of ours is ended and written by then, and the kernel takes the rest back sooner than forty libraries clean
 * up after themselves. Who looks for leaks wants them to. */
int main(int argc, char **argv)
{
    int status = run(argc, argv);
#ifdef CB_SANITIZED
    return status;
#else
    _exit(status);
#endif
}
