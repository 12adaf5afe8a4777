/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/internal.h"
#include "build/foreign.h"
#include "build/rootfs.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/path.h"

struct container {
    const struct cb_build_env *env;
    const struct cb_run_options *o;
    const struct cb_image_config *config;
    struct cb_strvec argv, vars;
    struct cb_mount *mounts;
    size_t n_mounts;
    char **targets;
    struct cb_user user;
    struct cb_slot **layers;
    const struct cb_isolation *isolation;
};

static void container_done(struct container *c)
{
    for (size_t i = 0; i < c->n_mounts; i++) {
        if (c->mounts[i].kind == CB_MOUNT_BIND)
            close(c->mounts[i].source_fd);
        free(c->targets[i]);
    }
    free(c->mounts);
    free(c->targets);
    free(c->layers);
    cb_strvec_done(&c->argv);
    cb_strvec_done(&c->vars);
    cb_user_done(&c->user);
}

static void append(struct cb_strvec *to, const struct cb_strvec *from)
{
    for (size_t i = 0; from && i < from->n; i++)
        cb_strvec_push(to, from->v[i]);
}

/* ENTRYPOINT then command, as docker run puts them together. */
static int make_argv(struct container *c, struct cb_error *err)
{
    const struct cb_run_options *o = c->o;
    if (!o->entrypoint)
        append(&c->argv, &c->config->entrypoint.args);
    else if (*o->entrypoint)
        cb_strvec_push(&c->argv, o->entrypoint);
    if (o->command && o->command->n)
        append(&c->argv, o->command);
    else if (!o->entrypoint)
        append(&c->argv, &c->config->cmd.args);
    if (c->argv.n == 0)
        return cb_error_set(err, CB_EUSAGE, "the image has neither ENTRYPOINT nor CMD: name a command");
    return 0;
}

