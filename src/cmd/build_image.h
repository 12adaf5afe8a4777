/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Options of `build`: how the image is made and what is in it, in the words of buildx, podman and buildah. */

#include "build/build.h"
#include "cmd/opt.h"

struct image_options {
    struct cb_strvec no_cache_filter, arg_files, env, unsetenv, unsetlabel;
    const char *ignorefile, *timestamp, *epoch, *format, *compression, *level, *jobs;
    const char *arch, *os, *variant;
    int layers, toc;               /* -1 unsaid */
    bool squash, squash_all, rewrite, force_compression, http_proxy;
};
#define IMAGE_OPTIONS_INIT { .layers = -1, .toc = -1 }
extern const struct cb_opt image_opts[];
void image_options_done(struct image_options *o);

struct image_values {
    struct cb_strvec filter, env;
};
void image_values_done(struct image_values *v);
/* Sets what they are about in *o. -CB_EUSAGE. */
int image_options_take(const struct image_options *cli, struct image_values *v, struct cb_build_options *o,
                       struct cb_error *err) CB_WUR;
/* "linux/arm64" out of --os, --arch and --variant, or NULL where none was given. Owned. */
char *image_options_platform(const struct image_options *cli);
/* All build arguments in "K=V": files first, then the command line's; of one name the last counts. A bare name takes
 * the environment's value, or is left out. Then the proxies: with --http-proxy those of the environment, and those that
 * docker's config.json has for every build; neither over what was said. */
int build_args_take(const struct image_options *cli, const struct cb_strvec *given, const struct cb_cancel *cancel,
                    struct cb_strvec *out, struct cb_error *err) CB_WUR;

/* ---- build_args.c ---- */
/* The arguments that are BuildKit's own switches: options of the build, and of its caches. -CB_EUSAGE. */
int build_args_switches(const struct cb_strvec *args, struct cb_build_options *o, struct cb_strvec *cache_to,
                        struct cb_error *err) CB_WUR;
void build_args_add(const char *arg, struct cb_strvec *out);
/* Buildah's --build-arg-file: a K=V or K a line; empty lines and those that begin with # are passed over. */
int build_args_file(const char *path, const struct cb_cancel *cancel, struct cb_strvec *out,
                    struct cb_error *err) CB_WUR;
/* "proxies" of config.json text: of that engine's address, else "default". -CB_ECONF. */
int build_args_proxies(const char *text, size_t len, const char *engine, struct cb_strvec *out,
                       struct cb_error *err) CB_WUR;
