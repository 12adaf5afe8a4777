/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files of one segment and three instructions: exit(0). Whether such a one can be started is what no table of the
 * kernel tells for sure: binfmt_misc is often not mounted where we are, and an old 32-bit mode may be switched off. */
#include <elf.h>
#include <string.h>

#include "exec/foreign.h"
#include "util/macros.h"

#define LOAD_AT UINT32_C(0x400000)
#define ALIGN UINT32_C(0x10000) /* the largest page of any of them */
#define CODE_MAX 16

static const struct machine {
    const char *arch;
    uint16_t id;
    bool wide, big;
    uint32_t flags;
    unsigned char code[CODE_MAX];
    size_t n;
} machines[] = {
    { "amd64", EM_X86_64, true, false, 0, { 0xb8, 0x3c, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05 }, 9 },
    { "386", EM_386, false, false, 0, { 0xb8, 0x01, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80 }, 9 },
    { "arm64", EM_AARCH64, true, false, 0, { 0xa8, 0x0b, 0x80, 0xd2, 0, 0, 0x80, 0xd2, 0x01, 0, 0, 0xd4 }, 12 },
    { "arm", EM_ARM, false, false, EF_ARM_EABI_VER5, { 0x01, 0x70, 0xa0, 0xe3, 0, 0, 0xa0, 0xe3, 0, 0, 0, 0xef }, 12 },
    { "riscv64", EM_RISCV, true, false, 0, { 0x93, 0x08, 0xd0, 0x05, 0x13, 0x05, 0, 0, 0x73, 0, 0, 0 }, 12 },
    { "ppc64le", EM_PPC64, true, false, 2, { 0x01, 0, 0, 0x38, 0, 0, 0x60, 0x38, 0x02, 0, 0, 0x44 }, 12 },
    { "s390x", EM_S390, true, true, 0, { 0xa7, 0x29, 0, 0, 0x0a, 0x01 }, 6 },
    { "loong64", 258, true, false, 0x43, { 0x0b, 0x74, 0x81, 0x02, 0x04, 0, 0x80, 0x02, 0, 0, 0x2b, 0 }, 12 },
    { "mips64le", EM_MIPS, true, false, EF_MIPS_ARCH_64R2,
      { 0xc2, 0x13, 0x02, 0x24, 0, 0, 0x04, 0x24, 0x0c, 0, 0, 0 }, 12 },
};

static void put(struct cb_strbuf *out, const struct machine *m, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        cb_strbuf_addch(out, (char)(value >> 8 * (m->big ? bytes - 1 - i : i)));
}

/* An address or offset. */
static void put_word(struct cb_strbuf *out, const struct machine *m, uint64_t value)
{
    put(out, m, value, m->wide ? 8 : 4);
}

static size_t header_size(const struct machine *m)
{
    return m->wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
}

static size_t segment_size(const struct machine *m)
{
    return m->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
}

static void put_header(struct cb_strbuf *out, const struct machine *m)
{
    const char ident[EI_NIDENT] = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, m->wide ? ELFCLASS64 : ELFCLASS32,
                                    m->big ? ELFDATA2MSB : ELFDATA2LSB, EV_CURRENT };
    cb_strbuf_add(out, ident, sizeof ident);
    put(out, m, ET_EXEC, 2);
    put(out, m, m->id, 2);
    put(out, m, EV_CURRENT, 4);
    put_word(out, m, LOAD_AT + header_size(m) + segment_size(m));
    put_word(out, m, header_size(m));
    put_word(out, m, 0);
    put(out, m, m->flags, 4);
    put(out, m, header_size(m), 2);
    put(out, m, segment_size(m), 2);
    put(out, m, 1, 2);
    put(out, m, 0, 6); /* no sections */
}

/* The whole file, mapped as it is. */
static void put_segment(struct cb_strbuf *out, const struct machine *m)
{
    size_t size = header_size(m) + segment_size(m) + CODE_MAX;
    put(out, m, PT_LOAD, 4);
    if (m->wide)
        put(out, m, PF_R | PF_X, 4);
    put_word(out, m, 0);
    put_word(out, m, LOAD_AT);
    put_word(out, m, LOAD_AT);
    put_word(out, m, size);
    put_word(out, m, size);
    if (!m->wide)
        put(out, m, PF_R | PF_X, 4);
    put_word(out, m, ALIGN);
}

bool cb_foreign_program(const char *arch, struct cb_strbuf *out)
{
    for (size_t i = 0; i < CB_COUNTOF(machines); i++) {
        const struct machine *m = &machines[i];
        if (strcmp(m->arch, arch) != 0)
            continue;
        put_header(out, m);
        put_segment(out, m);
        cb_strbuf_add(out, m->code, CODE_MAX);
        return true;
    }
    return false;
}
