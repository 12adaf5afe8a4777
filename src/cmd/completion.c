/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/completion_scripts.h"
#include "cmd/session.h"

static const struct cb_opt options[] = { CB_OPT_END };

static const struct { const char *shell, *text; } scripts[] = {
    { "bash", completion_bash },
    { "zsh", completion_zsh },
    { "fish", completion_fish },
};

static int print(const char *shell, struct cb_error *err)
{
    for (size_t i = 0; i < CB_COUNTOF(scripts); i++)
        if (!strcmp(scripts[i].shell, shell)) {
            fputs(scripts[i].text, stdout);
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "completion: there is none for \"%s\": bash, zsh, fish", shell);
}

static int run(const struct cb_process *p CB_UNUSED, const struct cb_verb *self, int argc, char **argv,
               int *status CB_UNUSED, struct cb_error *err)
{
    int none;
    struct cb_verb_args a = { .verb = self, .dest = &none, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = print(a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    return r;
}

const struct cb_verb cb_verb_completion = {
    .name = "completion",
    .topic = CB_TOPIC_HOUSE,
    .summary = "print a script that completes command lines, for a shell",
    .operands = "bash|zsh|fish",
    .details = "`make install` puts the scripts where the shells look for them. Without that:\n\n"
               "  bash  source <(cbpush completion bash)    # in ~/.bashrc\n"
               "  zsh   source <(cbpush completion zsh)     # in ~/.zshrc, behind compinit\n"
               "  fish  cbpush completion fish >~/.config/fish/completions/cbpush.fish",
    .options = options,
    .run = run,
};
