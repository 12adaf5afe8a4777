/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `imagetools`: images in registries, in the words of docker buildx. */

#include "cmd/cmd.h"

extern const struct cb_verb cb_verb_imagetools_inspect;
