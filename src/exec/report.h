/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How the processes of a step tell the builder what went wrong before its program ran. Also read by a program without a
 * C library (starter.c). */

#include <stdint.h>

#define CB_REPORT_FD 3 /* in the step's own process, until its program runs */

enum cb_stage {
    CB_STAGE_PROC = 1,
    CB_STAGE_HIDE,
    CB_STAGE_CGROUP,
    CB_STAGE_PIVOT,
    CB_STAGE_STDIO,
    CB_STAGE_FORK,
    CB_STAGE_TTY,
    CB_STAGE_CWD,
    CB_STAGE_CWD_PROC,
    CB_STAGE_ULIMIT,
    CB_STAGE_SECCOMP,
    CB_STAGE_CAPS,
    CB_STAGE_GROUPS,
    CB_STAGE_GID,
    CB_STAGE_UID,
    CB_STAGE_RUNTIME,
    CB_STAGE_STARTER,
    CB_STAGE_EXEC,        /* the program cannot be started: not our failure */
    CB_STAGE_INTERPRETER, /* it is there, what it names in its first line or ELF header is not */
};
/* Written to the report pipe by whichever process failed; no report and end of file: the step's program runs. */
struct cb_report {
    int32_t stage;
    int32_t sys_errno;
    char what[128];
};