static void make_env(struct container *c)
{
    cb_strvec_copy(&c->vars, &c->config->env);
    if (!cb_env_get(&c->vars, "PATH"))
        cb_env_set(&c->vars, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    cb_env_set(&c->vars, "HOSTNAME", c->o->hostname ? c->o->hostname : "cbpush");
    if (c->o->tty)
        cb_env_set(&c->vars, "TERM", "xterm");
    for (size_t i = 0; c->o->env && i < c->o->env->n; i++) {
        const char *eq = strchrnul(c->o->env->v[i], '=');
        cb_autofree char *key = cb_strndup(c->o->env->v[i], (size_t)(eq - c->o->env->v[i]));
        if (*eq)
            cb_env_set(&c->vars, key, eq + 1);
        else
            cb_env_remove(&c->vars, key);
    }
    if (!cb_env_get(&c->vars, "HOME"))
        cb_env_set(&c->vars, "HOME", c->user.home ? c->user.home : "/");
}

/* Of what changes nothing here: a step's process has no label of SELinux that its files would have to have (z, Z);
 * mounts are private as it is; cached and its like are for Docker's virtual machines. */
static bool volume_option(struct cb_mount *m, const char *word)
{
    static const char *const moot[] = { "rw", "z", "Z", "private", "rprivate", "cached", "delegated", "consistent" };
    bool known = !strcmp(word, "ro");
    m->readonly = m->readonly || known;
    for (size_t i = 0; i < CB_COUNTOF(moot); i++)
        known = known || !strcmp(word, moot[i]);
    return known;
}

/* Of words with commas between them: the first that take does not know, owned, or NULL. */
static char *unknown_option(struct cb_mount *m, const char *words, bool (*take)(struct cb_mount *m, const char *word))
{
    for (const char *p = words; *p;) {
        size_t n = strcspn(p, ",");
        cb_autofree char *word = cb_strndup(p, n);
        if (!take(m, word))
            return CB_TAKE(word);
        p += n + (p[n] == ',');
    }
    return NULL;
}

static int add_volume(struct container *c, const char *spec, struct cb_error *err)
{
    const char *colon = strchr(spec, ':');
    const char *options = colon ? strchr(colon + 1, ':') : NULL;
    bool path = *spec == '/' || cb_starts_with(spec, "./") || cb_starts_with(spec, "../");
    if (colon && !path && colon[1] == '/')
        return cb_error_set(err, CB_EUSAGE, "-v %s: there are no named volumes: write /HOST/PATH:/TARGET[:ro], or "
                            "./PATH", spec);
    if (!colon || !path || colon[1] != '/')
        return cb_error_set(err, CB_EUSAGE, "-v %s: write /HOST/PATH:/TARGET[:ro]", spec);
    cb_autofree char *source = cb_strndup(spec, (size_t)(colon - spec));
    struct cb_mount *m = &c->mounts[c->n_mounts];
    *m = (struct cb_mount){ .kind = CB_MOUNT_BIND, .source_fd = -1 };
    cb_autofree char *unknown = options ? unknown_option(m, options + 1, volume_option) : NULL;
    if (unknown)
        return cb_error_set(err, CB_EUSAGE, "-v %s: \"%s\" is not done here; the options are ro, rw and z", spec,
                            unknown);
    int fd = open(source, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_EUSAGE, errno, "-v %s", source);
    m->source_fd = fd;
    m->target = c->targets[c->n_mounts++] =
        options ? cb_strndup(colon + 1, (size_t)(options - colon - 1)) : cb_strdup(colon + 1);
    return 0;
}

static bool tmpfs_mode(const char *text, uint32_t *out)
{
    uint32_t v = 0;
    size_t n = strspn(text, "01234567");
    for (size_t i = 0; i < n && i < 5; i++)
        v = v << 3 | (uint32_t)(text[i] - '0');
    *out = v;
    return n > 0 && n < 6 && !text[n] && v && v <= 07777;
}

/* Every mount is nosuid and nodev as it is. */
static bool tmpfs_option(struct cb_mount *m, const char *word)
{
    if (cb_starts_with(word, "size="))
        return cb_parse_bytes(word + 5, &m->size) && m->size;
    if (cb_starts_with(word, "mode="))
        return tmpfs_mode(word + 5, &m->mode);
    if (!strcmp(word, "ro"))
        m->readonly = true;
    return !strcmp(word, "ro") || !strcmp(word, "rw") || !strcmp(word, "nosuid") || !strcmp(word, "nodev") ||
           !strcmp(word, "exec");
}

static int add_tmpfs(struct container *c, const char *spec, struct cb_error *err)
{
    const char *colon = strchrnul(spec, ':');
    struct cb_mount *m = &c->mounts[c->n_mounts];
    if (*spec != '/')
        return cb_error_set(err, CB_EUSAGE, "--tmpfs %s: write /TARGET[:size=64m,mode=1777,ro]", spec);
    *m = (struct cb_mount){ .kind = CB_MOUNT_TMPFS, .source_fd = -1 };
    m->target = c->targets[c->n_mounts++] = cb_strndup(spec, (size_t)(colon - spec));
    cb_autofree char *unknown = unknown_option(m, *colon ? colon + 1 : colon, tmpfs_option);
    if (unknown)
        return cb_error_set(err, CB_EUSAGE, "--tmpfs %s: the options are size=BYTES, mode=OCTAL, ro, rw", spec);
    return 0;
}

/* VOLUMEs of the image, of which only this is felt: what is written there is dropped like everything else. */
static void add_writable(struct container *c)
{
    const struct cb_strvec *v = &c->config->volumes;
    for (size_t i = 0; c->o->readonly && i < v->n; i++) {
        char *target = c->targets[c->n_mounts] = cb_asprintf("%s%s", v->v[i][0] == '/' ? "" : "/", v->v[i]);
        c->mounts[c->n_mounts++] = (struct cb_mount){ .kind = CB_MOUNT_OWN, .source_fd = -1, .target = target };
    }
}

/* One of them would not be seen, and nobody could tell which. */
static int check_targets(const struct container *c, size_t from, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf a = CB_STRBUF_INIT, b = CB_STRBUF_INIT;
    for (size_t i = from; i < c->n_mounts; i++) {
        cb_path_clean(&a, c->targets[i]);
        for (size_t k = i + 1; k < c->n_mounts; k++) {
            cb_path_clean(&b, c->targets[k]);
            if (!strcmp(a.buf, b.buf))
                return cb_error_set(err, CB_EUSAGE, "-v, --tmpfs: %s is mounted twice", c->targets[i]);
        }
    }
    return 0;
}

static int make_mounts(struct container *c, struct cb_error *err)
{
    size_t n = c->o->volumes ? c->o->volumes->n : 0, n_tmpfs = c->o->tmpfs ? c->o->tmpfs->n : 0;
    size_t total = n + n_tmpfs + c->config->volumes.n;
    int r = 0;
    c->mounts = cb_calloc(total + 1, sizeof *c->mounts);
    c->targets = cb_calloc(total + 1, sizeof *c->targets);
    add_writable(c); /* first: what is mounted at the same place covers it */
    size_t n_own = c->n_mounts;
    for (size_t i = 0; r == 0 && i < n_tmpfs; i++)
        r = add_tmpfs(c, c->o->tmpfs->v[i], err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_volume(c, c->o->volumes->v[i], err);
    return r < 0 ? r : check_targets(c, n_own, err);
}

/* What goes to one place stays in its order. */
static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int start(struct container *c, const struct cb_run_root *root, int *status, struct cb_error *err)
{
    const char *cwd = c->o->workdir ? c->o->workdir : c->config->working_dir;
    struct cb_exec_spec spec = {
        .isolation = c->isolation, .root = { root->lower_fds, root->n_lower, root->upper_fd, root->work_fd },
        .id_mode = c->env->id_mode,
        .argv = (const char *const *)c->argv.v, .env = (const char *const *)c->vars.v, .cwd = cwd && *cwd ? cwd : "/",
        .uid = c->user.uid, .gid = c->user.gid, .groups = c->user.groups, .n_groups = c->user.n_groups,
        .hostname = c->o->hostname ? c->o->hostname : "cbpush", .network = c->o->network, .ports = c->o->ports,
        .n_ports = c->o->n_ports, .mounts = c->mounts, .n_mounts = c->n_mounts, .readonly_root = c->o->readonly,
        .init = true, .stdin_fd = c->o->interactive ? STDIN_FILENO : -1, .stdout_fd = STDOUT_FILENO,
        .stderr_fd = STDERR_FILENO, .relay = true, .one_stream = same_file(STDOUT_FILENO, STDERR_FILENO),
        .tty = c->o->tty, .cancel = c->env->cancel, .pass_signal = true,
        .scratch_fd = root->scratch_fd, .extra_hosts = c->o->extra_hosts, .dns = c->o->dns, .limits = c->o->limits,
    };
    return cb_exec_run(&spec, status, err);
}

/* What is unpacked already needs no word about it. */
static bool all_unpacked(const struct cb_build_env *env, const struct cb_image *image)
{
    struct cb_digest below = { 0 };
    bool there = true;
    for (size_t i = 0; there && i < image->config.n_diff_ids; i++) {
        const struct cb_tree_name name = { &image->config.diff_ids[i], &below };
        cb_autoclose int fd = -1;
        there = cb_store_tree_open(env->store, &name, &fd, NULL) == 0;
        cb_chain_add(&below, name.diff_id);
    }
    return there;
}

static int prepare(struct container *c, struct cb_run_root *root, struct cb_slots *slots,
                   const struct cb_found_image *f, struct cb_error *err)
{
    struct cb_step *step =
        all_unpacked(c->env, &f->image) ? NULL : cb_step_new(c->env->progress, "preparing the image");
    const char *user = c->o->user ? c->o->user : c->config->user;
    c->layers = cb_build_slots(slots, f, err);
    if (!c->layers)
        return -CB_EVERIFY;
    cb_step_begin(step);
    int r = cb_isolator_get(c->env->isolator, c->env->progress, step, &c->isolation, err);
    if (r == 0)
        r = cb_run_root_open(root, slots, c->layers, f->image.manifest.n_layers, step, err);
    if (r == 0)
        r = cb_run_root_user(root, slots, user, step, &c->user, err);
    if (r == 0 && c->env->id_mode == CB_ID_SINGLE && (c->user.uid || c->user.gid))
        cb_progress_note(c->env->progress, true, "warning: user %s: only one id is mapped here, so it runs as root of "
                         "its own (a range in /etc/subuid and /etc/subgid gives it the user)", user);
    if (r == 0)
        r = make_argv(c, err);
    if (r == 0)
        r = make_mounts(c, err);
    if (r == 0)
        make_env(c);
    if (r < 0)
        cb_step_error(step, cb_error_text(err));
    else
        cb_step_done(step);
    return r;
}

int cb_build_run_image(const struct cb_build_env *env, const struct cb_found_image *f, const struct cb_run_options *o,
                       int *status, struct cb_error *err)
{
    CB_AUTO(cb_slots_free) struct cb_slots *slots = cb_slots_new(env);
    struct cb_run_root root cb_cleanup_run_root = CB_RUN_ROOT_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct container c = { .env = env, .o = o, .config = &f->image.config };
    cb_autofree char *interpreter = NULL;
    int r = cb_foreign_check_platform(env, &c.config->platform, &interpreter, &e);
    if (r == 0)
        r = prepare(&c, &root, slots, f, &e);
    if (r < 0 && cb_slots_have_lost(slots, env, &e))
        cb_image_advise_lost(&e);
    if (r == 0)
        r = cb_foreign_check_root(&root, &c.config->platform, interpreter, &e);
    cb_progress_finish(env->progress, r < 0);
    if (r == 0)
        r = start(&c, &root, status, &e);
    container_done(&c);
    if (r < 0)
        cb_error_move(err, &e);
    return r;
}
